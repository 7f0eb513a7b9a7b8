//! Who may start, confirm and see proofs: every role, and resellers for their own subtree.

use tn_authority::authority::{ChangeError, Confirmation};
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::proof::ControlProof;
use tn_authority::domain::{Caller, Role};
use tn_authority::store::Page;

use crate::support::{Kind, Setup, World, account, wait};

both!(
    every_role_has_its_part,
    resellers_ask_for_their_own_subtree,
    a_suspended_reseller_asks_for_no_one,
    who_the_carrier_s_people_are_is_not_shown_to_others,
);

/// `wholesale` has a customer, `shop`; `acme` is the carrier's own.
fn carrier(kind: Kind) -> World {
    let world = World::new(kind, Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    let by = world.provisioner();
    for (id, parent) in [
        ("acme", None),
        ("wholesale", None),
        ("shop", Some("wholesale")),
    ] {
        let made = world
            .authority
            .put_account(&by, account(id), None, parent.map(account));
        wait(made).expect("an account");
    }
    world.lends("acme", "+12125551000+100");
    let mut wide = world.loan("wholesale", "+12125551100+100");
    wide.lend_on = true;
    let wide = world.delegates(wide).expect("a delegation");
    let mut cut = world.loan("shop", "+12125551100+50");
    cut.parent = Some(wide.row.id);
    world.delegates(cut).expect("a delegation");
    world
}

/// What a caller can do with a number of an account: start a proof, confirm it, show it, list it.
fn can(world: &World, caller: &Caller, id: &str, number: &str) -> [Result<(), &'static str>; 4] {
    let started = world.asks_as(caller, id, &[number], Channel::Sms(None));
    let started_as = started.as_ref().map(drop).map_err(ChangeError::code);
    let proof: ControlProof = match started {
        Ok(mut started) => started.remove(0),
        Err(_) => world
            .asks_as(&world.provisioner(), id, &[number], Channel::Sms(None))
            .expect("a proof")
            .remove(0),
    };
    let code = world.code_of(&proof);
    let shown = world.authority.control_proof(caller, proof.id);
    let listed = world
        .authority
        .control_proofs(caller, &account(id), &Page::new(10, None));
    let confirmed = world.confirms_as(caller, &proof, &code);
    if let Ok(answer) = &confirmed {
        assert!(matches!(answer, Confirmation::Confirmed(_)), "{answer:?}");
    } else {
        world
            .confirms_as(&world.provisioner(), &proof, &code)
            .expect("confirmed");
    }
    [
        started_as,
        confirmed.map(drop).map_err(|error| error.code()),
        shown.map(drop).map_err(|error| error.code()),
        listed.map(drop).map_err(|error| error.code()),
    ]
}

const EVERYTHING: [Result<(), &str>; 4] = [Ok(()); 4];
const READS: [Result<(), &str>; 4] = [Err("forbidden"), Err("forbidden"), Ok(()), Ok(())];
const UNKNOWN: [Result<(), &str>; 4] = [
    Err("unknown-account"),
    Err("not-found"),
    Err("not-found"),
    Err("unknown-account"),
];
const NOTHING: [Result<(), &str>; 4] = [
    Err("forbidden"),
    Err("forbidden"),
    Err("not-found"),
    Err("unknown-account"),
];

fn every_role_has_its_part(kind: Kind) {
    let world = carrier(kind);
    for (n, (role, accounts, expected)) in [
        (Role::Admin, &[][..], EVERYTHING),
        (Role::Provisioner, &[], EVERYTHING),
        (Role::Auditor, &[], READS),
        (Role::Account, &["acme"], EVERYTHING),
        (Role::Account, &["shop"], UNKNOWN),
        (Role::Portal, &["acme", "shop"], EVERYTHING),
        (Role::Portal, &["shop"], UNKNOWN),
        (Role::Renewer, &["acme"], NOTHING),
    ]
    .into_iter()
    .enumerate()
    {
        let caller = world.caller(role, accounts);
        let number = format!("+1212555100{n}");
        assert_eq!(
            can(&world, &caller, "acme", &number),
            expected,
            "{role} {accounts:?}"
        );
    }
}

fn resellers_ask_for_their_own_subtree(kind: Kind) {
    let world = carrier(kind);
    let reseller = world.caller(Role::Provisioner, &["wholesale"]);
    assert_eq!(can(&world, &reseller, "shop", "+12125551101"), EVERYTHING);
    assert_eq!(
        can(&world, &reseller, "wholesale", "+12125551160"),
        EVERYTHING
    );
    assert_eq!(can(&world, &reseller, "acme", "+12125551001"), UNKNOWN);
    let reader = world.caller(Role::Auditor, &["wholesale"]);
    assert_eq!(can(&world, &reader, "shop", "+12125551102"), READS);
    let strange = [
        Err("forbidden"),
        Err("forbidden"),
        Err("not-found"),
        Err("unknown-account"),
    ];
    assert_eq!(can(&world, &reader, "acme", "+12125551002"), strange);
    // A customer does not speak for its reseller.
    let shop = world.caller(Role::Account, &["shop"]);
    assert_eq!(can(&world, &shop, "wholesale", "+12125551161"), UNKNOWN);
    // The reseller gave the number away, so it proves nothing for itself.
    let refused = world.asks_as(
        &reseller,
        "wholesale",
        &["+12125551103"],
        Channel::Sms(None),
    );
    let Err(ChangeError::CannotStart(refused)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.refused[0].cause.code(), "lent-on");
}

fn a_suspended_reseller_asks_for_no_one(kind: Kind) {
    let world = carrier(kind);
    let reseller = world.caller(Role::Provisioner, &["wholesale"]);
    let proof = world.asks_one("shop", "+12125551101");
    let code = world.code_of(&proof);
    world.suspends("wholesale");
    let refused = world.asks_as(&reseller, "shop", &["+12125551102"], Channel::Sms(None));
    assert_eq!(refused, Err(ChangeError::Forbidden));
    // Nor does its customer by itself.
    let Err(ChangeError::CannotStart(refused)) = world.asks("shop", &["+12125551102"]) else {
        panic!("asked")
    };
    assert_eq!(refused.refused[0].cause.code(), "lender-suspended");
    assert!(matches!(
        world.confirms("shop", &proof, &code),
        Confirmation::Refused(_)
    ));
}

fn who_the_carrier_s_people_are_is_not_shown_to_others(kind: Kind) {
    let world = carrier(kind);
    let carrier = world.caller(Role::Admin, &[]);
    let proof = world
        .asks_as(&carrier, "acme", &["+12125551001"], Channel::Sms(None))
        .expect("a proof")
        .remove(0);
    let code = world.code_of(&proof);
    world
        .confirms_as(&carrier, &proof, &code)
        .expect("confirmed");
    let seen_by = |caller: &Caller| {
        let proof = world
            .authority
            .control_proof(caller, proof.id)
            .expect("a proof");
        (proof.started_by, proof.confirmed.expect("confirmed").by)
    };
    let known = ("key-of-admin".to_owned(), "key-of-admin".to_owned());
    assert_eq!(seen_by(&world.caller(Role::Auditor, &[])), known);
    assert_eq!(
        seen_by(&world.caller(Role::Account, &["acme"])),
        (String::new(), String::new())
    );
}
