//! Deliveries: what is to be sent to webhooks next, and what became of it. The sending itself is the business of the room
//! `webhooks`.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::subscriptions::{of_its_account, webhook};
use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::{Authority, ChangeError, ChangeRequester};
use crate::domain::clock::Time;
use crate::domain::inventory::withdrawal::Withdrawn;
use crate::domain::webhook::{Delivery, DeliveryState, TargetAnswer, Webhook};
use crate::domain::{Caller, new_id};
use crate::store::{Page, PageOf, StoreError, Tx, Within};
use crate::telemetry::DeliveryOutcome;

/// How many withdrawals one delivery tells of.
const MAX_ITEMS: u16 = 100;
/// How many webhooks of one account, or of the carrier, are told at one time: few enough that targets which never answer hold
/// up those of their own account, and not all senders.
const MAX_AT_ONCE: usize = 2;
/// How many webhooks are looked at in one transaction, also if most of them turn out to be told nothing.
const MAX_POLLS: u16 = 100;
/// How many deliveries may wait for one webhook when one is asked for again.
const MAX_WAITING: i64 = 100;
/// For how long a process may send before another one may take its place: longer than any attempt takes.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// A delivery that this process is to send.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub webhook: Webhook,
    pub delivery: Delivery,
    pub items: Vec<Withdrawn>,
}

impl Authority {
    /// A page of what was sent to a webhook, oldest first. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if there is no such webhook for this caller.
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

    /// Sends one delivery again, as a new one.
    ///
    /// # Errors
    /// [`Refused`] if there is none for this caller.
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
        let event = event_by(caller, now, "replay-delivery");
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
            let again = Delivery {
                replay_of: Some(known.id),
                ..Delivery::new(new_id(now), id, (known.first, known.last, known.items), now)
            };
            tx.insert_delivery(&again)?;
            let detail = json!({ "delivery": known.id, "again": again.id });
            tx.record(&of_its_account(&event, &webhook).done(&id, detail))?;
            Ok(again)
        };
        self.change_by(by, recorded, id, work).await
    }

    /// Takes deliveries for this process to send, at most one for each target. What waits in the feed becomes a delivery
    /// here.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub async fn take_deliveries(
        &self,
        process: Uuid,
        most: u16,
    ) -> Result<Vec<Assignment>, StoreError> {
        let now = self.clock.now();
        // Most of the time there is nothing to do, and the writer need not be asked.
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
            // Nothing is put in meanwhile.
            let last = tx.last_sequence()?;
            for _ in 0..MAX_POLLS {
                if taken.len() >= usize::from(most) {
                    break;
                }
                let Some(webhook) = tx.due_webhook(now, last, &busy(&leased))? else {
                    break;
                };
                let (id, owner) = (
                    webhook.id,
                    webhook.account.as_ref().map(ToString::to_string),
                );
                // What cannot be read of one must not keep the others from being told.
                match tx.savepoint(|tx| next_of(tx, webhook, now)) {
                    Ok(Some(assignment)) => {
                        tx.lease_webhook(id, process, now + LEASE)?;
                        leased.push(owner);
                        taken.push(assignment);
                    }
                    Ok(None) => {}
                    Err(StoreError::Corrupt(why)) => {
                        let webhook = id.to_string();
                        log::error!(webhook = webhook.as_str(); "nothing is sent to a webhook: {why}");
                        tx.lease_webhook(id, process, now + LEASE)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(taken)
        };
        // Alone: a place of the feed is passed only when nothing can be put in before it.
        let actor = self.actor(&Caller::the_service(process));
        self.store.change(actor, "take-deliveries", work).await
    }

    /// Records how an attempt ended. What another process has taken over meanwhile is left to it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it; then it is sent once more.
    pub async fn attempted(
        &self,
        caller: &Caller,
        process: Uuid,
        assignment: Assignment,
        (answer, jitter): (TargetAnswer, u8),
    ) -> Result<Option<Delivery>, StoreError> {
        let now = self.clock.now();
        let event = event_by(caller, now, "give-up-delivery");
        let actor = self.actor(caller);
        let Assignment {
            webhook, delivery, ..
        } = assignment;
        let work = move |tx: &mut Tx<'_>| {
            let (delivery, again) = delivery.clone().after(answer, jitter, now);
            let mine = tx.release_webhook(webhook.id, process, again.unwrap_or(now))?;
            if !mine {
                return Ok(None);
            }
            tx.update_delivery(&delivery)?;
            if delivery.state == DeliveryState::Dead {
                let gone = answer == TargetAnswer::Status(410);
                if gone && let Some(mut newest) = tx.webhook(webhook.id)? {
                    newest.ended_at.get_or_insert(now);
                    tx.update_webhook(&newest)?;
                }
                let detail = json!({
                    "delivery": delivery.id, "attempts": delivery.attempts, "ended": gone,
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

/// Those of whose webhooks as many are lent as may be.
fn busy(leased: &[Option<String>]) -> Vec<Option<String>> {
    let mut of: BTreeMap<&Option<String>, usize> = BTreeMap::new();
    for owner in leased {
        *of.entry(owner).or_default() += 1;
    }
    of.retain(|_, count| *count >= MAX_AT_ONCE);
    of.into_keys().cloned().collect()
}

/// What is to be sent to a webhook next: what was begun, or else the next part of the feed.
fn next_of(
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
        let part = (delivery.first - 1, Some(delivery.last));
        let items = tx.withdrawals_after(within, part, MAX_ITEMS)?;
        return Ok(Some(Assignment {
            webhook,
            delivery,
            items,
        }));
    }
    let items = tx.withdrawals_after(within, (webhook.position, None), MAX_ITEMS)?;
    let (Some(first), Some(last)) = (items.first(), items.last()) else {
        // What there is concerns others.
        webhook.position = tx.last_sequence()?;
        tx.update_webhook(&webhook)?;
        return Ok(None);
    };
    let count = i32::try_from(items.len()).unwrap_or(i32::MAX);
    let part = (first.sequence, last.sequence, count);
    let delivery = Delivery::new(new_id(now), webhook.id, part, now);
    tx.insert_delivery(&delivery)?;
    webhook.position = last.sequence;
    tx.update_webhook(&webhook)?;
    Ok(Some(Assignment {
        webhook,
        delivery,
        items,
    }))
}
