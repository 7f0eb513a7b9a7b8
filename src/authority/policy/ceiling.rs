//! The upper bound that no policy can raise: what each role may do, and for which accounts a caller
//! may act. Policies only narrow it.

use super::Action;
use crate::domain::{AccountId, Caller, Role};

/// Whether a policy can permit this caller to get tokens for this account. `by_renewal_right` says
/// whether the request uses one. A caller that is limited to some accounts never gets tokens for
/// others.
pub(super) fn may_mint(caller: &Caller, account: &AccountId, by_renewal_right: bool) -> bool {
    let is_its_account = caller.accounts.contains(account);
    match caller.role {
        Role::Admin => caller.accounts.is_empty() || is_its_account,
        Role::Portal | Role::Account => is_its_account,
        Role::Renewer => by_renewal_right && is_its_account,
        Role::Provisioner | Role::Auditor => false,
    }
}

/// Whether a policy can permit this caller this action. `Scope` decides on whose rows.
pub(super) fn may(caller: &Caller, action: Action) -> bool {
    match (caller.role, action) {
        (Role::Admin | Role::Provisioner, Action::Read | Action::Manage | Action::Provision)
        | (Role::Auditor, Action::Read) => true,
        (Role::Auditor, Action::Manage | Action::Provision)
        | (
            Role::Portal | Role::Account | Role::Renewer,
            Action::Read | Action::Manage | Action::Provision,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn caller(role: Role, accounts: &[&str]) -> Caller {
        Caller {
            id: "key".to_owned(),
            role,
            accounts: accounts
                .iter()
                .map(|id| id.parse().expect("an id"))
                .collect(),
            ..Caller::the_service(Uuid::nil())
        }
    }

    #[test]
    fn no_caller_acts_for_accounts_that_it_was_not_given() {
        let (acme, other) = (
            "acme".parse().expect("an id"),
            "other".parse().expect("an id"),
        );
        for role in Role::ALL {
            let own = caller(role, &["acme"]);
            for by_right in [false, true] {
                assert!(!may_mint(&own, &other, by_right), "{role}");
                let mints = matches!(role, Role::Admin | Role::Portal | Role::Account)
                    || (by_right && role == Role::Renewer);
                assert_eq!(may_mint(&own, &acme, by_right), mints, "{role}");
                assert_eq!(
                    may_mint(&caller(role, &[]), &acme, by_right),
                    role == Role::Admin,
                    "{role}"
                );
            }
        }
    }
}
