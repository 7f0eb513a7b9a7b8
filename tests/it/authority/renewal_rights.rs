//! Rights to renew: whose they are, what they may be for, and where they are named.

use tn_authority::authority::{ChangeError, NewRenewal};
use tn_authority::domain::clock::Time;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Caller, Role};
use tn_authority::store::Page;
use uuid::Uuid;

use super::renewals::{NUMBER, acme, gives, lent, listed, renews, renews_as, right, wanted};
use crate::support::{World, account, code, numbers, outside, wait};

both! {
    somebody_elses_right_is_none,
    a_right_is_given_for_what_the_delegation_holds,
    the_ledger_and_the_trail_name_it,
    everybody_sees_what_is_theirs,
    a_right_to_the_rest_of_a_block_goes_on_when_a_number_leaves,
}

fn somebody_elses_right_is_none(world: World) {
    let loan = lent(&world);
    world.knows("other");
    let right = right(&world, &loan);
    let other = world.caller(Role::Account, &["other"]);
    for caller in [
        other.clone(),
        world.provisioner(),
        world.caller(Role::Auditor, &[]),
    ] {
        for id in [right.id, Uuid::from_u128(7)] {
            let refused = renews_as(&world, &caller, id, None);
            assert_eq!(code(&refused), "forbidden");
            let event = world.trail(&id.to_string()).pop().expect("an event");
            assert_eq!(
                (event.action.as_str(), event.outcome.as_str()),
                ("renew", "forbidden")
            );
            assert_eq!(event.caller, caller.id);
        }
    }
    let not_found = Err(ChangeError::NotFound("renewal"));
    assert_eq!(world.authority.renewal(&other, right.id), not_found);
    let revoked = wait(world.authority.revoke_renewal(&other, right.id));
    assert_eq!(revoked, not_found);
    assert!(world.grants().is_empty());
    let event = world.trail(&right.id.to_string()).pop().expect("an event");
    assert_eq!(event.account, Some(account("other")));
}

fn a_right_is_given_for_what_the_delegation_holds(world: World) {
    let loan = lent(&world);
    let others = world.lends("other", "1.212.555.11XX");
    let list = listed;
    let wrong = |new: NewRenewal| gives(&world, new).expect_err("refused").code();
    let fine = || wanted(&loan);
    assert_eq!(
        [
            wrong(NewRenewal {
                list: list(&["one:12125551100"]),
                ..fine()
            }),
            wrong(NewRenewal {
                list: list(&[NUMBER, "range:12125551099+2"]),
                ..fine()
            }),
            wrong(NewRenewal {
                list: list(&[NUMBER, "spc:1234"]),
                ..fine()
            }),
            wrong(NewRenewal {
                delegation: others.row.id,
                ..fine()
            }),
            wrong(NewRenewal {
                delegation: Uuid::from_u128(7),
                ..fine()
            }),
            wrong(NewRenewal {
                account: account("nobody"),
                ..fine()
            }),
            wrong(NewRenewal {
                lifetime: 299,
                ..fine()
            }),
            wrong(NewRenewal {
                lifetime: 2 * 86_400 + 1,
                ..fine()
            }),
            wrong(NewRenewal {
                not_after: Some(world.now()),
                ..fine()
            }),
        ],
        [
            "not-of-the-delegation",
            "not-of-the-delegation",
            "spc-not-renewed",
            "not-found",
            "not-found",
            "unknown-account",
            "lifetime-not-allowed",
            "lifetime-not-allowed",
            "window-over",
        ]
    );
    for (role, accounts) in [
        (Role::Account, &["acme"][..]),
        (Role::Portal, &["acme"]),
        (Role::Renewer, &["acme"]),
        (Role::Auditor, &[]),
        // Its own numbers are its lender's to give a right for.
        (Role::Provisioner, &["acme"]),
        (Role::Provisioner, &["other"]),
    ] {
        let caller = world.caller(role, accounts);
        let given = wait(world.authority.allow_renewal(&caller, fine()));
        assert!(given.is_err(), "{caller:?}");
    }
    world.ends(&loan, None);
    assert_eq!(wrong(fine()), "delegation-ended");
    world.seconds_pass(1);
    let lasted = world.lends("acme", "1.212.555.10XX");
    world.seconds_pass(1);
    world.ends(&lasted, None);
    assert_eq!(wrong(wanted(&lasted)), "delegation-ended");
    let page = Page::new(10, None);
    let all = world.authority.renewals(&world.provisioner(), &page);
    assert_eq!(all.expect("a page").items, []);
}

