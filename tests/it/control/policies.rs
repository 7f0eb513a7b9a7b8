//! The shipped example in force: who gets a token, and who has to show control first.

use tn_authority::authority::{NewDelegation, NewRenewal};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Fingerprint, Role, Tn};

use super::proven::{
    example, lender, mints_for_key, not_older_than, proves, proves_for, set, setup, tn, tns,
};
use crate::authority::renewals::{gives, listed, renews};
use crate::authority::resellers::{line, loan};
use crate::support::{Kind, World, account, code, outside};

both! {
    a_stolen_key_alone_gets_no_token,
    a_proof_for_a_key_is_none_for_another,
    one_number_in_a_thief_s_reach_opens_no_other,
    a_number_proven_for_a_key_stays_so_until_the_key_is_known,
    new_numbers_need_a_proof_until_the_delegation_is_30_days_old,
    more_than_100_numbers_need_fresh_proofs,
    a_renewal_needs_a_proof_of_the_last_90_days,
    a_proof_ends_with_its_delegation,
    a_proof_is_of_one_account_and_one_number,
}

const DAY: i64 = 86_400;
const OURS: u8 = 0x5e;
const THIEFS: u8 = 0x66;
const NUMBER: &str = "one:12125551001";

fn a_stolen_key_alone_gets_no_token(kind: Kind) {
    let world = lender(kind, example());
    let mint = |key| mints_for_key(&world, "acme", &[NUMBER], key);
    assert_eq!(code(&mint(OURS)), "control-not-proven");
    owner_proves(&world, &[tn("+12125551001")]);
    mint(OURS).expect("a token");
    let event = world.trail("acme").pop().expect("an event");
    let seen = serde_json::json!({
        "proven": true, "age": 0, "methods": ["sms"], "for_key_age": 0, "sample": false, "numbers": 1, "with_proof": 1,
    });
    assert_eq!(
        (event.action.as_str(), &event.detail["control"]),
        ("issue", &seen)
    );
    // The delegation and the key are well known now, and the proof is old.
    world.seconds_pass(40 * DAY);
    mint(OURS).expect("a token");

    // Whoever has the credentials asks for an ACME account key of his own.
    let refused = mint(THIEFS);
    assert_eq!(code(&refused), "control-not-proven");
    let parts = vec![("+12125551001".to_owned(), "control-not-proven".to_owned())];
    assert_eq!(outside(&refused), parts);
    let text = refused.expect_err("a denial").to_string();
    for told in [
        "the first token for an ACME account key needs a proof of control for this key (its `fingerprint`) of the last 24 hours; ",
        "start a proof with `POST /v1/accounts/acme/control-proofs` for +12125551001 ",
        "(no proof of control counts for it)",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(event.outcome, "control-not-proven");
    assert_eq!(
        event.detail["policies"],
        serde_json::json!(["control-for-new-keys"])
    );
    assert_eq!(world.count("denials_total{code=\"control-not-proven\"}"), 2);
    // However often.
    assert_eq!(code(&mint(THIEFS)), "control-not-proven");
    mint(OURS).expect("a token");

    // With the code that reaches the number, the same credentials and key get a token.
    proves_for(&world, "acme", &[tn("+12125551001")], Some(key(THIEFS)));
    let issued = mint(THIEFS).expect("a token");
    let grant = world.grant_of(&issued);
    assert_eq!(grant.policies.ids(), ["own-accounts"]);
    let set = world.authority.policies().in_force().set().to_owned();
    assert_eq!(grant.policies.set(), Some(set.as_str()));
    // From then on the key is known.
    world.seconds_pass(2 * DAY);
    mint(THIEFS).expect("a token");
}

/// Somebody with the API key waits until the owner of the number has proven control of it.
fn a_proof_for_a_key_is_none_for_another(kind: Kind) {
    let world = lender(kind, example());
    let mint = |key| mints_for_key(&world, "acme", &[NUMBER], key);
    let number = [tn("+12125551001")];
    owner_proves(&world, &number);
    assert_eq!(code(&mint(THIEFS)), "control-not-proven");
    mint(OURS).expect("a token");
    assert_eq!(code(&mint(THIEFS)), "control-not-proven");
    // One that names no key is for all of them, so it serves none that is new.
    proves(&world, "acme", &number);
    assert_eq!(code(&mint(THIEFS)), "control-not-proven");
    proves_for(&world, "acme", &number, Some(key(THIEFS)));
    mint(THIEFS).expect("a token");
}

fn key(key: u8) -> Fingerprint {
    Fingerprint::from([key; 32])
}

/// The owner proves numbers for the own key.
fn owner_proves(world: &World, numbers: &[Tn]) {
    proves_for(world, "acme", numbers, Some(key(OURS)));
}

/// A thief has the API key and reads the messages of one number: no other number gets a token, from the first second on,
/// whatever the owner proves meanwhile.
fn one_number_in_a_thief_s_reach_opens_no_other(kind: Kind) {
    let world = lender(kind, example());
    let mint = |entries: &[&str], key| mints_for_key(&world, "acme", entries, key);
    let all = tns("+12125551000", 10);
    owner_proves(&world, &all);
    mint(&["range:12125551000+10"], OURS).expect("a token");
    world.seconds_pass(60 * DAY);

    let number = "one:12125551009";
    proves_for(&world, "acme", &[tn("+12125551009")], Some(key(THIEFS)));
    mint(&[number], THIEFS).expect("what the number itself has confirmed");
    for (seconds, proves_again) in [
        (0, false),
        (61, true),
        (DAY, true),
        (14 * DAY, true),
        (14 * DAY, false),
    ] {
        world.seconds_pass(seconds);
        if proves_again {
            // By a message that names no key, and for the key of the owner.
            proves(&world, "acme", &[tn("+12125551001")]);
            owner_proves(&world, &all[..5]);
        }
        for others in [
            &["one:12125551001"][..],
            &["one:12125551001", number],
            &["range:12125551000+10"],
            &["range:12125551200+90", number],
        ] {
            let refused = mint(others, THIEFS);
            assert_eq!(code(&refused), "control-not-proven", "{seconds} {others:?}");
            let named = outside(&refused);
            assert!(
                named.iter().all(|(one, _)| one != "+12125551009"),
                "{named:?}"
            );
        }
        mint(&[number], THIEFS).expect("the number that was proven");
        mint(&["range:12125551000+10"], OURS).expect("a token of the owner");
    }
    let event = world
        .trail("acme")
        .into_iter()
        .find(|event| event.outcome == "control-not-proven");
    assert!(event.is_some());
}

/// Who has proven all numbers once is never asked again on the way, although the proofs are a day older than the key.
fn a_number_proven_for_a_key_stays_so_until_the_key_is_known(kind: Kind) {
    let world = lender(kind, example());
    let mint = || mints_for_key(&world, "acme", &["range:12125551000+3"], OURS);
    owner_proves(&world, &tns("+12125551000", 3));
    world.seconds_pass(DAY - 60);
    mint().expect("the first token");
    for _ in 0..32 * 4 {
        world.seconds_pass(DAY / 4);
        mint().expect("a token");
    }
}

fn new_numbers_need_a_proof_until_the_delegation_is_30_days_old(kind: Kind) {
    let world = lender(kind, example());
    let mint = |entry: &str| mints_for_key(&world, "acme", &[entry], OURS);
    owner_proves(&world, &tns("+12125551001", 3));
    mint("one:12125551001").expect("a token");
    world.seconds_pass(DAY);
    // The proof is exactly 24 hours old.
    mint("one:12125551002").expect("a token");
    world.seconds_pass(1);
    assert_eq!(code(&mint("one:12125551003")), "control-not-proven");
    mint("one:12125551002").expect("the second token for the number");
    // Together with a known number it is as new as it is alone.
    let both = mints_for_key(
        &world,
        "acme",
        &["one:12125551002", "one:12125551003"],
        OURS,
    );
    let parts = ["+12125551002", "+12125551003"];
    let parts = parts.map(|number| (number.to_owned(), "control-not-proven".to_owned()));
    assert_eq!(outside(&both), parts);

    // For a key that is known.
    world.seconds_pass(29 * DAY - 2);
    assert_eq!(code(&mint("one:12125551004")), "control-not-proven");
    world.seconds_pass(1);
    mint("one:12125551004").expect("a token");
}

fn more_than_100_numbers_need_fresh_proofs(kind: Kind) {
    let world = lender(kind, example());
    let mint = |entry: &str| mints_for_key(&world, "acme", &[entry], OURS);
    owner_proves(&world, &[tn("+12125551000")]);
    mint("one:12125551000").expect("a token");
    world.seconds_pass(40 * DAY);
    mint("range:12125551000+100").expect("a token");
    assert_eq!(code(&mint("range:12125551000+101")), "control-not-proven");
    proves(&world, "acme", &tns("+12125551000", 100));
    // One is missing, and named.
    let refused = mint("range:12125551000+101");
    let parts = vec![("+12125551100".to_owned(), "control-not-proven".to_owned())];
    assert_eq!(outside(&refused), parts);
    proves(&world, "acme", &[tn("+12125551100")]);
    mint("range:12125551000+101").expect("a token");
    world.seconds_pass(DAY);
    mint("range:12125551000+101").expect("a token");
    world.seconds_pass(1);
    let refused = mint("range:12125551000+101");
    assert_eq!(outside(&refused).len(), 101);
}

fn a_renewal_needs_a_proof_of_the_last_90_days(kind: Kind) {
    let world = World::new(kind, setup(example(), 0));
    world.carrier_holds("1.212.555.1XXX");
    let delegation = world.lends("acme", "1.212.555.1XXX");
    let new = NewRenewal {
        account: account("acme"),
        delegation: delegation.row.id,
        list: listed(&[NUMBER]),
        fingerprint: Fingerprint::from([OURS; 32]),
        lifetime: 600,
        not_after: None,
        caller: None,
        control: None,
    };
    let right = gives(&world, new).expect("a right");
    assert_eq!(code(&renews(&world, &right)), "control-not-proven");
    owner_proves(&world, &[tn("+12125551001")]);
    renews(&world, &right).expect("a token");
    world.seconds_pass(90 * DAY);
    renews(&world, &right).expect("a token");
    world.seconds_pass(1);
    let refused = renews(&world, &right);
    assert_eq!(code(&refused), "control-not-proven");
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(event.detail["renewal"], serde_json::json!(right.id));
    // Without the right it is an ordinary request, which needs none.
    mints_for_key(&world, "acme", &[NUMBER], OURS).expect("a token");
    proves(&world, "acme", &[tn("+12125551001")]);
    renews(&world, &right).expect("a token");
}

fn a_proof_ends_with_its_delegation(kind: Kind) {
    let world = World::new(kind, setup(set(&not_older_than(600)), 0));
    world.carrier_holds("1.212.555.1XXX");
    let mint = || mints_for_key(&world, "acme", &[NUMBER], OURS);
    let first = world.lends("acme", "+12125551001");
    proves(&world, "acme", &[tn("+12125551001")]);
    mint().expect("a token");
    // Another delegation of the same number in the same second.
    world.ends(&first, None);
    world.lends("acme", "+12125551001");
    assert_eq!(code(&mint()), "control-not-proven");
    proves(&world, "acme", &[tn("+12125551001")]);
    mint().expect("a token");

    // Ported out and back, and delegated anew.
    let ported = world.excludes("+12125551001", Reason::PortedOut, None);
    assert_eq!(code(&mint()), "not-authorized");
    world.seconds_pass(60);
    world.ends_exclusion(&ported.row, None);
    assert_eq!(code(&mint()), "not-authorized");
    world.lends("acme", "1.212.555.100X");
    assert_eq!(code(&mint()), "control-not-proven");
    proves(&world, "acme", &[tn("+12125551001")]);
    mint().expect("a token");

    // An exclusion that ends no delegation ends the proof.
    let reserved = world.excludes("+12125551001", Reason::Suspended, None);
    world.seconds_pass(60);
    world.ends_exclusion(&reserved.row, None);
    world.seconds_pass(3600);
    assert_eq!(code(&mint()), "control-not-proven");

    // Suspended and resumed.
    proves(&world, "acme", &[tn("+12125551001")]);
    mint().expect("a token");
    world.suspends("acme");
    assert_eq!(code(&mint()), "forbidden");
    world.resumes("acme");
    assert_eq!(code(&mint()), "control-not-proven");
}

fn a_proof_is_of_one_account_and_one_number(kind: Kind) {
    // A reseller, and its customer: both may have tokens for the number.
    let world = World::new(kind, setup(set(&not_older_than(600)), 0));
    world.carrier_holds("1.212.555.1XXX");
    line(&world);
    let whole = world.delegates(loan("wholesale", "1.212.555.1XXX", None));
    let part = NewDelegation {
        lender_keeps: true,
        ..loan(
            "cpaas",
            "1.212.555.100X",
            Some(&whole.expect("a delegation")),
        )
    };
    world.delegates(part).expect("a delegation");
    let mint = |id: &str, entry: &str| mints_for_key(&world, id, &[entry], OURS);
    proves(&world, "wholesale", &[tn("+12125551001")]);
    mint("wholesale", NUMBER).expect("a token");
    assert_eq!(code(&mint("cpaas", NUMBER)), "control-not-proven");
    let next = mint("wholesale", "one:12125551002");
    assert_eq!(code(&next), "control-not-proven");
    proves(&world, "cpaas", &[tn("+12125551001")]);
    mint("cpaas", NUMBER).expect("a token");
    let caller = world.caller(Role::Admin, &[]);
    let wanted = || crate::support::request(&[NUMBER], false, None);
    let minted = world.mints_as(&caller, "cpaas", wanted());
    minted.expect("the number is proven, whoever asks");

    // What suspends the reseller ends the proofs of its customers, too.
    world.suspends("wholesale");
    world.resumes("wholesale");
    for id in ["wholesale", "cpaas"] {
        assert_eq!(code(&mint(id, NUMBER)), "control-not-proven", "{id}");
    }
}
