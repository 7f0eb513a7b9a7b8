//! Builds the Cedar request of a decision: principal, action, resource, and the context that
//! describes the token.
//!
//! Their shapes follow the schema. [`EntityNames::check`] validates them when policies are loaded,
//! so a decision need not: only the values differ.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Value, Schema,
};
use chrono::{Datelike as _, Timelike as _};

use crate::authority::policy::Action;
use crate::domain::clock::Time;
use crate::domain::control::proof::Method;
use crate::domain::issuance::RowFacts;
use crate::domain::{AccountId, Caller, Role, TkType, TokenRequest};

/// The requested token, as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenContext {
    /// Each type has its own action, so that no policy permits a type that it was not written for.
    pub tktype: TkType,
    pub ca: bool,
    /// In seconds.
    pub lifetime: u32,
    /// Entries of the TNAuthList, or claims in the JWTClaimConstraints.
    pub entries: u64,
    /// Numbers of all entries; a number in two entries counts twice.
    pub numbers: u64,
    /// Numbers of the largest range.
    pub largest: u64,
    /// Entries that are service provider codes.
    pub spcs: u64,
    /// Whether the request uses a renewal right.
    pub renewal: bool,
    /// The time of the request.
    pub at: Time,
}

impl TokenContext {
    /// Describes the token of a request with this lifetime.
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

    fn members(&self) -> [(&'static str, Value); 10] {
        [
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
        ]
    }
}

/// The facts about rows, as policies see them.
fn row_members(rows: &RowFacts) -> Option<[(&'static str, Value); 4]> {
    let control = &rows.control;
    let summary = |proven: bool, age: Option<u64>, methods: &BTreeSet<Method>| {
        let methods = methods.iter();
        let methods = methods.map(|method| Value::new_string(method.to_string()));
        [
            ("proven", Value::new_bool(proven)),
            ("age", long(age.unwrap_or(u64::MAX))),
            ("methods", Value::new_set(methods)),
        ]
    };
    let key = &control.for_key;
    let for_key = Value::new_record(named(summary(key.proven, key.age, &key.methods)));
    let any = summary(control.proven, control.age, &control.methods);
    let control = any.into_iter().chain([("for_key", for_key.ok()?)]);
    let control = Value::new_record(named(control));
    Some([
        ("control", control.ok()?),
        ("key_age", long(rows.key_age)),
        ("delegation_age", long(rows.delegation_age)),
        ("first", Value::new_bool(rows.first)),
    ])
}

fn long(n: u64) -> Value {
    Value::new_long(i64::try_from(n).unwrap_or(i64::MAX))
}

fn named(
    members: impl IntoIterator<Item = (&'static str, Value)>,
) -> impl Iterator<Item = (String, Value)> {
    let members = members.into_iter();
    members.map(|(name, value)| (name.to_owned(), value))
}

/// The hour of the day, UTC.
pub(in crate::authority::policy) fn hour_of(at: Time) -> u32 {
    at.hour()
}

/// 1 is Monday, 7 is Sunday; UTC.
pub(in crate::authority::policy) fn weekday_of(at: Time) -> u32 {
    at.weekday().number_from_monday()
}

/// What a caller requests.
#[derive(Debug, Clone, Copy)]
pub(in crate::authority::policy) enum PolicyRequest<'a> {
    /// Address the account at all.
    Ask(&'a MintContext<'a>),
    /// Get a token for the account.
    Mint(&'a MintContext<'a>),
    /// An action on the service as a whole.
    Do(Action),
}

/// A request for a token for an account.
#[derive(Debug, Clone, Copy)]
pub struct MintContext<'a> {
    pub account: &'a AccountId,
    /// Whether the account is the carrier's own.
    pub is_carrier: bool,
    pub token: TokenContext,
    /// The facts about rows; `None` as long as they are not known, which a policy trusts least.
    pub rows: Option<&'a RowFacts>,
}

impl MintContext<'_> {
    /// The context of `ask`: the token alone, so that it is decided before the queue.
    fn to_ask(self) -> Option<Context> {
        Context::from_pairs(named(self.token.members())).ok()
    }

