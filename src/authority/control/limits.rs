//! How often numbers are asked: limits for each number, account and gateway, against toll fraud and
//! harassment. They are counted in the database, so they hold for all replicas together.

use chrono::TimeDelta;

use super::refusal::{ProofLimit, RefusedStart, StartCause};
use super::{ControlSettings, ProofLimits};
use crate::authority::StoreError;
use crate::domain::clock::Time;
use crate::domain::control::proof::Method;
use crate::domain::{AccountId, Tn};
use crate::store::{StartedBy, StartedProof, Tx};

/// The longest period of a limit of an account or a gateway.
pub(super) const HOUR: TimeDelta = TimeDelta::hours(1);
/// The longest period of a limit of a number.
pub(super) const DAY: TimeDelta = TimeDelta::days(1);

/// Those of these numbers that cannot be asked now, because they were asked already or a limit is
/// reached.
pub(super) fn limited(
    tx: &mut Tx<'_>,
    settings: &ControlSettings,
    account: &AccountId,
    (method, gateway): (Method, &str),
    numbers: &[Tn],
    now: Time,
) -> Result<Vec<RefusedStart>, StoreError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let starts = tx.control_starts(numbers, now - DAY)?;
    let refused = numbers.iter().filter_map(|number| {
        let starts = starts.iter().filter(|start| start.number == *number);
        let cause = cause_for(&starts.collect::<Vec<_>>(), account, settings.limits, now)?;
        Some(RefusedStart {
            number: *number,
            cause,
        })
    });
    let mut refused: Vec<RefusedStart> = refused.collect();
    for (by, limit, most) in [
        (
            StartedBy::Account(account),
            ProofLimit::Account,
            settings.limits.per_account_hour,
        ),
        (
            StartedBy::Gateway(gateway),
            ProofLimit::Gateway(method),
            settings.limits.per_gateway_hour,
        ),
    ] {
        let Some(seconds) = wait(tx, by, numbers.len(), most, now)? else {
            continue;
        };
        let cause = StartCause::TooMany { limit, seconds };
        for number in numbers {
            if !refused.iter().any(|known| known.number == *number) {
                let number = *number;
                refused.push(RefusedStart { number, cause });
            }
        }
    }
    Ok(refused)
}

/// Why a number cannot be asked, given all proofs of the last day, oldest first.
pub(super) fn cause_for(
    starts: &[&StartedProof],
    account: &AccountId,
    limits: ProofLimits,
    now: Time,
) -> Option<StartCause> {
    // What another account had started before the number was delegated anew does not block.
    let own = starts.iter().filter(|start| start.account == *account);
    let pending = own.filter_map(|start| start.pending_until);
    if let Some(until) = pending.filter(|until| *until > now).max() {
        return Some(StartCause::Pending { until });
    }
    let seconds = [(HOUR, limits.per_number_hour), (DAY, limits.per_number_day)]
        .into_iter()
        .filter_map(|(period, most)| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let within = starts.iter().filter(|start| start.at > now - period);
            let within: Vec<Time> = within.map(|start| start.at).collect();
            // When this one is older than the period, there is room again.
            let first = within.get(within.len().checked_sub(most)?)?;
            Some(seconds_until(*first + period, now))
        });
    let seconds = seconds.max()?;
    let limit = ProofLimit::Number;
    Some(StartCause::TooMany { limit, seconds })
}

/// In how many seconds an account or a gateway can start `more` proofs; `None` if it can now.
pub(super) fn wait(
    tx: &mut Tx<'_>,
    by: StartedBy<'_>,
    more: usize,
    most: u32,
    now: Time,
) -> Result<Option<u32>, StoreError> {
    let (more, most) = (u64::try_from(more).unwrap_or(u64::MAX), u64::from(most));
    // Older than an hour is what started an hour ago or earlier.
    let since = now - HOUR + TimeDelta::seconds(1);
    let started = tx.count_control_starts(by, since)?;
    let Some(too_many) = started.saturating_add(more).checked_sub(most) else {
        return Ok(None);
    };
    if too_many == 0 {
        return Ok(None);
    }
    // When so many are older than an hour, there is room; never, if the request alone is too large.
    let last = tx.control_start_after(by, since, too_many - 1)?;
    let end = last.map_or(now, |at| at) + HOUR;
    Ok(Some(seconds_until(end, now)))
}

fn seconds_until(end: Time, now: Time) -> u32 {
    u32::try_from((end - now).num_seconds())
        .unwrap_or_default()
        .max(1)
}
