//! A decision as Cedar is asked for it: who, what, on what, and what a token would say.
//!
//! The shapes of these are the schema's. [`EntityNames::fit`] holds them against it when policies are loaded, and so no decision
//! has to do so again: only values differ from one decision to the next.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Value, Schema,
};
use chrono::{Datelike as _, Timelike as _};

use crate::authority::policy::Action;
use crate::domain::clock::Time;
use crate::domain::{AccountId, Caller, Role, TkType, TokenRequest};

/// What a token would say, as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenContext {
    /// Each type has an action of its own, so that no policy permits one that it was not written for.
    pub tktype: TkType,
    pub ca: bool,
    /// Seconds.
    pub lifetime: u32,
    /// Entries of the list, or claims that the constraints speak of.
    pub entries: u64,
    /// Numbers that they name, counted with their repetitions.
    pub numbers: u64,
    /// Numbers of the largest of its ranges.
    pub largest: u64,
    /// Entries that are service provider codes.
    pub spcs: u64,
    /// Whether it is asked for by a standing right to renew.
    pub renewal: bool,
    /// When it is asked for.
    pub at: Time,
}

impl TokenContext {
    /// What the token of a request would say, were it to live so long.
    #[must_use]
    pub fn of(request: &TokenRequest, lifetime: u32, at: Time) -> Self {
        let counts = || request.numbers().iter().map(|range| range.count());
        Self {
            tktype: request.tkvalue().tktype(),
            ca: request.ca(),
            lifetime,
            entries: request.tkvalue().entries() as u64,
            numbers: counts().fold(0, u64::saturating_add),
            largest: counts().max().unwrap_or_default(),
            spcs: request.tkvalue().spcs().count() as u64,
            renewal: false,
            at,
        }
    }

    fn context(&self) -> Option<Context> {
        let long = |n: u64| Value::new_long(i64::try_from(n).unwrap_or(i64::MAX));
        let pairs = [
            ("ca", Value::new_bool(self.ca)),
            ("lifetime", long(self.lifetime.into())),
            ("entries", long(self.entries)),
            ("numbers", long(self.numbers)),
            ("largest", long(self.largest)),
            ("spcs", long(self.spcs)),
            ("renewal", Value::new_bool(self.renewal)),
            ("time", Value::new_long(self.at.timestamp())),
            ("hour", long(hour_of(self.at).into())),
            ("weekday", long(weekday_of(self.at).into())),
        ];
        Context::from_pairs(pairs.map(|(name, value)| (name.to_owned(), value))).ok()
    }
}

/// The hour of the day, UTC.
pub(in crate::authority::policy) fn hour_of(at: Time) -> u32 {
    at.hour()
}

/// 1 is Monday, 7 is Sunday; UTC.
pub(in crate::authority::policy) fn weekday_of(at: Time) -> u32 {
    at.weekday().number_from_monday()
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy)]
pub(in crate::authority::policy) enum PolicyRequest<'a> {
    /// Address the account at all.
    Ask(&'a MintContext<'a>),
    /// Get a token.
    Mint(&'a MintContext<'a>),
    /// Do something with the service as a whole.
    Do(Action),
}

/// A token for an account.
#[derive(Debug, Clone, Copy)]
pub struct MintContext<'a> {
    pub account: &'a AccountId,
    /// Whether it is the carrier's own.
    pub is_carrier: bool,
    pub token: TokenContext,
}

/// Names that each question needs, parsed once.
#[derive(Debug)]
pub(in crate::authority::policy) struct EntityNames {
    caller: EntityTypeName,
    account: EntityTypeName,
    service: EntityUid,
    ask: EntityUid,
    mint: EntityUid,
    mint_claim_constraints: EntityUid,
    read: EntityUid,
    manage: EntityUid,
    provision: EntityUid,
}

impl EntityNames {
    pub(in crate::authority::policy) fn new() -> Result<Self, String> {
        let kind = |text: &str| EntityTypeName::from_str(text).map_err(|e| e.to_string());
        let uid = |text: &str| EntityUid::from_str(text).map_err(|e| e.to_string());
        Ok(Self {
            caller: kind("Caller")?,
            account: kind("Account")?,
            service: uid("Service::\"tn-authority\"")?,
            ask: uid("Action::\"ask\"")?,
            mint: uid("Action::\"mint\"")?,
            mint_claim_constraints: uid("Action::\"mint-claim-constraints\"")?,
            read: uid("Action::\"read\"")?,
            manage: uid("Action::\"manage\"")?,
            provision: uid("Action::\"provision\"")?,
        })
    }

