//! An index of the policies, so that a decision evaluates only those that can apply: the ones for
//! every request, and the ones whose scope names the account or caller of this request. The
//! policies of a thousand other tenants then cost nothing.
//!
//! # Why a slice decides like the whole set
//! Cedar evaluates the scope of a policy first, and its conditions only if the scope is true. A
//! scope consists of `==`, `in`, `is` and lists of actions, none of which can fail. The entities of
//! a request have no parents, so each is only `in` itself, and `in` means `==`. A policy outside
//! the slice names another action, resource or principal in its scope. In the whole set its scope
//! would be false: it would not apply, and its conditions would not be evaluated, so they could not
//! fail either. A slice can contain policies whose scope is false; Cedar skips them. Hence the
//! decision, its reasons and its errors are the same. A property test compares both for random
//! policies.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Decision, Entities, EntityUid, Policy,
    PolicySet, PolicySetError, PrincipalConstraint, Request, ResourceConstraint,
};

/// All policies, by action.
#[derive(Debug, Default)]
pub(in crate::authority::policy) struct Slices(HashMap<EntityUid, Slice>);

/// The policies that can apply to one action.
#[derive(Debug, Default)]
struct Slice {
    /// Those whose scope names neither a resource nor a principal.
    for_all: PolicySet,
    /// Those whose scope names a resource: an account, or the service.
    by_resource: HashMap<EntityUid, PolicySet>,
    /// Those whose scope names a principal, but no resource.
    by_principal: HashMap<EntityUid, PolicySet>,
}

/// The result of evaluating the policies. `ids` are the policies that decided: those that failed,
/// or else those that forbid, or else those that permit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::authority::policy) struct Evaluation {
    pub allowed: bool,
    pub failed: bool,
    pub ids: Vec<String>,
}

impl Slices {
    /// Indexes policies, whose ids must be unique.
    pub(in crate::authority::policy) fn new(
        policies: &[Policy],
        actions: &[&EntityUid],
    ) -> Result<Self, Box<PolicySetError>> {
        let mut slices = Self::default();
        for policy in policies {
            for action in actions {
                if !names_action(&policy.action_constraint(), action) {
                    continue;
                }
                let slice = slices.0.entry((*action).clone()).or_default();
                let (resource, principal) = (named_resource(policy), named_principal(policy));
                let set = match (resource, principal) {
                    (Some(resource), _) => slice.by_resource.entry(resource).or_default(),
                    (None, Some(principal)) => slice.by_principal.entry(principal).or_default(),
                    (None, None) => &mut slice.for_all,
                };
                set.add(policy.clone())?;
            }
        }
        Ok(slices)
    }

    /// Evaluates the policies that can apply. An error in any of them denies the request.
    pub(in crate::authority::policy) fn decide(
        &self,
        request: &Request,
        entities: &Entities,
    ) -> Evaluation {
        let names = (request.principal(), request.action(), request.resource());
        let (Some(principal), Some(action), Some(resource)) = names else {
            return Evaluation::default();
        };
        let Some(slice) = self.0.get(action) else {
            return Evaluation::default();
        };
        let for_all = Some(&slice.for_all).filter(|set| !set.is_empty());
        let sets = [
            for_all,
            slice.by_resource.get(resource),
            slice.by_principal.get(principal),
        ];
        let mut verdicts = Verdicts::default();
        for set in sets.into_iter().flatten() {
            verdicts.add(request, set, entities);
        }
        verdicts.combined()
    }
}

/// The verdicts of several sets, which are combined into one.
#[derive(Debug, Default)]
struct Verdicts {
    permits: Vec<String>,
    forbids: Vec<String>,
    errors: Vec<String>,
}

impl Verdicts {
    fn add(&mut self, request: &Request, set: &PolicySet, entities: &Entities) {
        let response = Authorizer::new().is_authorized(request, set, entities);
        let reasons = response.diagnostics().reason();
        let reasons = reasons.map(|id| AsRef::<str>::as_ref(id).to_owned());
        // The reasons of a denial are the policies that forbid. If none permits either, there are
        // no reasons.
        match response.decision() {
            Decision::Allow => self.permits.extend(reasons),
            Decision::Deny => self.forbids.extend(reasons),
        }
        for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
            self.errors
                .push(AsRef::<str>::as_ref(error.policy_id()).to_owned());
        }
    }

    fn combined(self) -> Evaluation {
        let allowed = self.errors.is_empty() && self.forbids.is_empty() && !self.permits.is_empty();
        let failed = !self.errors.is_empty();
        let mut ids = if failed {
            self.errors
        } else if allowed {
            self.permits
        } else {
            self.forbids
        };
        ids.sort_unstable();
        Evaluation {
            allowed,
            failed,
            ids,
        }
    }
}

fn names_action(constraint: &ActionConstraint, action: &EntityUid) -> bool {
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::In(all) => all.contains(action),
        ActionConstraint::Eq(one) => one == action,
    }
}

fn named_resource(policy: &Policy) -> Option<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::Eq(one)
        | ResourceConstraint::In(one)
        | ResourceConstraint::IsIn(_, one) => Some(one),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    }
}

fn named_principal(policy: &Policy) -> Option<EntityUid> {
    match policy.principal_constraint() {
        PrincipalConstraint::Eq(one)
        | PrincipalConstraint::In(one)
        | PrincipalConstraint::IsIn(_, one) => Some(one),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    }
}

/// Whether the policy is evaluated for every request with its actions.
pub(in crate::authority::policy) fn applies_to_all(policy: &Policy) -> bool {
    named_resource(policy).is_none() && named_principal(policy).is_none()
}
