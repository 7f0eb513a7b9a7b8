//! What policies see is read in the transaction that decides, and only what they refer to.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tn_authority::authority::{ExplainRequest, IssueError, StoreError};
use tn_authority::domain::issuance::{KeyedRequest, Replay};
use tn_authority::domain::{Fingerprint, Role};
use uuid::Uuid;

use super::proven::{
    example, lender, mints_for_key, not_older_than, proves, proves_for, set, setup, tn, tns,
};
use crate::authority::idempotency::count;
use crate::support::{Kind, World, account, at_once, code, numbers, outside, request, wait};

both! {
    the_rule_of_authority_is_reported_first,
    a_policy_that_fails_in_the_transaction_denies,
    who_may_not_ask_learns_nothing,
    a_grant_that_was_never_sent_is_signed_only_if_it_would_still_be_given,
    a_set_that_refers_to_no_rows_reads_none,
    a_key_that_another_replica_knows_is_known,
    no_token_outlives_a_suspension_and_no_proof_does,
    each_request_of_a_bulk_has_its_own_numbers,
    explain_says_what_is_missing,
    lists_without_numbers_are_never_proven,
}

const NUMBER: &str = "one:12125551001";
const OURS: u8 = 0x5e;

fn the_rule_of_authority_is_reported_first(kind: Kind) {
    let world = lender(kind, set(&not_older_than(600)));
    let both = mints_for_key(&world, "acme", &[NUMBER, "one:12125559001"], OURS);
    let parts = vec![("+12125559001".to_owned(), "not-delegated".to_owned())];
    assert_eq!(
        (code(&both).as_str(), outside(&both)),
        ("not-authorized", parts)
    );
    // A lifetime that the configuration does not allow needs no row.
    let long = world.mints_for("acme", &[NUMBER], 3 * 86_400);
    assert_eq!(code(&long), "lifetime-not-allowed");
    assert_eq!(world.grants(), []);
}

fn a_policy_that_fails_in_the_transaction_denies(kind: Kind) {
    let overflows = r#"@id("fails") @code("control-not-proven") forbid (principal, action == Action::"mint", resource)
        when { context.control.age + 1 < 600 };"#;
    let world = lender(kind, set(overflows));
    let mint = || mints_for_key(&world, "acme", &[NUMBER], OURS);
    assert_eq!(code(&mint()), "policy-error");
    assert_eq!(world.grants(), []);
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(event.outcome, "policy-error");
    assert_eq!(
        (&event.detail["policies"], &event.detail["policies_failed"]),
        (&json!(["fails"]), &json!(true))
    );
    // It does not fail for a number that is proven, and then it decides.
    proves(&world, "acme", &[tn("+12125551001")]);
    assert_eq!(code(&mint()), "control-not-proven");
    world.seconds_pass(600);
    mint().expect("a token");
}

fn who_may_not_ask_learns_nothing(kind: Kind) {
    let world = lender(kind, set(&not_older_than(600)));
    let stranger = world.caller(Role::Account, &["other"]);
    let refused = world.mints_as(&stranger, "acme", request(&[NUMBER], false, None));
    assert_eq!(
        (code(&refused).as_str(), outside(&refused)),
        ("forbidden", vec![])
    );
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(
        event.account,
        Some(account("other")),
        "not the account's to see"
    );
}

/// An attempt, now, whose process is gone ten seconds later.
fn attempt(world: &World) -> KeyedRequest {
    KeyedRequest {
        name: "k".to_owned(),
        request: "the same".to_owned(),
        holder: Uuid::new_v4(),
        at: world.now(),
        lease_until: world.in_seconds(10),
        keep_until: world.in_seconds(86_400),
    }
}

