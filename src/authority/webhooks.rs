//! Webhooks: who subscribes, what is to be sent next, and what became of it. The sending itself is the business of the room
//! `webhooks`.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::scope::Scope;
use super::{Action, Authority, By, Event, Refused};
use crate::domain::clock::Time;
use crate::domain::webhook::{
    Answer, Delivery, DeliveryState, EventKind, OVERLAP, TargetUrl, Webhook,
};
use crate::domain::withdrawal::Withdrawn;
use crate::domain::{AccountId, Caller, Role};
use crate::store::{Acting, Page, PageOf, StoreError, Tx, Within, new_id};
use crate::telemetry::Attempt;

/// How many webhooks one account, or the carrier, may have in use.
const MOST_WEBHOOKS: i64 = 20;
/// How many withdrawals one delivery tells of.
const MOST_ITEMS: u16 = 100;
/// How many webhooks of one account, or of the carrier, are told at one time: few enough that targets which never answer hold
/// up those of their own account, and not all senders.
const MOST_AT_ONCE: usize = 2;
/// How many webhooks are looked at in one transaction, also if most of them turn out to be told nothing.
const MOST_LOOKS: u16 = 100;
/// How many deliveries may wait for one webhook when one is asked for again.
const MOST_WAITING: i64 = 100;
/// For how long a process may send before another one may take its place: longer than any attempt takes.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// What is to be told, and where.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Of this account and all below it. Without one, of all that the caller speaks for.
    pub account: Option<AccountId>,
    pub url: TargetUrl,
    pub kinds: Vec<EventKind>,
}

/// A delivery that this process is to send.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub webhook: Webhook,
    pub delivery: Delivery,
    pub items: Vec<Withdrawn>,
}

