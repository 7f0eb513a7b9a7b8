//! How often numbers are asked: limits for each number, account and gateway, against toll fraud and
//! harassment. They are counted in the database, so they hold for all replicas together.

use chrono::TimeDelta;

use super::refusal::{ProofLimit, RefusedStart, StartCause};
use super::{ControlSettings, ProofLimits};
use crate::authority::StoreError;
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::control::proof::Method;
use crate::domain::{AccountId, Tn};
use crate::store::{StartedBy, StartedProof, Tx};

/// The longest period of a limit of an account or a gateway.
pub(super) const HOUR: TimeDelta = TimeDelta::hours(1);
/// The longest period of a limit of a number.
pub(super) const DAY: TimeDelta = TimeDelta::days(1);

/// How many times the limits of a number for one account it can be asked for all accounts of one
/// customer of the carrier, for all customers, and by the carrier itself in the end. So a new
/// account and a new customer have limits of their own, whatever others did before, and it still
/// does not ring all day.
const OF_CUSTOMER: u32 = 2;
const OF_ALL: u32 = 4;
const BY_CARRIER: u32 = 5;

/// Who asks numbers. What one of them uses up is not taken from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProofStarter {
    /// The account, or those who manage it.
    Caller,
    /// The service, for a right to renew.
    Right,
    /// The carrier, who overrides what keeps the account itself from asking. What protects the
    /// number from all accounts, and the gateway, holds all the same.
    Override,
}

impl ProofLimits {
    /// How many numbers can be asked over a gateway in an hour until it is kept from this asker:
    /// callers leave something to rights to renew, and both to the carrier.
    pub(super) fn of_gateway(self, by: ProofStarter) -> u32 {
        let tenths = match by {
            ProofStarter::Caller => 8,
            ProofStarter::Right => 9,
            ProofStarter::Override => 10,
        };
        self.tenths_of_gateway(tenths)
    }

    /// The limits of a number for more than one account.
    const fn of_number(self, times: u32) -> Self {
        Self {
            per_number_hour: self.per_number_hour.saturating_mul(times),
            per_number_day: self.per_number_day.saturating_mul(times),
            ..self
        }
    }

    /// How many of them can be for one customer of the carrier, with all accounts below.
    pub(super) fn of_customer(self) -> u32 {
        self.tenths_of_gateway(5)
    }

    fn tenths_of_gateway(self, tenths: u64) -> u32 {
        let part = (u64::from(self.per_gateway_hour) * tenths).div_ceil(10);
        u32::try_from(part).unwrap_or(u32::MAX)
    }
}

/// The customer of the carrier that an account is, or is below of.
pub(super) fn customer_of(account: &Account) -> &AccountId {
    account.above.last().unwrap_or(&account.id)
}

/// What is to be asked: numbers for an account, by a method over a gateway.
#[derive(Clone, Copy)]
pub(super) struct AskedNumbers<'a> {
    pub(super) account: &'a Account,
    pub(super) method: Method,
    pub(super) gateway: &'a str,
    pub(super) numbers: &'a [Tn],
    pub(super) by: ProofStarter,
}

/// Those of these numbers that cannot be asked now, because they were asked already or a limit is
/// reached.
pub(super) fn limited(
    tx: &mut Tx<'_>,
    settings: &ControlSettings,
    asked: AskedNumbers<'_>,
    now: Time,
) -> Result<Vec<RefusedStart>, StoreError> {
    let AskedNumbers {
        account,
        numbers,
        gateway,
        by,
        ..
    } = asked;
    let limits = settings.limits;
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let starts = tx.control_starts(numbers, now - DAY)?;
    let refused = numbers.iter().filter_map(|number| {
        let starts = starts.iter().filter(|start| start.number == *number);
        let starts: Vec<_> = starts.collect();
        let who = (&account.id, customer_of(account));
        let cause = cause_for(&starts, who, (asked.method, by), (limits, now));
        Some(RefusedStart {
            number: *number,
            cause: cause?,
        })
    });
    let mut refused: Vec<RefusedStart> = refused.collect();
    let of_account = (
        StartedBy::Callers(&account.id),
        ProofLimit::Account,
        limits.per_account_hour,
    );
    let of_customer = (
        StartedBy::Customer(customer_of(account), gateway),
        ProofLimit::Customer(asked.method),
        limits.of_customer(),
    );
    let of_gateway = (
        StartedBy::Gateway(gateway),
        ProofLimit::Gateway(asked.method),
        limits.of_gateway(by),
    );
    let of_account = match by {
        ProofStarter::Caller => vec![of_account, of_customer],
        ProofStarter::Right => vec![of_customer],
        ProofStarter::Override => Vec::new(),
    };
    for (by, limit, most) in of_account.into_iter().chain([of_gateway]) {
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

/// Why a number cannot be asked for an account by a method, given all proofs of the last day, the
/// oldest first. What callers ask, and what the service asks for rights to renew, is counted
/// separately: otherwise a thief of the account's key could keep the service from asking.
pub(super) fn cause_for(
    starts: &[&StartedProof],
    (account, customer): (&AccountId, &AccountId),
    (method, by): (Method, ProofStarter),
    (limits, now): (ProofLimits, Time),
) -> Option<StartCause> {
    if by == ProofStarter::Override {
        return too_many(starts, limits.of_number(BY_CARRIER), now);
    }
    // What another account had started before the number was delegated anew does not block.
    let own = starts.iter().filter(|start| start.account == *account);
    let own: Vec<&StartedProof> = own.copied().collect();
    let pending = own.iter().filter(|start| start.method.excludes(method));
    let pending = pending.filter_map(|start| start.pending_until);
    if let Some(until) = pending.filter(|until| *until > now).max() {
        return Some(StartCause::Pending { until });
    }
    let is_counted = |start: &&&StartedProof| start.is_reproof == (by == ProofStarter::Right);
    let counted: Vec<&StartedProof> = own.iter().filter(is_counted).copied().collect();
    let of_customer = starts.iter().filter(|start| start.customer == *customer);
    let of_customer: Vec<&StartedProof> = of_customer.filter(is_counted).copied().collect();
    too_many(&counted, limits, now)
        .or_else(|| too_many(&of_customer, limits.of_number(OF_CUSTOMER), now))
        .or_else(|| too_many(starts, limits.of_number(OF_ALL), now))
}

fn too_many(starts: &[&StartedProof], limits: ProofLimits, now: Time) -> Option<StartCause> {
    let seconds = [(HOUR, limits.per_number_hour), (DAY, limits.per_number_day)]
        .into_iter()
        .filter_map(|(period, most)| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let sent = starts.iter().filter(|start| !start.is_unsent);
            let within = sent.filter(|start| start.at > now - period);
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

pub(super) fn seconds_until(end: Time, now: Time) -> u32 {
    u32::try_from((end - now).num_seconds())
        .unwrap_or_default()
        .max(1)
}
