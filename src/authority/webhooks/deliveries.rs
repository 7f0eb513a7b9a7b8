//! Deliveries: what to send to webhooks next, and the outcome of each attempt. The module
//! `webhooks` does the sending.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::subscriptions::{of_its_account, webhook};
use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::{Authority, ChangeError, ChangeRequester};
use crate::domain::clock::Time;
use crate::domain::control::failure::FailedControl;
use crate::domain::inventory::withdrawal::Withdrawn;
use crate::domain::webhook::{Delivery, DeliveryState, EventKind, TargetAnswer, Webhook};
use crate::domain::{AuditAction, Caller, new_id};
use crate::store::{Page, PageOf, StoreError, Tx, Within};
use crate::telemetry::DeliveryOutcome;

/// The most entries of a feed in one delivery.
const MAX_ITEMS: u16 = 100;
/// The most webhooks of one account, or of the carrier, that are served at the same time. Targets
/// that never answer then delay only their own account, and cannot occupy all senders.
const MAX_AT_ONCE: usize = 2;
/// The most webhooks that one transaction checks, even if most of them have nothing to send.
const MAX_POLLS: u16 = 100;
/// The most deliveries that can be pending for one webhook when a replay is requested.
const MAX_WAITING: i64 = 100;
/// How long a process owns a webhook before another one can take over; longer than any attempt.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// A delivery for this process to send.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub webhook: Webhook,
    pub delivery: Delivery,
    pub items: FeedItems,
}

/// Entries of the feed of one kind of event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedItems {
    Withdrawn(Vec<Withdrawn>),
    Failed(Vec<FailedControl>),
}