impl Authority {
    /// Subscribes: from now on a target is told.
    ///
    /// # Errors
    /// [`Refused`] if the caller may not, there is no such account for it, or it has as many as it may.
    pub async fn subscribe(
        &self,
        by: impl Into<By<'_, Webhook>>,
        new: NewWebhook,
    ) -> Result<Webhook, Refused> {
        let by = by.into();
        let caller = by.caller();
        self.may_subscribe(caller)?;
        let (now, scope) = (self.clock.now(), Scope::of(caller));
        let event = Event::new(caller, now, "subscribe");
        let account = match (&new.account, &scope) {
            (Some(account), _) => Some(account.clone()),
            (None, Scope::Everything) => None,
            (None, Scope::Part(part)) => match part.roots.as_slice() {
                [one] => Some(one.clone()),
                _ => return Err(Refused::NameTheAccount),
            },
        };
        let id = new_id(now);
        let (recorded, subject) = (event.clone(), account.clone());
        let subject = subject.map(|account| account.to_string());
        let work = move |tx: &mut Tx<'_>| {
            if let Some(account) = &account {
                scope.must_know(tx, account)?;
            }
            let of = account.as_ref().map(AccountId::as_str);
            if tx.count_webhooks(of)? >= MOST_WEBHOOKS {
                return Err(Refused::TooManyWebhooks);
            }
            let mut kinds = new.kinds.clone();
            kinds.sort_unstable();
            kinds.dedup();
            let webhook = Webhook {
                id,
                account: account.clone(),
                below: scope.reaches_below(),
                url: new.url.clone(),
                kinds,
                generation: 1,
                previous_until: None,
                position: tx.last_sequence()?,
                created_at: now,
                created_by: event.caller().id.clone(),
                ended_at: None,
            };
            tx.insert_webhook(&webhook)?;
            let detail = json!({ "account": webhook.account, "url": webhook.url.as_str() });
            of_its_account(&event, &webhook).done(tx, &id, detail)?;
            Ok(webhook)
        };
        self.change_by(by, recorded, subject.unwrap_or_default(), work)
            .await
    }

    /// A page of the webhooks in use. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if the store cannot answer.
    pub fn webhooks(&self, caller: &Caller, page: &Page) -> Result<PageOf<Webhook>, Refused> {
        let scope = Scope::of(caller);
        self.store.read(|tx| {
            let within = scope.within(tx)?;
            Ok(tx.list_webhooks(within.as_ref(), page)?)
        })
    }

    /// One webhook. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if there is none for this caller.
    pub fn webhook(&self, caller: &Caller, id: Uuid) -> Result<Webhook, Refused> {
        let scope = Scope::of(caller);
        self.store.read(|tx| webhook(tx, &scope, id))
    }

    /// A page of what was sent to a webhook, oldest first. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if there is no such webhook for this caller.
    pub fn deliveries(
        &self,
        caller: &Caller,
        id: Uuid,
        page: &Page,
    ) -> Result<PageOf<Delivery>, Refused> {
        let scope = Scope::of(caller);
        self.store.read(|tx| {
            webhook(tx, &scope, id)?;
            Ok(tx.list_deliveries(id, page)?)
        })
    }

    /// Gives a webhook up: nothing is sent to it any more. Can be repeated.
    ///
    /// # Errors
    /// [`Refused`] if there is none for this caller.
    pub async fn end_webhook(
        &self,
        by: impl Into<By<'_, Webhook>>,
        id: Uuid,
    ) -> Result<Webhook, Refused> {
        self.change_webhook(by.into(), id, "end-webhook", |webhook, now| {
            webhook.ended_at.get_or_insert(now);
            Ok(())
        })
        .await
    }

    /// Gives a webhook a new secret. The one before it signs too, for a day.
    ///
    /// # Errors
    /// [`Refused`] if there is none in use for this caller.
    pub async fn rotate_webhook(
        &self,
        by: impl Into<By<'_, Webhook>>,
        id: Uuid,
    ) -> Result<Webhook, Refused> {
        self.change_webhook(by.into(), id, "rotate-webhook", |webhook, now| {
            webhook.generation = webhook.generation.saturating_add(1);
            webhook.previous_until = Some(now + OVERLAP);
            Ok(())
        })
        .await
    }

    /// Sends again what stands in the feed behind a place.
    ///
    /// # Errors
    /// [`Refused`] if there is none in use for this caller, or the place is one that it has not come to.
    pub async fn replay_from(
        &self,
        by: impl Into<By<'_, Webhook>>,
        id: Uuid,
        after: i64,
    ) -> Result<Webhook, Refused> {
        self.change_webhook(by.into(), id, "replay-webhook", move |webhook, _| {
            if after > webhook.position {
                return Err(Refused::NotSentYet);
            }
            webhook.position = after;
            Ok(())
        })
        .await
    }

    /// Sends one delivery again, as a new one.
    ///
    /// # Errors
    /// [`Refused`] if there is none for this caller.
    pub async fn replay_delivery(
        &self,
        by: impl Into<By<'_, Delivery>>,
        id: Uuid,
        delivery: Uuid,
    ) -> Result<Delivery, Refused> {
        let by = by.into();
        let caller = by.caller();
        self.may_subscribe(caller)?;
        let (now, scope) = (self.clock.now(), Scope::of(caller));
        let event = Event::new(caller, now, "replay-delivery");
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let webhook = webhook(tx, &scope, id)?;
            let known = tx.delivery(id, delivery)?;
            let known = known.ok_or(Refused::NotFound("delivery"))?;
            if webhook.ended_at.is_some() {
                return Err(Refused::WebhookEnded);
            }
            if tx.count_pending_deliveries(id)? >= MOST_WAITING {
                return Err(Refused::TooManyDeliveries);
            }
            let again = Delivery {
                replay_of: Some(known.id),
                ..Delivery::new(new_id(now), id, (known.first, known.last, known.items), now)
            };
            tx.insert_delivery(&again)?;
            let detail = json!({ "delivery": known.id, "again": again.id });
            of_its_account(&event, &webhook).done(tx, &id, detail)?;
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
        if most == 0 || self.store.read(|tx| tx.due_webhook(now, &[]))?.is_none() {
            return Ok(Vec::new());
        }
        let work = move |tx: &mut Tx<'_>| {
            let mut taken = Vec::new();
            let mut leased = tx.leased_webhooks(now)?;
            for _ in 0..MOST_LOOKS {
                if taken.len() >= usize::from(most) {
                    break;
                }
                let Some(webhook) = tx.due_webhook(now, &busy(&leased))? else {
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
        let acting = Acting::new(&Caller::the_service(process), &self.clock);
        self.store.change(acting, "take-deliveries", work).await
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
        (answer, jitter): (Answer, u8),
    ) -> Result<Option<Delivery>, StoreError> {
        let now = self.clock.now();
        let event = Event::new(caller, now, "give-up-delivery");
        let acting = Acting::new(caller, &self.clock);
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
                let gone = answer == Answer::Status(410);
                if gone && let Some(mut newest) = tx.webhook(webhook.id)? {
                    newest.ended_at.get_or_insert(now);
                    tx.update_webhook(&newest)?;
                }
                let detail = json!({
                    "delivery": delivery.id, "attempts": delivery.attempts, "ended": gone,
                    "failure": delivery.last_failure, "status": delivery.last_status,
                });
                of_its_account(&event, &webhook).done(tx, &webhook.id, detail)?;
            }
            Ok(Some(delivery))
        };
        let recorded: Result<_, StoreError> = self.store.change(acting, "attempt", work).await;
        let recorded = recorded?;
        if let Some(delivery) = &recorded {
            self.metrics.authority_ends.attempt(match delivery.state {
                DeliveryState::Delivered => Attempt::Delivered,
                DeliveryState::Pending => Attempt::Failed,
                DeliveryState::Dead => Attempt::GivenUp,
            });
        }
        Ok(recorded)
    }

    async fn change_webhook(
        &self,
        by: By<'_, Webhook>,
        id: Uuid,
        name: &'static str,
        change: impl Fn(&mut Webhook, Time) -> Result<(), Refused> + Send + 'static,
    ) -> Result<Webhook, Refused> {
        let caller = by.caller();
        self.may_subscribe(caller)?;
        let (now, scope) = (self.clock.now(), Scope::of(caller));
        let event = Event::new(caller, now, name);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let known = webhook(tx, &scope, id)?;
            if known.ended_at.is_some() {
                return match name {
                    "end-webhook" => Ok(known),
                    _ => Err(Refused::WebhookEnded),
                };
            }
            let mut changed = known.clone();
            change(&mut changed, now)?;
            tx.update_webhook(&changed)?;
            let detail = json!({
                "generation": changed.generation, "position": changed.position, "ended": changed.ended_at,
            });
            of_its_account(&event, &changed).done(tx, &id, detail)?;
            Ok(changed)
        };
        self.change_by(by, recorded, id, work).await
    }

    /// Whoever only reads subscribes nobody; everybody else does so for what is theirs.
    fn may_subscribe(&self, caller: &Caller) -> Result<(), Refused> {
        match caller.role {
            Role::Admin | Role::Provisioner => self.require(caller, Action::Manage),
            Role::Portal | Role::Account => Ok(()),
            Role::Auditor | Role::Renewer => Err(Refused::Forbidden),
        }
    }
}

