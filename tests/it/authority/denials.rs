//! Who gets no token, and with which code.

use tn_authority::domain::Role;
use tn_authority::domain::inventory::Reason;

use crate::support::{Kind, Setup, World, code, outside, request};

both! {
    an_unknown_a_suspended_and_somebody_elses_account_are_answered_alike,
    after_resuming_there_are_tokens_again,
    ca_needs_every_delegation_to_have_it,
    a_service_provider_code_is_for_the_carriers_own_account_alone,
    lifetimes_have_bounds,
    lists_have_bounds,
    no_token_outlives_the_signing_certificate,
    excluded_numbers_have_no_token_and_the_reason_is_named,
    two_thousand_rows_and_not_one_more_are_weighed,
}

fn an_unknown_a_suspended_and_somebody_elses_account_are_answered_alike(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    for id in ["acme", "umbrella"] {
        world.knows(id);
    }
    world.lends("acme", "+12125551001");
    world.lends("umbrella", "+12125551002");
    let wish = || request(&["one:12125551002"], false, None);

    let acme = world.caller(Role::Account, &["acme"]);
    let others = world.mints_as(&acme, "umbrella", wish());
    let unknown = world.mints_as(&world.caller(Role::Account, &["nobody"]), "nobody", wish());
    let unknown_to_admin = world.mints_as(&world.caller(Role::Admin, &[]), "nobody", wish());
    world.suspends("umbrella");
    let suspended = world.mints("umbrella", &["one:12125551002"]);
    let whats_wrong_too = world.mints("umbrella", &["one:12125551999"]);
    for denied in [
        others,
        unknown,
        unknown_to_admin,
        suspended,
        whats_wrong_too,
    ] {
        assert_eq!(code(&denied), "forbidden");
        assert_eq!(outside(&denied), []);
        assert_eq!(
            denied.expect_err("a denial").to_string(),
            "the credentials do not give access to this account"
        );
    }
    // A number that is lent to somebody is refused like one that nobody was lent, or nobody holds.
    for number in ["12125551002", "12125551003", "16465551002"] {
        let denied = world.mints("acme", &[&format!("one:{number}")]);
        assert_eq!(
            outside(&denied),
            [(format!("+{number}"), "not-delegated".into())]
        );
    }
}

fn after_resuming_there_are_tokens_again(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    world.suspends("acme");
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "forbidden"
    );
    let again = world.suspends("acme");
    assert_eq!(again.row.suspended_since, Some(world.now()));
    world.seconds_pass(10);
    assert_eq!(world.resumes("acme").suspended_since, None);
    assert_eq!(world.resumes("acme").suspended_since, None);
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
    world.suspends("acme");
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "forbidden"
    );
    let said: Vec<_> = world
        .trail("acme")
        .into_iter()
        .map(|e| e.action)
        .filter(|a| a != "issue")
        .collect();
    assert_eq!(said, ["put-account", "suspend", "resume", "suspend"]);
}

fn ca_needs_every_delegation_to_have_it(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let mut loan = world.loan("acme", "1.212.555.10XX");
    loan.ca = true;
    world.delegates(loan).expect("a delegation with ca");
    world.lends("acme", "1.212.555.11XX");

    let issued = world
        .mints_ca("acme", &["one:12125551001"])
        .expect("a token with ca");
    assert!(world.grant_of(&issued).ca);
    let refused = world.mints_ca("acme", &["range:12125551090+20"]);
    let without = (
        "+12125551100 to +12125551109".to_owned(),
        "ca-not-delegated".to_owned(),
    );
    assert_eq!(outside(&refused), [without]);
    assert!(world.mints("acme", &["range:12125551090+20"]).is_ok());
    // What was never lent is named as that, not as delegated without `ca`.
    let refused = world.mints_ca("acme", &["one:12125551999"]);
    assert_eq!(
        outside(&refused),
        [("+12125551999".into(), "not-delegated".into())]
    );
}

fn a_service_provider_code_is_for_the_carriers_own_account_alone(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.knows("carrier");
    world.lends("acme", "+12125551001");
    assert_eq!(code(&world.mints("acme", &["spc:1234"])), "spc-not-allowed");
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001", "spc:1234"])),
        "spc-not-allowed"
    );

    let issued = world
        .mints("carrier", &["spc:1234"])
        .expect("a token for the carrier's code");
    assert_eq!(world.grant_of(&issued).justified_by, []);
    for foreign in ["9999", "123", "12345", "1234a"] {
        let refused = world.mints("carrier", &["spc:1234", &format!("spc:{foreign}")]);
        assert_eq!(
            outside(&refused),
            [(
                format!("service provider code {foreign}"),
                "spc-not-held".into()
            )]
        );
    }
    // The code names all numbers of the carrier, and is no authority for any of them by itself.
    let refused = world.mints("carrier", &["spc:1234", "one:12125551001"]);
    assert_eq!(
        outside(&refused),
        [("+12125551001".into(), "not-delegated".into())]
    );
}

fn lifetimes_have_bounds(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    for seconds in [300, 301, 86_400] {
        let issued = world
            .mints_for("acme", &["one:12125551001"], seconds)
            .expect("a token");
        assert_eq!(issued.expires, world.in_seconds(seconds.into()));
    }
    for seconds in [0, 1, 299, 86_401, u32::MAX] {
        let denied = world.mints_for("acme", &["one:12125551001"], seconds);
        assert_eq!(code(&denied), "lifetime-not-allowed", "{seconds}");
    }
}

