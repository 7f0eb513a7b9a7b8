//! Over which numbers an account has authority now, and by which of its delegations. What is not a
//! token, such as a question whether an account controls a number, needs the same authority.

use uuid::Uuid;

use super::denial::{Denial, RefusalCause};
use super::{AccountStanding, Facts, MAX_ROWS, Question, RangeEvaluator};
use crate::domain::numbers::number::{NumberRange, Tn};
use crate::domain::tokens::grant::Justification;

/// For each of these numbers, the delegations to the account that give it authority now, the one
/// that lasts longest first, or why there is none. The numbers must be those of the question.
///
/// # Errors
/// [`Denial::NotTheCallers`] if the account is unknown or suspended, [`Denial::TooFragmented`] if
/// there are too many rows.
pub fn holding_delegations(
    question: &Question<'_>,
    facts: &Facts,
    numbers: &[Tn],
) -> Result<Vec<Result<Vec<Uuid>, RefusalCause>>, Denial> {
    match facts.standing {
        AccountStanding::Good => {}
        AccountStanding::Unknown | AccountStanding::Suspended => return Err(Denial::NotTheCallers),
    }
    let evaluator = RangeEvaluator::within_bounds(question, facts);
    let evaluator = evaluator.ok_or(Denial::TooFragmented { limit: MAX_ROWS })?;
    let held = numbers.iter().map(|number| {
        match evaluator.evaluate(NumberRange::from(*number)) {
            Ok((_, rows)) => Ok(own_delegations(question, facts, *number, &rows)),
            // A refusal names at least one part, and the number is the only one.
            Err(refused) => Err(refused
                .first()
                .map_or(RefusalCause::NotDelegated, |part| part.cause)),
        }
    });
    Ok(held.collect())
}

/// Those of the rows that justify an answer that are delegations to the account itself.
fn own_delegations(
    question: &Question<'_>,
    facts: &Facts,
    number: Tn,
    rows: &[Justification],
) -> Vec<Uuid> {
    let is_used = |row| rows.contains(&Justification::Delegation(row));
    let mut own: Vec<_> = facts
        .delegations
        .iter()
        .filter(|row| row.account == *question.account && is_used(row.row))
        .filter(|row| row.numbers.contains(number) && row.window.contains(question.now))
        .collect();
    // Without an end is longest; the id decides between equals.
    own.sort_unstable_by_key(|row| {
        let until = row.window.until();
        (until.is_some(), std::cmp::Reverse(until), row.row.id)
    });
    own.into_iter().map(|row| row.row.id).collect()
}