impl Authority {
    /// A page of the deliveries of a webhook, oldest first. Blocks.
    pub fn deliveries(
        &self,
        caller: &Caller,
        id: Uuid,
        page: &Page,
    ) -> Result<PageOf<Delivery>, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            webhook(tx, &scope, id)?;
            Ok(tx.list_deliveries(id, page)?)
        })
    }

    /// Sends a delivery again, as a new one.
    ///
    /// # Errors
    /// If there is none for this caller, the webhook has ended, or too many deliveries are pending.
    pub async fn replay_delivery(
        &self,
        by: impl Into<ChangeRequester<'_, Delivery>>,
        id: Uuid,
        delivery: Uuid,
    ) -> Result<Delivery, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.may_subscribe(caller)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let event = event_by(caller, now, AuditAction::ReplayDelivery);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let webhook = webhook(tx, &scope, id)?;
            let known = tx.delivery(id, delivery)?;
            let known = known.ok_or(ChangeError::NotFound("delivery"))?;
            if webhook.ended_at.is_some() {
                return Err(ChangeError::WebhookEnded);
            }
            if tx.count_pending_deliveries(id)? >= MAX_WAITING {
                return Err(ChangeError::TooManyDeliveries);
            }
            let part = (known.first, known.last, known.items);
            let repeated = Delivery {
                replay_of: Some(known.id),
                ..Delivery::new((new_id(now), id), known.kind, part, now)
            };
            tx.insert_delivery(&repeated)?;
            let detail = json!({ "delivery": known.id, "again": repeated.id });
            tx.record(&of_its_account(&event, &webhook).done(&id, detail))?;
            Ok(repeated)
        };
        self.change_by(by, recorded, id, work).await
    }

    /// Leases deliveries to this process, at most one for each target. New feed entries become
    /// deliveries here.
    pub async fn take_deliveries(
        &self,
        process: Uuid,
        most: u16,
    ) -> Result<Vec<Assignment>, StoreError> {
        let now = self.clock.now();
        // Usually there is nothing to do: find out by a read, without occupying the writer.
        let due = |tx: &mut Tx<'_>| {
            let last = tx.last_sequence()?;
            tx.due_webhook(now, last, &[])
        };
        if most == 0 || self.store.read(due)?.is_none() {
            return Ok(Vec::new());
        }
        let work = move |tx: &mut Tx<'_>| {
            let mut taken = Vec::new();
            let mut leased = tx.leased_webhooks(now)?;
            // The feed cannot grow during this transaction, which holds the exclusive lock.
            let last = tx.last_sequence()?;
            for _ in 0..MAX_POLLS {
                if taken.len() >= usize::from(most) {
                    break;
                }
                let Some(webhook) = tx.due_webhook(now, last, &owners_at_limit(&leased))? else {
                    break;
                };
                let (id, owner) = (
                    webhook.id,
                    webhook.account.as_ref().map(ToString::to_string),
                );
                // A webhook with an unreadable row must not block the others.
                match tx.savepoint(|tx| next_assignment(tx, webhook, now)) {
                    Ok(Some(assignment)) => {
                        tx.lease_webhook(id, process, now + LEASE)?;
                        leased.push(owner);
                        taken.push(assignment);
                    }
                    Ok(None) => {}
                    Err(StoreError::Corrupt(why)) => {
                        let webhook = id.to_string();
                        log::error!(webhook = webhook.as_str(); "webhook skipped, because a row of it cannot be read: {why}");
                        // Leased all the same, so that it is skipped until the lease ends.
                        tx.lease_webhook(id, process, now + LEASE)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(taken)
        };
        // `change` takes the exclusive lock: a webhook's position can only move past a sequence
        // number when no smaller one can still be inserted.
        let actor = self.actor(&Caller::the_service(process));
        self.store.change(actor, "take-deliveries", work).await
    }

    /// Records the outcome of an attempt, unless another process has taken the webhook over.
    ///
    /// # Errors
    /// If the store fails; the delivery is then sent once more.
    pub async fn attempted(
        &self,
        caller: &Caller,
        process: Uuid,
        assignment: Assignment,
        (answer, jitter): (TargetAnswer, u8),
    ) -> Result<Option<Delivery>, StoreError> {
        let now = self.clock.now();
        let event = event_by(caller, now, AuditAction::GiveUpDelivery);
        let actor = self.actor(caller);
        let Assignment {
            webhook, delivery, ..
        } = assignment;
        let work = move |tx: &mut Tx<'_>| {
            let (delivery, next_at) = delivery.clone().after(answer, jitter, now);
            let is_ours = tx.release_webhook(webhook.id, process, next_at.unwrap_or(now))?;
            if !is_ours {
                return Ok(None);
            }
            tx.update_delivery(&delivery)?;
            if delivery.state == DeliveryState::Dead {
                // 410: the target asks for no more deliveries.
                let is_gone = matches!(answer, TargetAnswer::Status(410, _));
                if is_gone && let Some(mut newest) = tx.webhook(webhook.id)? {
                    newest.ended_at.get_or_insert(now);
                    tx.update_webhook(&newest)?;
                }
                let detail = json!({
                    "delivery": delivery.id, "attempts": delivery.attempts, "ended": is_gone,
                    "failure": delivery.last_failure, "status": delivery.last_status,
                });
                tx.record(&of_its_account(&event, &webhook).done(&webhook.id, detail))?;
            }
            Ok(Some(delivery))
        };
        let recorded: Result<_, StoreError> = self.store.change(actor, "attempt", work).await;
        let recorded = recorded?;
        if let Some(delivery) = &recorded {
            self.metrics.authority_ends.attempt(match delivery.state {
                DeliveryState::Delivered => DeliveryOutcome::Delivered,
                DeliveryState::Pending => DeliveryOutcome::Failed,
                DeliveryState::Dead => DeliveryOutcome::GivenUp,
            });
        }
        Ok(recorded)
    }
}

/// The owners that already have [`MAX_AT_ONCE`] webhooks leased.
fn owners_at_limit(leased: &[Option<String>]) -> Vec<Option<String>> {
    let mut of: BTreeMap<&Option<String>, usize> = BTreeMap::new();
    for owner in leased {
        *of.entry(owner).or_default() += 1;
    }
    of.retain(|_, count| *count >= MAX_AT_ONCE);
    of.into_keys().cloned().collect()
}

