//! The policies that a decision looks at: those that hold everywhere, and those whose scope names what the decision is
//! about. What a thousand other tenants' policies say costs nothing.
//!
//! # Why a slice answers as the whole set would
//! A policy is its scope and then its conditions, and Cedar evaluates them in this order, each only if all before it are
//! true. A scope is made of `==`, `in`, `is` and lists of actions. None of these can fail. Here nothing is in anything but
//! itself, since the entities of a question have no parents; so `in` is `==`. A policy that is left out names another
//! action, another resource or another principal in its scope. In the whole set its scope would be false: it would not
//! apply, and its conditions would not be evaluated, and so could not fail either. A slice may hold policies whose scope is
//! false. Cedar finds that out by itself. A decision is thus the same, its reasons are the same, and so are its errors.
//! A test compares both over random policies.

use std::collections::HashMap;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Decision, Entities, EntityUid, Policy,
    PolicySet, PolicySetError, PrincipalConstraint, Request, ResourceConstraint,
};

/// All policies, cut up.
#[derive(Debug, Default)]
pub(in crate::authority::policy) struct Slices(HashMap<EntityUid, Slice>);

/// The policies that may apply to one action.
#[derive(Debug, Default)]
struct Slice {
    everywhere: PolicySet,
    /// By the account, or the service, that their scope names.
    of_resource: HashMap<EntityUid, PolicySet>,
    /// By the caller that their scope names, of those that name no resource.
    of_principal: HashMap<EntityUid, PolicySet>,
}

/// What the policies say. Each id names one that decided: those that failed, or else those that forbid, or else those that
/// permit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::authority::policy) struct Evaluation {
    pub allowed: bool,
    pub failed: bool,
    pub ids: Vec<String>,
}

impl Slices {
    /// Cuts up policies, each of which has an id of its own.
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
                    (Some(resource), _) => slice.of_resource.entry(resource).or_default(),
                    (None, Some(principal)) => slice.of_principal.entry(principal).or_default(),
                    (None, None) => &mut slice.everywhere,
                };
                set.add(policy.clone())?;
            }
        }
        Ok(slices)
    }

    /// Asks those that may apply. An error in any of them is a no, whatever the others say.
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
        let everywhere = Some(&slice.everywhere).filter(|set| !set.is_empty());
        let sets = [
            everywhere,
            slice.of_resource.get(resource),
            slice.of_principal.get(principal),
        ];
        let mut said = Verdicts::default();
        for set in sets.into_iter().flatten() {
            said.listen(request, set, entities);
        }
        said.sum_up()
    }
}

/// What some sets say, one after the other.
#[derive(Debug, Default)]
struct Verdicts {
    permits: Vec<String>,
    forbids: Vec<String>,
    errors: Vec<String>,
}

impl Verdicts {
    fn listen(&mut self, request: &Request, set: &PolicySet, entities: &Entities) {
        let response = Authorizer::new().is_authorized(request, set, entities);
        let reasons = response.diagnostics().reason();
        let reasons = reasons.map(|id| AsRef::<str>::as_ref(id).to_owned());
        // The reasons of a no are the policies that forbid; there are none if nothing permits.
        match response.decision() {
            Decision::Allow => self.permits.extend(reasons),
            Decision::Deny => self.forbids.extend(reasons),
        }
        for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
            self.errors
                .push(AsRef::<str>::as_ref(error.policy_id()).to_owned());
        }
    }

    fn sum_up(self) -> Evaluation {
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

/// Whether the policy is looked at in every decision about its actions.
pub(in crate::authority::policy) fn holds_everywhere(policy: &Policy) -> bool {
    named_resource(policy).is_none() && named_principal(policy).is_none()
}