    /// The context of a token: the token, and the facts about rows.
    fn to_mint(self) -> Option<Context> {
        let rows = match self.rows {
            Some(rows) => row_members(rows),
            None => row_members(&RowFacts::default()),
        };
        Context::from_pairs(named(self.token.members().into_iter().chain(rows?))).ok()
    }
}

/// The entity names of all requests, parsed once.
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

    /// The Cedar request, with the entities that it names. `None` if it cannot be built, which
    /// counts as a denial.
    pub(in crate::authority::policy) fn cedar_request(
        &self,
        caller: &Caller,
        request: PolicyRequest<'_>,
    ) -> Option<(Request, Entities)> {
        self.checked_cedar_request(caller, request, None)
    }

    /// Checks that requests have the shapes of the schema, with one example of each kind.
    pub(in crate::authority::policy) fn check(&self, schema: &Schema) -> Result<(), String> {
        let account: AccountId = "a".parse().map_err(|e| format!("{e}"))?;
        let caller = Caller {
            id: "a".to_owned(),
            role: Role::Portal,
            accounts: vec![account.clone()],
            ..Caller::the_service(uuid::Uuid::nil())
        };
        let context = |tktype| MintContext {
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
            rows: None,
        };
        let [list, constraints] = TkType::ALL.map(context);
        let all = [
            PolicyRequest::Ask(&list),
            PolicyRequest::Mint(&list),
            PolicyRequest::Mint(&constraints),
            PolicyRequest::Do(Action::Read),
            PolicyRequest::Do(Action::Manage),
            PolicyRequest::Do(Action::Provision),
        ];
        for request in all {
            self.checked_cedar_request(&caller, request, Some(schema))
                .ok_or_else(|| format!("{request:?} does not fit the schema"))?;
        }
        Ok(())
    }

    fn checked_cedar_request(
        &self,
        caller: &Caller,
        request: PolicyRequest<'_>,
        schema: Option<&Schema>,
    ) -> Option<(Request, Entities)> {
        let (action, resource, context, account) = match request {
            PolicyRequest::Ask(mint) | PolicyRequest::Mint(mint) => {
                let action = match (request, mint.token.tktype) {
                    (PolicyRequest::Ask(_), _) => &self.ask,
                    (_, TkType::TnAuthList) => &self.mint,
                    (_, TkType::JwtClaimConstraints) => &self.mint_claim_constraints,
                };
                let account = self.account(mint.account);
                let context = match request {
                    PolicyRequest::Mint(_) => mint.to_mint()?,
                    PolicyRequest::Ask(_) | PolicyRequest::Do(_) => mint.to_ask()?,
                };
                (action, account.clone(), context, Some((account, mint)))
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
        let attributes = HashMap::from([
            (
                "role".to_owned(),
                Value::new_string(caller.role.to_string()),
            ),
            ("accounts".to_owned(), Value::new_set(accounts)),
        ]);
        let mut entities = vec![Entity::new(principal.clone(), attributes, HashSet::new()).ok()?];
        if let Some((uid, mint)) = account {
            let is_carrier = Value::new_bool(mint.is_carrier);
            let attributes = HashMap::from([("carrier".to_owned(), is_carrier)]);
            entities.push(Entity::new(uid, attributes, HashSet::new()).ok()?);
        }
        let entities = Entities::from_entities(entities, schema).ok()?;
        let request = Request::new(principal, action.clone(), resource, context, schema).ok()?;
        Some((request, entities))
    }

    fn account(&self, id: &AccountId) -> EntityUid {
        EntityUid::from_type_name_and_id(self.account.clone(), EntityId::new(id.as_str()))
    }
}
