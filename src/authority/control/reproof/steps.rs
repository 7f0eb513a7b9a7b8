//! What is done for each right at one time, within the limits.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;

use super::super::limits::{HOUR, customer_of, wait};
use super::super::start::{Asking, Draft};
use super::rooms::{NO_GATEWAY, Rooms};
use super::store_errors::store_error;
use super::{CheckedRights, MAX_ASKED, OpenRight, ReproofTask};
use crate::authority::StoreError;
use crate::domain::clock::Time;
use crate::domain::control::channel::Channel;
use crate::domain::control::proof::{Method, ProofEnd};
use crate::domain::control::reproofing::{Blocked, ProofRoom, bits_for};
use crate::domain::control::sending::SendFailure;
use crate::domain::{AccountId, Tn};
use crate::store::{StartedBy, Tx};

/// What rights have started in the last hour, with what this transaction starts.
struct Used {
    /// For each account.
    by_account: HashMap<AccountId, u64>,
    /// For each customer of the carrier, over each gateway.
    by_customer: HashMap<(AccountId, String), u64>,
    /// The customer that each account belongs to.
    customers: HashMap<AccountId, AccountId>,
}

impl ReproofTask {
    /// Decides what to do for each right, and draws the codes.
    pub(super) fn steps(
        &self,
        tx: &mut Tx<'_>,
        open: &[OpenRight],
        rooms: &mut Rooms,
        checked: &mut CheckedRights,
    ) -> Result<Vec<Draft>, StoreError> {
        let mut used = self.used(tx, open)?;
        let numbers = self.numbers_to_prove(tx, open, &used.customers)?;
        let (mut drafts, mut asked) = (Vec::<Draft>::new(), HashSet::<Tn>::new());
        for (one, mut numbers) in open.iter().zip(numbers) {
            let (right, control) = (&one.right, &one.control);
            let Some((gateway, of_gateway)) = rooms.of(control.method) else {
                continue;
            };
            // Another right for the same number can be due as well.
            for number in numbers.iter_mut().filter(|one| asked.contains(&one.number)) {
                let until = self.now + self.settings.valid();
                number.blocked = Some((Blocked::Pending, until));
            }
            let left = MAX_ASKED.saturating_sub(asked.len());
            let mut room = self.room(tx, one, (gateway, *of_gateway), &mut used)?;
            let has_room = room.numbers > 0;
            if gateway == NO_GATEWAY {
                // One failure says enough about a right.
                room.numbers = room.numbers.min(1);
                room.more_at = room.more_at.max(control.without_authority_until(self.now));
            }
            room.numbers = room.numbers.min(left);
            let chance = bits_for(&self.random, right.id, "chance");
            let chance = u16::from_be_bytes([chance[0], chance[1]]);
            let during = (self.now, self.settings.valid());
            let step = control.step(&numbers, room, during, chance);
            for number in &step.ask {
                let unsent = (gateway == NO_GATEWAY).then_some(SendFailure::NotAttempted);
                drafts.push(self.draft(one, gateway, *number, unsent)?);
            }
            let overdue = control.overdue(&numbers, (right.created_at, self.now), has_room);
            if let Some(number) = overdue.filter(|number| !step.ask.contains(number)) {
                // A proof that has failed is reported, as any other.
                let limited = Some(SendFailure::Limited);
                drafts.push(self.draft(one, NO_GATEWAY, number, limited)?);
            }
            asked.extend(&step.ask);
            let count = step.ask.len() as u64;
            *of_gateway = of_gateway.saturating_sub(count);
            used.add(&right.account, gateway, count);
            checked.limited += u64::from(step.is_limited && left > 0);
            checked.is_due(right, Some(step.due_at));
        }
        Ok(drafts)
    }

