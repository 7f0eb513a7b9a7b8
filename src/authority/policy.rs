//! Policies in Cedar: may this caller ask this at all? Default deny; a policy allows or denies, it never modifies, and one
//! that fails to evaluate denies. What no policy may loosen stands in `domain::decision`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::str::FromStr as _;

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy as CedarPolicy, PolicyId, PolicySet, Request, Response, RestrictedExpression, Schema,
    ValidationMode, Validator,
};
use thiserror::Error;

use crate::domain::{AccountId, Caller, Denial, TkType, TokenRequest};

/// Why the policies cannot be used. The service does not start with such policies.
#[derive(Debug, Error)]
pub enum PolicyError {
    #[error("policies cannot be read from `{path}`: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("there is no file `*.cedar` in `{0}`")]
    None(String),
    #[error("`{file}` is not a policy file: {why}")]
    Parse { file: String, why: String },
    #[error("the schema of the policies is malformed: {0}")]
    Schema(String),
    #[error("the policies do not fit their schema: {0}")]
    Invalid(String),
}

/// What a caller may want to do with the service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read accounts, the inventory and the ledger.
    Read,
    /// Keep accounts and what they are lent, withdraw grants: all of them, or a reseller's own customers.
    Manage,
    /// Change what the carrier as a whole holds and may not use.
    Provision,
}

/// The policies in force.
#[derive(Debug)]
pub struct Policy {
    policies: PolicySet,
    schema: Schema,
    names: Names,
}

/// Names that each question needs, parsed once.
#[derive(Debug)]
struct Names {
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

const SCHEMA: &str = include_str!("../../policies/tn-authority.cedarschema");
const BUILT_IN: [(&str, &str); 3] = [
    ("mint.cedar", include_str!("../../policies/mint.cedar")),
    (
        "inventory.cedar",
        include_str!("../../policies/inventory.cedar"),
    ),
    (
        "claim-constraints.cedar",
        include_str!("../../policies/claim-constraints.cedar"),
    ),
];

impl Policy {
    /// The policies that come with the service.
    ///
    /// # Errors
    /// [`PolicyError`] if they are malformed, which a test rules out.
    pub fn built_in() -> Result<Self, PolicyError> {
        let files = BUILT_IN.map(|(name, text)| (name.to_owned(), text.to_owned()));
        Self::from_files(&files)
    }

    /// The policies of all files `*.cedar` in a folder, in place of the built-in ones. The schema is the service's own,
    /// since it says what the service tells the policies.
    ///
    /// # Errors
    /// [`PolicyError`] if the folder holds none, or one that does not fit the schema.
    pub fn from_dir(dir: &Path) -> Result<Self, PolicyError> {
        let unreadable = |error| PolicyError::Read {
            path: dir.display().to_string(),
            error,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "cedar")
            {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                files.push((name, fs::read_to_string(&path).map_err(unreadable)?));
            }
        }
        if files.is_empty() {
            return Err(PolicyError::None(dir.display().to_string()));
        }
        files.sort_unstable();
        Self::from_files(&files)
    }

    fn from_files(files: &[(String, String)]) -> Result<Self, PolicyError> {
        let mut policies = PolicySet::new();
        for (file, text) in files {
            let malformed = |why: &dyn std::fmt::Display| PolicyError::Parse {
                file: file.clone(),
                why: why.to_string(),
            };
            let parsed = PolicySet::from_str(text).map_err(|e| malformed(&e))?;
            for policy in parsed.policies() {
                // Ids are counted within a file; together with its name they are unique, and people know what is meant.
                let id = policy.annotation("id").unwrap_or(policy.id().as_ref());
                let policy = policy.new_id(PolicyId::new(format!("{file}:{id}")));
                policies.add(policy).map_err(|e| malformed(&e))?;
            }
            if parsed.templates().next().is_some() {
                return Err(malformed(&"templates are not used here"));
            }
        }
        let (schema, _) =
            Schema::from_cedarschema_str(SCHEMA).map_err(|e| PolicyError::Schema(e.to_string()))?;
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if !result.validation_passed() {
            let errors: Vec<String> = result
                .validation_errors()
                .map(ToString::to_string)
                .collect();
            return Err(PolicyError::Invalid(errors.join("; ")));
        }
        let names = Names::new().map_err(PolicyError::Schema)?;
        Ok(Self {
            policies,
            schema,
            names,
        })
    }

    /// Whether the caller may have a token like this for the account, as far as no number is concerned.
    ///
    /// # Errors
    /// [`Denial::NotTheCallers`] if it may not even ask; else [`Denial::Policy`] with the code of the policy that forbids.
    pub fn may_mint(
        &self,
        caller: &Caller,
        account: &AccountId,
        is_carrier: bool,
        request: &TokenRequest,
        lifetime: u32,
    ) -> Result<(), Denial> {
        let resource = self.account(account);
        let entities = self.entities(caller, Some((account, is_carrier)));
        let evaluate = |action: &EntityUid| {
            self.evaluate(
                caller,
                action,
                resource.clone(),
                token(request, lifetime),
                entities.as_ref(),
            )
        };
        // Each type of token has an action of its own, so that no policy permits one that it was not written for.
        let mint = match request.tkvalue().tktype() {
            TkType::TnAuthList => &self.names.mint,
            TkType::JwtClaimConstraints => &self.names.mint_claim_constraints,
        };
        let response = evaluate(mint).ok_or(Denial::NotTheCallers)?;
        if allowed(&response) {
            return Ok(());
        }
        // Whoever may not ask must not learn why else the answer would be no.
        match evaluate(&self.names.ask) {
            Some(ask) if allowed(&ask) => Err(self.denial(&response)),
            Some(_) | None => Err(Denial::NotTheCallers),
        }
    }

