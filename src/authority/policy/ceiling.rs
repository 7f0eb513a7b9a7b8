//! What no policy can widen: what each role is for, and whom a caller speaks for. Policies only narrow it.

use super::Action;
use crate::domain::{AccountId, Caller, Role};

/// Whether any policy may let this caller have tokens of this account. A caller that was given accounts never reaches
/// beyond them, whatever a `permit` says.
pub(super) fn may_mint(caller: &Caller, account: &AccountId) -> bool {
    let speaks_for_it = caller.accounts.contains(account);
    match caller.role {
        Role::Admin => caller.accounts.is_empty() || speaks_for_it,
        Role::Portal | Role::Account => speaks_for_it,
        Role::Provisioner | Role::Auditor => false,
    }
}

/// Whether any policy may let this caller do this. Of whose rows it may do so is the business of `Scope`.
pub(super) fn may(caller: &Caller, action: Action) -> bool {
    match (caller.role, action) {
        (Role::Admin | Role::Provisioner, Action::Read | Action::Manage | Action::Provision)
        | (Role::Auditor, Action::Read) => true,
        (Role::Auditor, Action::Manage | Action::Provision)
        | (Role::Portal | Role::Account, Action::Read | Action::Manage | Action::Provision) => {
            false
        }
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
    fn nobody_reaches_beyond_the_accounts_that_it_was_given() {
        let (acme, other) = (
            "acme".parse().expect("an id"),
            "other".parse().expect("an id"),
        );
        for role in Role::ALL {
            let own = caller(role, &["acme"]);
            assert!(!may_mint(&own, &other), "{role}");
            let mints = matches!(role, Role::Admin | Role::Portal | Role::Account);
            assert_eq!(may_mint(&own, &acme), mints, "{role}");
            assert_eq!(
                may_mint(&caller(role, &[]), &acme),
                role == Role::Admin,
                "{role}"
            );
        }
    }
}