    fn used(&self, tx: &mut Tx<'_>, open: &[OpenRight]) -> Result<Used, StoreError> {
        let accounts: Vec<&AccountId> = open.iter().map(|one| &one.right.account).collect();
        let by_account = tx.control_starts_by_account(&accounts, self.hour())?;
        let known = tx.accounts(&accounts)?.into_iter();
        let customers = known.map(|account| (account.id.clone(), customer_of(&account).clone()));
        Ok(Used {
            by_account,
            by_customer: HashMap::new(),
            customers: customers.collect(),
        })
    }

    /// How many numbers the limits allow to ask for a right over a gateway with so much room.
    fn room(
        &self,
        tx: &mut Tx<'_>,
        one: &OpenRight,
        (gateway, of_gateway): (&str, u64),
        used: &mut Used,
    ) -> Result<ProofRoom, StoreError> {
        let (account, limits) = (&one.right.account, self.settings.limits);
        let of_account = used.by_account.get(account).copied().unwrap_or_default();
        let customer = used.customers.get(account).unwrap_or(account).clone();
        let of_customer = if gateway == NO_GATEWAY {
            0
        } else {
            let key = (customer.clone(), gateway.to_owned());
            let known = used.by_customer.get(&key).copied();
            if let Some(known) = known {
                known
            } else {
                let by = StartedBy::Customer(&customer, gateway);
                let count = tx.count_control_starts(by, self.hour())?;
                used.by_customer.insert(key, count);
                count
            }
        };
        let bounds = [
            (
                StartedBy::RightsOf(account),
                of_account,
                limits.per_account_hour,
            ),
            (
                StartedBy::Customer(&customer, gateway),
                of_customer,
                limits.of_customer(),
            ),
        ];
        let (mut room, mut more_at) = (of_gateway, self.now);
        for (by, used, most) in bounds {
            if gateway == NO_GATEWAY && matches!(by, StartedBy::Customer(..)) {
                continue;
            }
            let left = u64::from(most).saturating_sub(used);
            if left == 0 && of_gateway > 0 {
                let seconds = wait(tx, by, 1, most, self.now)?.unwrap_or(1);
                more_at = more_at.max(self.now + TimeDelta::seconds(seconds.into()));
            }
            room = room.min(left);
        }
        // Without a time, the rest is asked by the next transactions, or when the gateway has room.
        Ok(ProofRoom {
            numbers: usize::try_from(room).unwrap_or(usize::MAX),
            more_at,
        })
    }

    /// A proof of a number of a right; one that is `unsent` has failed already.
    fn draft(
        &self,
        one: &OpenRight,
        gateway: &str,
        number: Tn,
        unsent: Option<SendFailure>,
    ) -> Result<Draft, StoreError> {
        let right = &one.right;
        let channel = match one.control.method {
            Method::Sms => Channel::Sms(Some(right.fingerprint)),
            Method::Voice => Channel::Voice(Some(right.fingerprint)),
            Method::Sip => Channel::Sip(right.fingerprint),
        };
        let asking = Asking {
            account: &right.account,
            channel,
            gateway,
            renewal: Some(right.id),
            caller: &self.caller,
            now: self.now,
        };
        let parts = (&self.settings, &*self.codes);
        let draft = Draft::new(parts, asking, (number, right.delegation));
        let mut draft = draft.map_err(|error| store_error(&error))?;
        if let Some(failure) = unsent {
            draft.proof.end_at(self.now, ProofEnd::NotSent);
            draft.proof.failure = Some(failure.to_string());
        }
        Ok(draft)
    }

    /// Since when starts count in the limits of an hour.
    fn hour(&self) -> Time {
        self.now - HOUR + TimeDelta::seconds(1)
    }
}

impl Used {
    fn add(&mut self, account: &AccountId, gateway: &str, count: u64) {
        *self.by_account.entry(account.clone()).or_default() += count;
        let customer = self.customers.get(account).unwrap_or(account).clone();
        *self
            .by_customer
            .entry((customer, gateway.to_owned()))
            .or_default() += count;
    }
}