    /// Whether the caller may ask for tokens of this account at all, and so may know why there would be none.
    #[must_use]
    pub fn may_ask(
        &self,
        caller: &Caller,
        account: &AccountId,
        is_carrier: bool,
        request: &TokenRequest,
        lifetime: u32,
    ) -> bool {
        let entities = self.entities(caller, Some((account, is_carrier)));
        let (ask, resource) = (&self.names.ask, self.account(account));
        let context = token(request, lifetime);
        self.evaluate(caller, ask, resource, context, entities.as_ref())
            .is_some_and(|response| allowed(&response))
    }

    /// Whether the caller may do this with the service as a whole.
    #[must_use]
    pub fn may(&self, caller: &Caller, action: Action) -> bool {
        let action = match action {
            Action::Read => &self.names.read,
            Action::Manage => &self.names.manage,
            Action::Provision => &self.names.provision,
        };
        let entities = self.entities(caller, None);
        let service = self.names.service.clone();
        self.evaluate(
            caller,
            action,
            service,
            Some(Context::empty()),
            entities.as_ref(),
        )
        .is_some_and(|response| allowed(&response))
    }

    /// `None` if the question could not even be put, which counts as a denial.
    fn evaluate(
        &self,
        caller: &Caller,
        action: &EntityUid,
        resource: EntityUid,
        context: Option<Context>,
        entities: Option<&Entities>,
    ) -> Option<Response> {
        let principal = self.caller(caller);
        let request = Request::new(
            principal,
            action.clone(),
            resource,
            context?,
            Some(&self.schema),
        )
        .ok()?;
        Some(Authorizer::new().is_authorized(&request, &self.policies, entities?))
    }

    fn entities(&self, caller: &Caller, account: Option<(&AccountId, bool)>) -> Option<Entities> {
        let accounts = caller.accounts.iter();
        let accounts = accounts.map(|id| RestrictedExpression::new_entity_uid(self.account(id)));
        let attributes = HashMap::from([
            (
                "role".to_owned(),
                RestrictedExpression::new_string(caller.role.to_string()),
            ),
            (
                "accounts".to_owned(),
                RestrictedExpression::new_set(accounts),
            ),
        ]);
        let mut entities = vec![Entity::new(self.caller(caller), attributes, HashSet::new()).ok()?];
        if let Some((id, is_carrier)) = account {
            let carrier = RestrictedExpression::new_bool(is_carrier);
            let attributes = HashMap::from([("carrier".to_owned(), carrier)]);
            entities.push(Entity::new(self.account(id), attributes, HashSet::new()).ok()?);
        }
        Entities::from_entities(entities, None).ok()
    }

    fn caller(&self, caller: &Caller) -> EntityUid {
        EntityUid::from_type_name_and_id(self.names.caller.clone(), EntityId::new(&caller.id))
    }

    fn account(&self, id: &AccountId) -> EntityUid {
        EntityUid::from_type_name_and_id(self.names.account.clone(), EntityId::new(id.as_str()))
    }

    /// Names the policy that forbids: the first by its id, so that the same question gets the same answer.
    fn denial(&self, response: &Response) -> Denial {
        let mut reasons: Vec<&CedarPolicy> = response
            .diagnostics()
            .reason()
            .filter_map(|id| self.policies.policy(id))
            .collect();
        reasons.sort_unstable_by(|a, b| a.id().cmp(b.id()));
        let annotation = |name| reasons.first().and_then(|policy| policy.annotation(name));
        Denial::Policy {
            code: annotation("code").unwrap_or("policy").to_owned(),
            detail: annotation("message")
                .unwrap_or("a policy forbids it")
                .to_owned(),
        }
    }
}

impl Names {
    fn new() -> Result<Self, String> {
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
}

/// An error in any policy is a no, whatever the others say.
fn allowed(response: &Response) -> bool {
    response.decision() == cedar_policy::Decision::Allow
        && response.diagnostics().errors().next().is_none()
}

fn token(request: &TokenRequest, lifetime: u32) -> Option<Context> {
    let long = |n: u64| RestrictedExpression::new_long(i64::try_from(n).unwrap_or(i64::MAX));
    let numbers = request
        .numbers()
        .iter()
        .fold(0_u64, |sum, range| sum.saturating_add(range.count()));
    Context::from_pairs([
        (
            "ca".to_owned(),
            RestrictedExpression::new_bool(request.ca()),
        ),
        ("lifetime".to_owned(), long(lifetime.into())),
        (
            "entries".to_owned(),
            long(request.tkvalue().entries() as u64),
        ),
        ("numbers".to_owned(), long(numbers)),
        (
            "spcs".to_owned(),
            long(request.tkvalue().spcs().count() as u64),
        ),
    ])
    .ok()
}