fn the_ledger_and_the_trail_name_it(world: World) {
    let loan = lent(&world);
    let right = right(&world, &loan);
    let token = renews(&world, &right).expect("a token");
    let grant = world.grant_of(&token);
    let named: Vec<_> = grant
        .justified_by
        .iter()
        .map(|row| (row.kind(), row.row().id))
        .collect();
    assert!(named.contains(&("renewal", right.id)) && named.contains(&("delegation", loan.row.id)));
    assert_eq!(
        (grant.fingerprint, &grant.tkvalue),
        (right.fingerprint, &right.list.clone().into())
    );
    assert_eq!(grant.policies.ids(), ["own-accounts"]);
    let issued = world.trail("acme").pop().expect("an event");
    assert_eq!(
        (issued.action.as_str(), issued.outcome.as_str()),
        ("issue", "done")
    );
    assert_eq!(issued.detail["renewal"], right.id.to_string());
    assert_eq!(issued.detail["jti"], token.jti.as_str());
    let given = world.trail(&right.id.to_string()).remove(0);
    assert_eq!(given.account, Some(account("acme")));
    assert_eq!(given.detail["delegation"], loan.row.id.to_string());
}

fn everybody_sees_what_is_theirs(world: World) {
    let loan = lent(&world);
    let mine = right(&world, &loan);
    let others = world.lends("other", "1.212.555.11XX");
    let list = listed(&["one:12125551100"]);
    let theirs = gives(
        &world,
        NewRenewal {
            list,
            ..wanted(&others)
        },
    )
    .expect("a right");
    let seen = |caller: &Caller| -> Vec<(Uuid, Option<Time>)> {
        let page = world.authority.renewals(caller, &Page::new(10, None));
        let items = page.expect("a page").items.into_iter();
        items.map(|right| (right.id, right.revoked_at)).collect()
    };
    let (mine, theirs) = ((mine.id, None), (theirs.id, None));
    assert_eq!(seen(&acme(&world)), [mine]);
    assert_eq!(seen(&world.caller(Role::Account, &["other"])), [theirs]);
    assert_eq!(
        seen(&world.caller(Role::Portal, &["acme", "other"])),
        [mine, theirs]
    );
    assert_eq!(seen(&world.caller(Role::Auditor, &[])), [mine, theirs]);
    assert_eq!(seen(&world.caller(Role::Auditor, &["other"])), [theirs]);
    assert_eq!(seen(&world.caller(Role::Account, &["third"])), []);
}

fn a_right_to_the_rest_of_a_block_goes_on_when_a_number_leaves(world: World) {
    let loan = lent(&world);
    let lost = right(&world, &loan);
    let other = NewRenewal {
        list: listed(&["one:12125551002"]),
        ..wanted(&loan)
    };
    let kept = gives(&world, other).expect("a right");
    let ported = world.excludes("+12125551001", Reason::PortedOut, None);
    world.ends_exclusion(&ported.row, None);
    assert_eq!(
        outside(&renews(&world, &lost)),
        [("+12125551001".into(), "delegation-ended".into())]
    );
    assert!(renews(&world, &kept).is_ok());
    // The delegation no longer has the number, also for a new right; delegated anew, it is another one.
    let again = gives(&world, wanted(&loan)).expect_err("refused");
    assert_eq!(
        again,
        ChangeError::NotOfTheDelegation(vec![numbers("+12125551001")])
    );
    let anew = world.lends("acme", "+12125551001");
    assert!(renews(&world, &lost).is_err());
    assert!(renews(&world, &right(&world, &anew)).is_ok());
}