fn a_grant_that_was_never_sent_is_signed_only_if_it_would_still_be_given(kind: Kind) {
    let first = r#"@id("first") @code("control-not-proven") forbid (principal, action == Action::"mint", resource)
        when { context.first || context.key_age == 0 } unless { context.control.proven && context.control.age <= 600 };"#;
    for policy in [not_older_than(600), first.to_owned()] {
        // The policies ask for control only after the grant was recorded.
        let world = lender(kind, set(""));
        let caller = world.caller(Role::Account, &["acme"]);
        let mint = || {
            let (wanted, keyed) = (request(&[NUMBER], false, None), Some(attempt(&world)));
            wait(
                world
                    .authority
                    .issue(&caller, account("acme"), wanted, keyed),
            )
        };
        let lost = mint().expect("a token");
        wait(world.authority.change_policies(&caller, set(&policy))).expect("policies");
        world.seconds_pass(100);
        // The lost grant itself is no earlier token for these numbers and this key.
        match mint() {
            Err(IssueError::Store(StoreError::Replay(Replay::GrantEnded))) => {}
            other => panic!("{other:?}"),
        }
        let proof = proves(&world, "acme", &[tn("+12125551001")]);
        assert_eq!(proof.len(), 1);
        world.seconds_pass(10);
        let signed = mint().expect("a token");
        assert_eq!((&signed.jti, world.grants().len()), (&lost.jti, 1));
    }
}

fn a_set_that_refers_to_no_rows_reads_none(kind: Kind) {
    let world = lender(kind, set(""));
    let mint = || mints_for_key(&world, "acme", &[NUMBER], OURS);
    mint().expect("a token");
    assert_eq!(count(&world.db, "account_keys"), 1);
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(event.detail.get("control"), None);
    // A statement that names one of these tables would fail from now on.
    for table in [
        "control_messages",
        "control_samples",
        "control_receipts",
        "control_early_receipts",
        "control_proofs",
    ] {
        world.db.execute(&format!("DROP TABLE {table}"));
    }
    mint().expect("a token");
    world.db.execute("DROP TABLE account_keys");
    // On PostgreSQL the statement that inserts grants inserts keys, too.
    if kind == Kind::Sqlite {
        mint().expect("a token for a key that is remembered");
    }
    let new = mints_for_key(&world, "acme", &[NUMBER], 0x66);
    assert!(
        matches!(new, Err(IssueError::Store(_))),
        "its key has to be recorded"
    );
}

fn a_key_that_another_replica_knows_is_known(kind: Kind) {
    let young = r#"@id("young") @code("young-key") forbid (principal, action == Action::"mint", resource)
        when { context.key_age < 3600 && context.lifetime > 600 };"#;
    let one = lender(kind, set(young));
    let mint_at = |world: &World, lifetime| world.mints_for("acme", &[NUMBER], lifetime);
    mint_at(&one, 600).expect("a token");
    assert_eq!(code(&mint_at(&one, 601)), "young-key");
    one.seconds_pass(3599);
    assert_eq!(code(&mint_at(&one, 601)), "young-key");
    one.seconds_pass(1);
    mint_at(&one, 601).expect("a token");
    if kind == Kind::Postgres {
        let other = World::over(one.db.clone(), setup(set(young), 0));
        other.seconds_pass(3600);
        mint_at(&other, 601).expect("a token");
        // A key that the other one has recorded first.
        mints_for_key(&other, "acme", &[NUMBER], 0x66).expect_err("too young");
    }
    assert_eq!(count(&one.db, "account_keys"), 1);
}

fn no_token_outlives_a_suspension_and_no_proof_does(kind: Kind) {
    let world = lender(kind, set(&not_older_than(86_400)));
    let suspended = AtomicBool::new(false);
    for round in 0..3 {
        suspended.store(false, Ordering::SeqCst);
        proves(&world, "acme", &[tn("+12125551001")]);
        at_once(6, |n| {
            if n == 0 {
                world.suspends("acme");
                suspended.store(true, Ordering::SeqCst);
                return;
            }
            for _ in 0..10 {
                let after = suspended.load(Ordering::SeqCst);
                let minted = mints_for_key(&world, "acme", &[NUMBER], OURS);
                assert!(
                    !(after && minted.is_ok()),
                    "{round}: a token after the suspension"
                );
                if minted.is_err() {
                    assert_eq!(code(&minted), "forbidden");
                }
            }
        });
        world.resumes("acme");
        let resumed = mints_for_key(&world, "acme", &[NUMBER], OURS);
        assert_eq!(code(&resumed), "control-not-proven", "{round}");
        world.seconds_pass(3600);
    }
}

