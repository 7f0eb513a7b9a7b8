//! Bounds: what is cut up too much in numbers or in time is refused, and hides and holds up nobody.

use tn_authority::authority::{ChangeError, ExplainRequest};
use tn_authority::domain::Role;
use tn_authority::domain::inventory::RecordedPeriod;
use tn_authority::domain::inventory::departure::{Departure, DepartureKind};
use tn_authority::store::Tx;

use super::resellers::loan;
use crate::support::{World, account, code, numbers, outside, wait};

both! {
    many_loans_in_turn_hide_nobody,
    a_list_that_is_too_much_to_weigh_is_refused_at_once,
    an_explanation_says_what_is_known_where_a_policy_says_no,
    what_has_aged_over_the_years_weighs_on_nobody_whom_it_does_not_concern,
}

/// Loans that follow on each other, as many as may, neither hide who holds a number nor hold up a disconnect.
fn many_loans_in_turn_hide_nobody(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    world.knows("dummy");
    let mut refused = None;
    for n in 0..1_100_i64 {
        let mut new = loan("dummy", "+12125551002", None);
        new.lend_on = false;
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
        fingerprint: None,
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

fn what_has_aged_over_the_years_weighs_on_nobody_whom_it_does_not_concern(world: World) {
    world.carrier_holds("1.212.555.XXXX");
    world
        .delegates(loan("reseller", "1.212.555.XXXX", None))
        .expect_err("no account yet");
    world.knows("reseller");
    world
        .delegates(loan("reseller", "1.212.555.XXXX", None))
        .expect("a loan");
    world.carrier_holds("1.646.555.XXXX");
    world.lends("acme", "1.646.555.XXXX");
    let departures: Vec<_> = (0..2_100_u64)
        .flat_map(|n| [12_125_550_000 + n, 16_465_550_000 + n])
        .map(|n| Departure {
            id: uuid::Uuid::from_u128(u128::from(n)),
            kind: DepartureKind::Aging,
            cause: uuid::Uuid::nil(),
            numbers: numbers(&format!("+{n}")),
            at: world.now(),
            sequence: 1_000,
            belief: RecordedPeriod {
                recorded_at: world.now(),
                superseded_at: None,
            },
        })
        .collect();
    let insert = move |tx: &mut Tx<'_>| tx.insert_departures(&departures);
    wait(
        world
            .authority
            .store()
            .change(world.acting(), "test", insert),
    )
    .expect("departures");
    // The holder of a block keeps what ages.
    assert!(world.mints("reseller", &["range:12125550000+3000"]).is_ok());
    let too_much = world.mints("acme", &["range:16465550000+3000"]);
    assert_eq!(code(&too_much), "too-fragmented");
    assert!(world.mints("acme", &["range:16465552100+3000"]).is_ok());
    let some = world.mints("acme", &["range:16465550000+1000"]);
    assert_eq!(
        outside(&some),
        [(
            "+16465550000 to +16465550999".into(),
            "delegation-ended".into()
        )]
    );
}
