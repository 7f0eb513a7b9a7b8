//! How many codes can be guessed. The tries of one proof are few, but an account has many numbers,
//! and proofs can be started again and again: so wrong codes are counted for each account, and for
//! each customer of the carrier with all accounts below.

use chrono::TimeDelta;

use super::limits::{DAY, customer_of, seconds_until};
use super::{ControlSettings, ProofLimits};
use crate::authority::audited::event_by;
use crate::authority::{Authority, ChangeError, StoreError};
use crate::domain::accounts::account::{Account, AccountId};
use crate::domain::clock::Time;
use crate::domain::control::proof::ControlProof;
use crate::domain::{AuditAction, AuditEvent, Caller};
use crate::store::{TriedBy, Tx};

/// How many times the wrong codes of one account a customer has, with all accounts below.
const OF_CUSTOMER: u32 = 10;

impl ProofLimits {
    const fn wrong_codes_of_customer(self) -> u32 {
        self.wrong_codes_per_account_day.saturating_mul(OF_CUSTOMER)
    }
}

impl Authority {
    /// Refuses a code that may be guessed without a transaction that excludes minting, of which a
    /// guesser could ask for as many as it likes.
    pub(super) async fn must_have_guesses(
        &self,
        caller: &Caller,
        proof: &ControlProof,
    ) -> Result<(), ChangeError> {
        let (now, settings) = (self.clock.now(), &self.control.settings);
        let checked = self
            .store
            .read(|tx| must_have_guesses(tx, settings, &proof.account, now));
        let Err(refused) = checked else {
            return Ok(());
        };
        if let ChangeError::TooManyWrongCodes { .. } = &refused {
            let event = event_by(caller, now, AuditAction::ConfirmControlProof);
            let event = AuditEvent {
                account: Some(proof.account.clone()),
                ..event.refused(&proof.id, refused.code(), &refused)
            };
            self.store.record_refusal(event).await?;
        }
        Err(refused)
    }
}

/// Refuses any code, also the right one, of an account with too many wrong ones in the last day.
pub(super) fn must_have_guesses(
    tx: &mut Tx<'_>,
    settings: &ControlSettings,
    account: &AccountId,
    now: Time,
) -> Result<(), ChangeError> {
    let account = tx.account(account)?;
    let account = account.ok_or(ChangeError::NotFound("account"))?;
    let seconds = wait(tx, settings, &account, now)?;
    seconds.map_or(Ok(()), |seconds| {
        Err(ChangeError::TooManyWrongCodes { seconds })
    })
}

/// In how many seconds there is a guess left; `None` if there is one now.
fn wait(
    tx: &mut Tx<'_>,
    settings: &ControlSettings,
    account: &Account,
    now: Time,
) -> Result<Option<u32>, StoreError> {
    let limits = settings.limits;
    // A code is tried until its proof expires, so this counts a little more than a day.
    let period = DAY + settings.valid();
    let bounds = [
        (
            TriedBy::Account(&account.id),
            limits.wrong_codes_per_account_day,
        ),
        (
            TriedBy::Customer(customer_of(account)),
            limits.wrong_codes_of_customer(),
        ),
    ];
    let mut longest = None;
    for (by, most) in bounds {
        let since = now - period;
        if tx.count_control_tries(by, since)? < u64::from(most) {
            continue;
        }
        let tried = tx.control_tries(by, since, most)?;
        longest = longest.max(end_of_wait(&tried, most, period).map(|end| seconds_until(end, now)));
    }
    Ok(longest)
}

/// When the tries of proofs, newest first, are fewer than `most` again; `None` if they are.
fn end_of_wait(tried: &[(Time, u32)], most: u32, period: TimeDelta) -> Option<Time> {
    let mut newer = 0_u64;
    let until_full = tried.iter().find(|(_, tries)| {
        newer = newer.saturating_add(u64::from(*tries));
        newer >= u64::from(most)
    });
    until_full.map(|(started, _)| *started + period)
}