fn each_request_of_a_bulk_has_its_own_numbers(kind: Kind) {
    let world = lender(kind, set(&not_older_than(600)));
    proves(&world, "acme", &tns("+12125551000", 50));
    let wanted = (0..100).map(|n| {
        let entry = format!("one:{}", 12_125_551_000_u64 + n);
        (account("acme"), request(&[&entry], false, None))
    });
    let caller = world.caller(Role::Account, &["acme"]);
    let answers = wait(world.authority.issue_all(&caller, wanted.collect(), None));
    let answers = answers.expect("answers");
    for (n, answer) in answers.iter().enumerate() {
        if n < 50 {
            assert!(answer.is_ok(), "{n}: {answer:?}");
        } else {
            let number = format!("+{}", 12_125_551_000_u64 + n as u64);
            let parts = vec![(number, "control-not-proven".to_owned())];
            assert_eq!(
                (code(answer).as_str(), outside(answer)),
                ("control-not-proven", parts)
            );
        }
    }
}

fn explain_says_what_is_missing(kind: Kind) {
    let world = lender(kind, example());
    let explain = |key: Option<u8>| {
        let question = ExplainRequest {
            account: account("acme"),
            numbers: vec![numbers("+12125551001"), numbers("+12125551002")],
            ca: false,
            lifetime: None,
            fingerprint: key.map(|key| Fingerprint::from([key; 32])),
        };
        let caller = world.caller(Role::Account, &["acme"]);
        world.authority.explain(&caller, &question).expect("told")
    };
    let ours = Some(Fingerprint::from([OURS; 32]));
    proves_for(&world, "acme", &[tn("+12125551001")], ours);
    let told = explain(Some(OURS));
    let denial = told.decision.expect_err("a denial");
    assert_eq!(denial.code(), "control-not-proven");
    let lack = told.lack.expect("what is missing");
    let missing: Vec<String> = lack
        .refused
        .iter()
        .map(|part| part.subject.to_string())
        .collect();
    assert_eq!(missing, ["+12125551002"]);
    assert_eq!(
        told.policies.ids(),
        ["control-for-new-keys", "control-of-new-numbers"]
    );
    assert!(told.row_inputs.control && told.facts.rows.first);

    proves_for(&world, "acme", &[tn("+12125551002")], ours);
    assert!(explain(Some(OURS)).decision.is_ok());
    assert!(explain(None).decision.is_err());
    let both = ["one:12125551001", "one:12125551002"];
    mints_for_key(&world, "acme", &both, OURS).expect("a token");
    world.seconds_pass(2 * 86_400);
    let told = explain(Some(OURS));
    assert!(told.decision.is_ok() && !told.facts.rows.first);
    assert_eq!(told.facts.rows.key_age, 2 * 86_400);
    assert_eq!(told.facts.rows.delegation_age, 2 * 86_400);
    // For a key that the account has not used, or if none is named.
    assert!(explain(Some(0x66)).decision.is_err());
    assert!(explain(None).decision.is_err());
    // Explaining records nothing.
    assert_eq!(
        (world.grants().len(), count(&world.db, "account_keys")),
        (1, 1)
    );
}

fn lists_without_numbers_are_never_proven(kind: Kind) {
    let world = lender(kind, set(&not_older_than(600)));
    let refused = mints_for_key(&world, "carrier", &["spc:1234"], OURS);
    assert_eq!(code(&refused), "forbidden", "an account that is not known");
    world.knows("carrier");
    let refused = mints_for_key(&world, "carrier", &["spc:1234"], OURS);
    assert_eq!(code(&refused), "control-not-proven");
    let text = refused.expect_err("a denial").to_string();
    assert_eq!(
        text,
        "control has to be proven; there is no number in the list"
    );
}
