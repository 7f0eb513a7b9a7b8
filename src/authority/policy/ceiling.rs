//! What no policy can widen: what each role is for, and whom a caller speaks for. Policies only narrow it.

use super::Action;
use crate::domain::{AccountId, Caller, Role};

/// Whether any policy may let this caller have tokens of this account, by a right to renew or otherwise. A caller that was given accounts never reaches
/// beyond them, whatever a `permit` says.
pub(super) fn may_mint(caller: &Caller, account: &AccountId, by_right: bool) -> bool {
    let speaks_for_it = caller.accounts.contains(account);
    match caller.role {
        Role::Admin => caller.accounts.is_empty() || speaks_for_it,
        Role::Portal | Role::Account => speaks_for_it,
        Role::Renewer => by_right && speaks_for_it,
        Role::Provisioner | Role::Auditor => false,
    }
}

/// Whether any policy may let this caller do this. Of whose rows it may do so is the business of `Scope`.
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
    fn nobody_reaches_beyond_the_accounts_that_it_was_given() {
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
