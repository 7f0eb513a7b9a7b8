//! Webhook subscriptions: create, list, end, rotate the secret, replay.

use serde_json::json;
use uuid::Uuid;

use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::clock::Time;
use crate::domain::webhook::{EventKind, OVERLAP, TargetUrl, Webhook};
use crate::domain::{AccountId, AuditAction, Caller, Event, Role, new_id};
use crate::store::{Page, PageOf, Tx};

/// The most webhooks that one account, or the carrier, can have in use.
const MAX_WEBHOOKS: i64 = 20;

/// A webhook to be created.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Notify of this account and all accounts below it. `None`: of all that the caller acts for.
    pub account: Option<AccountId>,
    pub url: TargetUrl,
    pub kinds: Vec<EventKind>,
    /// The name of what its secret is derived from.
    pub derived_by: String,
}

impl Authority {
    /// Subscribes a target to future withdrawals.
    ///
    /// # Errors
    /// If the caller may not subscribe, does not see the account, or has reached the limit.
    pub async fn subscribe(
        &self,
        by: impl Into<ChangeRequester<'_, Webhook>>,
        new: NewWebhook,
    ) -> Result<Webhook, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.may_subscribe(caller)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let event = event_by(caller, now, AuditAction::Subscribe);
        let account = match (&new.account, &scope) {
            (Some(account), _) => Some(account.clone()),
            (None, Visibility::Everything) => None,
            (None, Visibility::AccountSubset(part)) => match part.roots.as_slice() {
                [one] => Some(one.clone()),
                _ => return Err(ChangeError::NameTheAccount),
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
            if tx.count_webhooks(of)? >= MAX_WEBHOOKS {
                return Err(ChangeError::TooManyWebhooks);
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
                // Earlier withdrawals are in the feed, and can be replayed.
                position: tx.last_sequence()?,
                created_at: now,
                created_by: event.caller().id.clone(),
                ended_at: None,
                derived_by: Some(new.derived_by.clone()),
            };
            tx.insert_webhook(&webhook)?;
            let detail = json!({ "account": webhook.account, "url": webhook.url.as_str() });
            tx.record(&of_its_account(&event, &webhook).done(&id, detail))?;
            Ok(webhook)
        };
        self.change_by(by, recorded, subject.unwrap_or_default(), work)
            .await
    }

    /// A page of the webhooks in use. Blocks.
    pub fn webhooks(&self, caller: &Caller, page: &Page) -> Result<PageOf<Webhook>, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            let within = scope.within(tx)?;
            Ok(tx.list_webhooks(within.as_ref(), page)?)
        })
    }

    /// One webhook. Blocks.
    pub fn webhook(&self, caller: &Caller, id: Uuid) -> Result<Webhook, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| webhook(tx, &scope, id))
    }

    /// Ends a webhook: nothing more is sent to it. Idempotent.
    pub async fn end_webhook(
        &self,
        by: impl Into<ChangeRequester<'_, Webhook>>,
        id: Uuid,
    ) -> Result<Webhook, ChangeError> {
        self.change_webhook(by.into(), id, AuditAction::EndWebhook, |webhook, now| {
            webhook.ended_at.get_or_insert(now);
            Ok(())
        })
        .await
    }

    /// Gives a webhook a new secret, derived from what has the name `derived_by`. For one day,
    /// deliveries are signed with the previous one as well.
    pub async fn rotate_webhook(
        &self,
        by: impl Into<ChangeRequester<'_, Webhook>>,
        id: Uuid,
        derived_by: &str,
    ) -> Result<Webhook, ChangeError> {
        let derived_by = derived_by.to_owned();
        self.change_webhook(
            by.into(),
            id,
            AuditAction::RotateWebhook,
            move |webhook, now| {
                webhook.derived_by = Some(derived_by.clone());
                webhook.generation = webhook.generation.saturating_add(1);
                webhook.previous_until = Some(now + OVERLAP);
                Ok(())
            },
        )
        .await
    }

    /// Sends the feed again, from the entry after a sequence number.
    ///
    /// # Errors
    /// If the caller has no such webhook in use, or it has not reached that sequence number yet.
    pub async fn replay_from(
        &self,
        by: impl Into<ChangeRequester<'_, Webhook>>,
        id: Uuid,
        after: i64,
    ) -> Result<Webhook, ChangeError> {
        self.change_webhook(
            by.into(),
            id,
            AuditAction::ReplayWebhook,
            move |webhook, _| {
                if after > webhook.position {
                    return Err(ChangeError::NotSentYet);
                }
                webhook.position = after;
                Ok(())
            },
        )
        .await
    }

    async fn change_webhook(
        &self,
        by: ChangeRequester<'_, Webhook>,
        id: Uuid,
        action: AuditAction,
        change: impl Fn(&mut Webhook, Time) -> Result<(), ChangeError> + Send + 'static,
    ) -> Result<Webhook, ChangeError> {
        let caller = by.caller();
        self.may_subscribe(caller)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let event = event_by(caller, now, action);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let known = webhook(tx, &scope, id)?;
            if known.ended_at.is_some() {
                return if action == AuditAction::EndWebhook {
                    Ok(known)
                } else {
                    Err(ChangeError::WebhookEnded)
                };
            }
            let mut changed = known.clone();
            change(&mut changed, now)?;
            tx.update_webhook(&changed)?;
            let detail = json!({
                "generation": changed.generation, "position": changed.position, "ended": changed.ended_at,
            });
            tx.record(&of_its_account(&event, &changed).done(&id, detail))?;
            Ok(changed)
        };
        self.change_by(by, recorded, id, work).await
    }

    /// Read-only roles cannot subscribe; all others can, for the accounts that they see.
    pub(in crate::authority) fn may_subscribe(&self, caller: &Caller) -> Result<(), ChangeError> {
        match caller.role {
            Role::Admin | Role::Provisioner => self.require(caller, Action::Manage),
            Role::Portal | Role::Account => Ok(()),
            Role::Auditor | Role::Renewer => Err(ChangeError::Forbidden),
        }
    }
}

/// The audit event, in the trail of the webhook's account.
pub(in crate::authority) fn of_its_account(event: &Event, webhook: &Webhook) -> Event {
    match &webhook.account {
        Some(account) => event.about(account),
        None => event.clone(),
    }
}

/// The webhook, if the caller may see its account. Those of the carrier are visible to its own
/// staff only.
pub(in crate::authority) fn webhook(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    id: Uuid,
) -> Result<Webhook, ChangeError> {
    let not_found = || ChangeError::NotFound("webhook");
    let found = tx.webhook(id)?.ok_or_else(not_found)?;
    let known = match (&found.account, scope) {
        (_, Visibility::Everything) => true,
        (None, Visibility::AccountSubset(_)) => false,
        (Some(account), Visibility::AccountSubset(_)) => scope.account(tx, account)?.is_some(),
    };
    known.then_some(found).ok_or_else(not_found)
}