/// The next delivery of a webhook: the pending one, or else one for the next part of the feed.
fn next_assignment(
    tx: &mut Tx<'_>,
    mut webhook: Webhook,
    now: Time,
) -> Result<Option<Assignment>, StoreError> {
    let within = match &webhook.account {
        None => None,
        Some(account) => Some(Within {
            roots: tx.accounts(&[account])?,
            below: webhook.below,
        }),
    };
    let within = within.as_ref();
    if let Some(delivery) = tx.pending_delivery(webhook.id)? {
        // The same part of the feed, so that each attempt sends the same body.
        let part = (delivery.first - 1, Some(delivery.last));
        let items = FeedItems::read(tx, delivery.kind, within, part)?;
        return Ok(Some(Assignment {
            webhook,
            delivery,
            items,
        }));
    }
    let Some(items) = next_items(tx, &webhook, within)? else {
        // All remaining entries are of other kinds or concern other accounts, so skip them.
        webhook.position = tx.last_sequence()?;
        tx.update_webhook(&webhook)?;
        return Ok(None);
    };
    let sequences = items.sequences();
    let (Some(first), Some(last)) = (sequences.first().copied(), sequences.last().copied()) else {
        let why = "a part of a feed without entries".to_owned();
        return Err(StoreError::Corrupt(why));
    };
    let count = i32::try_from(sequences.len()).unwrap_or(i32::MAX);
    let ids = (new_id(now), webhook.id);
    let delivery = Delivery::new(ids, items.kind(), (first, last, count), now);
    tx.insert_delivery(&delivery)?;
    webhook.position = last;
    tx.update_webhook(&webhook)?;
    Ok(Some(Assignment {
        webhook,
        delivery,
        items,
    }))
}

/// The next entries for a webhook: of the kind that comes first, up to the next one of another
/// kind, so that each webhook gets all kinds in the order of their sequence; `None` if there are
/// none.
fn next_items(
    tx: &mut Tx<'_>,
    webhook: &Webhook,
    within: Option<&Within>,
) -> Result<Option<FeedItems>, StoreError> {
    let mut found = Vec::new();
    for kind in &webhook.kinds {
        let items = FeedItems::read(tx, *kind, within, (webhook.position, None))?;
        if let Some(first) = items.sequences().first() {
            found.push((*first, items));
        }
    }
    found.sort_unstable_by_key(|(first, _)| *first);
    let mut found = found.into_iter();
    let Some((_, mut items)) = found.next() else {
        return Ok(None);
    };
    if let Some((other, _)) = found.next() {
        items.cut_before(other);
    }
    Ok(Some(items))
}

impl FeedItems {
    /// The entries of a kind in a part of the feed: after a sequence number, up to another one.
    fn read(
        tx: &mut Tx<'_>,
        kind: EventKind,
        within: Option<&Within>,
        part: (i64, Option<i64>),
    ) -> Result<Self, StoreError> {
        Ok(match kind {
            EventKind::GrantsWithdrawn => {
                Self::Withdrawn(tx.withdrawals_after(within, part, MAX_ITEMS)?)
            }
            EventKind::ControlFailed => Self::Failed(tx.failures_after(within, part, MAX_ITEMS)?),
        })
    }

    const fn kind(&self) -> EventKind {
        match self {
            Self::Withdrawn(_) => EventKind::GrantsWithdrawn,
            Self::Failed(_) => EventKind::ControlFailed,
        }
    }

    /// The sequence numbers, in order.
    fn sequences(&self) -> Vec<i64> {
        match self {
            Self::Withdrawn(items) => items.iter().map(|item| item.sequence).collect(),
            Self::Failed(items) => items.iter().map(|item| item.sequence).collect(),
        }
    }

    fn cut_before(&mut self, sequence: i64) {
        match self {
            Self::Withdrawn(items) => items.retain(|item| item.sequence < sequence),
            Self::Failed(items) => items.retain(|item| item.sequence < sequence),
        }
    }
}