    /// All actions there are.
    pub(in crate::authority::policy) fn actions(&self) -> [&EntityUid; 6] {
        [
            &self.ask,
            &self.mint,
            &self.mint_claim_constraints,
            &self.read,
            &self.manage,
            &self.provision,
        ]
    }

    /// The question, and what is known of those that it names. `None` if it cannot be put, which counts as a denial.
    pub(in crate::authority::policy) fn question(
        &self,
        caller: &Caller,
        wish: PolicyRequest<'_>,
    ) -> Option<(Request, Entities)> {
        self.checked_question(caller, wish, None)
    }

    /// Checks that questions have the shapes of the schema.
    pub(in crate::authority::policy) fn fit(&self, schema: &Schema) -> Result<(), String> {
        let account: AccountId = "a".parse().map_err(|e| format!("{e}"))?;
        let caller = Caller {
            id: "a".to_owned(),
            role: Role::Portal,
            accounts: vec![account.clone()],
            ..Caller::the_service(uuid::Uuid::nil())
        };
        let asked = |tktype| MintContext {
            account: &account,
            is_carrier: true,
            token: TokenContext {
                tktype,
                ca: true,
                lifetime: 1,
                entries: 1,
                numbers: 1,
                largest: 1,
                spcs: 0,
                renewal: true,
                at: Time::UNIX_EPOCH,
            },
        };
        let [list, constraints] = TkType::ALL.map(asked);
        let all = [
            PolicyRequest::Ask(&list),
            PolicyRequest::Mint(&list),
            PolicyRequest::Mint(&constraints),
            PolicyRequest::Do(Action::Read),
            PolicyRequest::Do(Action::Manage),
            PolicyRequest::Do(Action::Provision),
        ];
        for wish in all {
            self.checked_question(&caller, wish, Some(schema))
                .ok_or_else(|| format!("{wish:?} does not have the shape of the schema"))?;
        }
        Ok(())
    }

    fn checked_question(
        &self,
        caller: &Caller,
        wish: PolicyRequest<'_>,
        schema: Option<&Schema>,
    ) -> Option<(Request, Entities)> {
        let (action, resource, context, account) = match wish {
            PolicyRequest::Ask(asked) | PolicyRequest::Mint(asked) => {
                let action = match (wish, asked.token.tktype) {
                    (PolicyRequest::Ask(_), _) => &self.ask,
                    (_, TkType::TnAuthList) => &self.mint,
                    (_, TkType::JwtClaimConstraints) => &self.mint_claim_constraints,
                };
                let account = self.account(asked.account);
                let context = asked.token.context()?;
                (action, account.clone(), context, Some((account, asked)))
            }
            PolicyRequest::Do(action) => {
                let action = match action {
                    Action::Read => &self.read,
                    Action::Manage => &self.manage,
                    Action::Provision => &self.provision,
                };
                (action, self.service.clone(), Context::empty(), None)
            }
        };
        let principal =
            EntityUid::from_type_name_and_id(self.caller.clone(), EntityId::new(&caller.id));
        let accounts = caller.accounts.iter();
        let accounts = accounts.map(|id| Value::new_entity_uid(self.account(id)));
        let known = HashMap::from([
            (
                "role".to_owned(),
                Value::new_string(caller.role.to_string()),
            ),
            ("accounts".to_owned(), Value::new_set(accounts)),
        ]);
        let mut entities = vec![Entity::new(principal.clone(), known, HashSet::new()).ok()?];
        if let Some((uid, asked)) = account {
            let known = HashMap::from([("carrier".to_owned(), Value::new_bool(asked.is_carrier))]);
            entities.push(Entity::new(uid, known, HashSet::new()).ok()?);
        }
        let entities = Entities::from_entities(entities, schema).ok()?;
        let request = Request::new(principal, action.clone(), resource, context, schema).ok()?;
        Some((request, entities))
    }

    fn account(&self, id: &AccountId) -> EntityUid {
        EntityUid::from_type_name_and_id(self.account.clone(), EntityId::new(id.as_str()))
    }
}