fn lists_have_bounds(world: World) {
    world.carrier_holds("1.212.XXXXXXX");
    world.lends("acme", "1.212.XXXXXXX");
    let entries: Vec<String> = (0..1001)
        .map(|n| format!("one:{}", 12_125_550_000_u64 + 2 * n))
        .collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    assert!(world.mints("acme", &entries[..1000]).is_ok());
    assert_eq!(code(&world.mints("acme", &entries)), "list-too-large");
    assert!(world.mints("acme", &["range:12120000000+1000000"]).is_ok());
    assert_eq!(
        code(&world.mints("acme", &["range:12120000000+1000001"])),
        "list-too-large"
    );
    // Numbers that are named twice count twice.
    let twice = ["range:12120000000+600000", "range:12120000000+600000"];
    assert_eq!(code(&world.mints("acme", &twice)), "list-too-large");
}

fn no_token_outlives_the_signing_certificate(kind: Kind) {
    let world = World::new(
        kind,
        Setup {
            certificate_lasts: 7200,
            ..Setup::default()
        },
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let ends = world.in_seconds(7200);
    assert_eq!(
        world
            .mints_for("acme", &["one:12125551001"], 86_400)
            .expect("a token")
            .expires,
        ends
    );
    world.seconds_pass(6_900);
    assert_eq!(
        world
            .mints("acme", &["one:12125551001"])
            .expect("a token")
            .expires,
        ends
    );
    world.seconds_pass(1);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "ends-too-soon"
    );
    world.seconds_pass(1_000);
    assert!(
        world.mints("acme", &["one:12125551001"]).is_err(),
        "a token behind the certificate's end"
    );
}

fn excluded_numbers_have_no_token_and_the_reason_is_named(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let reasons = [
        (Reason::PortedOut, "ported-out"),
        (Reason::Contaminated, "contaminated"),
        (Reason::Aging, "aging"),
        (Reason::Suspended, "suspended"),
        (Reason::Reserved, "reserved"),
    ];
    for (n, (reason, word)) in (12_125_551_001_u64..).zip(reasons) {
        let text = format!("+{n}");
        let excluded = world.excludes(&text, reason, None).row;
        let around = world.mints("acme", &["range:12125551000+10"]);
        assert_eq!(outside(&around), [(text.clone(), word.to_owned())]);
        let one = world.mints("acme", &[&format!("one:{n}")]);
        assert_eq!(outside(&one), [(text, word.to_owned())]);
        // What was never lent is told nothing of it.
        world.knows("umbrella");
        let others = world.mints("umbrella", &[&format!("one:{n}")]);
        assert_eq!(outside(&others)[0].1, "not-delegated");

        world.ends_exclusion(&excluded, None);
        let text = format!("+{n}");
        if matches!(reason, Reason::PortedOut | Reason::Aging) {
            // The number has left, and has to be delegated anew.
            let back = world.mints("acme", &["range:12125551000+10"]);
            assert_eq!(
                outside(&back),
                [(text.clone(), "delegation-ended".to_owned())]
            );
            world.lends("acme", &text);
        }
        assert!(
            world.mints("acme", &["range:12125551000+10"]).is_ok(),
            "{word} is over"
        );
    }
}

fn two_thousand_rows_and_not_one_more_are_weighed(world: World) {
    world.carrier_holds("1.212.555.XXXX");
    world.lends("acme", "1.212.555.XXXX");
    // Every other number, far from the ones that are asked for in the end.
    exclude_every_other(&world, 12_125_550_000, 2_000);
    let at_the_limit = world.mints("acme", &["range:12125550000+4000"]);
    assert_eq!(outside(&at_the_limit).len(), 2_000);
    exclude_every_other(&world, 12_125_554_000, 1);
    assert_eq!(
        code(&world.mints("acme", &["range:12125550000+4001"])),
        "too-fragmented"
    );
    assert!(world.mints("acme", &["one:12125559001"]).is_ok());
}

/// Far too many calls for the verb, so they are written at once.
fn exclude_every_other(world: &World, first: u64, count: u64) {
    use crate::support::{numbers, wait};
    use tn_authority::domain::Window;
    use tn_authority::domain::inventory::{Exclusion, RecordedPeriod, RowRef};
    use tn_authority::domain::new_id;
    use tn_authority::store::{StoreError, Tx};

    let now = world.now();
    let rows: Vec<Exclusion> = (0..count)
        .map(|n| Exclusion {
            row: RowRef {
                id: new_id(now),
                version: 1,
            },
            numbers: numbers(&format!("+{}", first + 2 * n)),
            reason: Reason::Aging,
            window: Window::new(now, None).expect("a window"),
            belief: RecordedPeriod {
                recorded_at: now,
                superseded_at: None,
            },
        })
        .collect();
    let insert = move |tx: &mut Tx<'_>| -> Result<(), StoreError> { tx.insert_exclusions(&rows) };
    wait(
        world
            .authority
            .store()
            .change(world.acting(), "test", insert),
    )
    .expect("exclusions");
}