/// The event, in the trail of the account whose webhook it is.
fn of_its_account(event: &Event, webhook: &Webhook) -> Event {
    match &webhook.account {
        Some(account) => event.about(account),
        None => event.clone(),
    }
}

/// The webhook, which must be of an account that the caller may know of; those of the carrier are for its own people.
fn webhook(tx: &mut Tx<'_>, scope: &Scope, id: Uuid) -> Result<Webhook, Refused> {
    let not_found = || Refused::NotFound("webhook");
    let found = tx.webhook(id)?.ok_or_else(not_found)?;
    let known = match (&found.account, scope) {
        (_, Scope::Everything) => true,
        (None, Scope::Part(_)) => false,
        (Some(account), Scope::Part(_)) => scope.account(tx, account)?.is_some(),
    };
    known.then_some(found).ok_or_else(not_found)
}

/// Those of whose webhooks as many are lent as may be.
fn busy(leased: &[Option<String>]) -> Vec<Option<String>> {
    let mut of: BTreeMap<&Option<String>, usize> = BTreeMap::new();
    for owner in leased {
        *of.entry(owner).or_default() += 1;
    }
    of.retain(|_, count| *count >= MOST_AT_ONCE);
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
        let items = tx.withdrawals_after(within, part, MOST_ITEMS)?;
        return Ok(Some(Assignment {
            webhook,
            delivery,
            items,
        }));
    }
    let items = tx.withdrawals_after(within, (webhook.position, None), MOST_ITEMS)?;
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
