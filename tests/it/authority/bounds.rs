//! Bounds: what is cut up too much in numbers or in time is refused, and hides and holds up nobody.

use tn_authority::authority::{ChangeError, ExplainRequest};
use tn_authority::domain::Role;

use super::resellers::loan;
use crate::support::{World, account, code, numbers, wait};

both! {
    many_loans_in_turn_hide_nobody,
    a_list_that_is_too_much_to_weigh_is_refused_at_once,
    an_explanation_says_what_is_known_where_a_policy_says_no,
}

/// Loans that follow on each other, as many as may, neither hide who holds a number nor hold up a disconnect.
fn many_loans_in_turn_hide_nobody(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    world.knows("dummy");
    let mut refused = None;
    for n in 0..1_100_i64 {
        let mut new = loan("dummy", "+12125551002", None);
        new.valid_from = Some(world.in_seconds(1_000_000 + n));
        new.valid_until = Some(world.in_seconds(1_000_001 + n));
        if let Err(error) = world.delegates(new) {
            refused = Some((n, error));
            break;
        }
    }
    assert_eq!(
        refused,
        Some((1_000, ChangeError::TooFragmented { limit: 1_000 }))
    );
    let known = world.looks_up("+12125551002", Some(world.in_seconds(1_000_500)));
    assert_eq!(
        (known.accounts, known.more),
        (vec![account("dummy")], false)
    );
    let new = tn_authority::authority::NewDisconnect {
        numbers: numbers("+12125551002"),
        class: "business".to_owned(),
        at: None,
    };
    let done = wait(world.authority.disconnect(&world.provisioner(), new)).expect("a disconnect");
    assert_eq!(done.row.ended_delegations.len(), 1_000);
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
}

fn a_list_that_is_too_much_to_weigh_is_refused_at_once(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("acme");
    for n in 0..300_i64 {
        let mut new = loan("acme", "1.212.555.1XXX", None);
        new.valid_from = Some(world.in_seconds(10 * n));
        new.valid_until = Some(world.in_seconds(10 * (n + 1)));
        world.delegates(new).expect("a loan");
    }
    let entries: Vec<String> = (0..1000)
        .map(|n| format!("one:{}", 12_125_551_000_u64 + n))
        .collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    assert_eq!(code(&world.mints("acme", &entries)), "too-fragmented");
    let whole = world.mints_for("acme", &["range:12125551000+1000"], 2_000);
    assert_eq!(whole.expect("a token").expires, world.in_seconds(2_000));
    let explained = world.explains("acme", &["1.212.555.1XXX"], false);
    assert_eq!(
        (explained.parts.len(), explained.parts[0].rows.len()),
        (1, 301)
    );
}

fn an_explanation_says_what_is_known_where_a_policy_says_no(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let question = ExplainRequest {
        account: account("acme"),
        numbers: vec![numbers("+12125551001")],
        ca: false,
        lifetime: Some(100_000),
    };
    let told = world
        .authority
        .explain(&world.caller(Role::Auditor, &[]), &question)
        .expect("an explanation");
    assert_eq!(
        told.decision.expect_err("too long").code(),
        "lifetime-not-allowed"
    );
    assert_eq!((told.parts[0].refused, told.parts[0].rows.len()), (None, 2));
}
