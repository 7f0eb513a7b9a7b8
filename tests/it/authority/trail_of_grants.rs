//! The events of grants are part of the ledger, and read with the others as one trail.

use serde_json::json;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{AuditEvent, Role};
use tn_authority::store::{EventFilter, GrantFilter, Page};
use uuid::Uuid;

use super::resellers::{LINE, lent_down};
use super::trail::{all, auditor, told};
use crate::support::{World, account, request};

both! {
    grants_refusals_and_changes_are_one_trail_in_their_order,
    pages_of_any_size_hold_the_same_events,
    filters_ask_the_ledger_only_for_what_it_has,
    a_caller_s_events_are_found_whoever_got_the_tokens,
    the_bounds_of_the_ledger_are_never_below_its_grants,
}

/// Mints, refusals and changes in turn, some in the same second.
fn busy(world: &World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    for n in 0..4 {
        world
            .mints("acme", &[&format!("one:{}", 12_125_551_000_u64 + n)])
            .expect("a token");
        world
            .mints("acme", &["one:12125559999"])
            .expect_err("not its number");
        world.excludes(
            &format!("+{}", 12_125_551_050_u64 + n),
            Reason::Reserved,
            None,
        );
        if n % 2 == 0 {
            world.seconds_pass(60);
        }
    }
}

fn grants_refusals_and_changes_are_one_trail_in_their_order(world: World) {
    busy(&world);
    let events = all(&world, &auditor(&world), EventFilter::default());
    assert!(events.is_sorted_by(|a, b| a.id < b.id && a.at <= b.at));
    let verbs: Vec<_> = told(&events).into_iter().map(|(verb, ..)| verb).collect();
    let round = ["issue", "issue", "exclude"];
    assert!(verbs.ends_with(&round.repeat(4)), "{verbs:?}");
    let grants = world.grants();
    let issued = events
        .iter()
        .filter(|one| one.action == "issue" && one.outcome == "done");
    let issued: Vec<&AuditEvent> = issued.collect();
    assert_eq!(issued.len(), grants.len());
    for (event, grant) in issued.into_iter().zip(&grants) {
        assert_eq!(Some(event.id), grant.jti.event());
        assert!(
            grant
                .jti
                .as_str()
                .starts_with(&event.id.simple().to_string())
        );
        let detail = json!({
            "jti": grant.jti, "expires": rfc3339(&grant.expires_at), "policies": grant.policies.ids(),
            "policy_set": grant.policies.set(),
        });
        assert_eq!((&event.detail, event.at), (&detail, grant.issued_at));
        let who = (&event.caller, event.request_id, event.account.as_ref());
        assert_eq!(who, (&grant.caller, grant.request_id, Some(&grant.account)));
        assert_eq!(event.caller_account.as_ref(), Some(&grant.account));
    }
}

fn pages_of_any_size_hold_the_same_events(world: World) {
    busy(&world);
    let reader = auditor(&world);
    for filter in [
        EventFilter::default(),
        EventFilter {
            account: Some(account("acme")),
            ..EventFilter::default()
        },
        EventFilter {
            caller: Some("key-of-account".to_owned()),
            ..EventFilter::default()
        },
    ] {
        let whole = all(&world, &reader, filter.clone());
        assert!(whole.len() >= 8);
        for limit in [1, 2, 3, 5, 1_000] {
            let (mut events, mut cursor) = (Vec::new(), None);
            loop {
                let page = Page::new(limit, cursor);
                let page = world.authority.audit_events(&reader, filter.clone(), &page);
                let page = page.expect("a page");
                assert!(page.items.len() <= usize::from(limit));
                events.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(events, whole, "pages of {limit}");
        }
    }
}

fn filters_ask_the_ledger_only_for_what_it_has(world: World) {
    busy(&world);
    let mut caller = world.caller(Role::Account, &["acme"]);
    caller.request_id = Uuid::from_u128(77);
    let asked = request(&["one:12125551007"], false, None);
    world.mints_as(&caller, "acme", asked).expect("a token");
    let text = |text: &str| Some(text.to_owned());
    let any = EventFilter::default;
    let count = |filter| all(&world, &auditor(&world), filter).len();
    let of = |action: &str, outcome: &str| EventFilter {
        action: text(action),
        outcome: text(outcome),
        ..any()
    };
    assert_eq!(count(of("issue", "done")), 5);
    assert_eq!(
        count(of("issue", "not-authorized")) + count(of("issue", "not-delegated")),
        4
    );
    assert_eq!(count(of("exclude", "done")), 4);
    let subject = |subject: &str| EventFilter {
        subject: text(subject),
        outcome: text("done"),
        action: text("issue"),
        ..any()
    };
    assert_eq!((count(subject("acme")), count(subject("acne"))), (5, 0));
    let request = EventFilter {
        request_id: Some(Uuid::from_u128(77)),
        ..any()
    };
    assert_eq!(count(request), 1);
    let caller = |caller: &str| EventFilter {
        caller: text(caller),
        ..of("issue", "done")
    };
    assert_eq!(
        (
            count(caller("key-of-account")),
            count(caller("key-of-admin"))
        ),
        (5, 0)
    );
    let now = world.now();
    let (from, until) = (Some(now), Some(now));
    let since = EventFilter {
        from,
        ..of("issue", "done")
    };
    let before = EventFilter {
        until,
        ..of("issue", "done")
    };
    assert_eq!((count(since), count(before)), (2, 3));
}

fn the_bounds_of_the_ledger_are_never_below_its_grants(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world.lends("other", "1.212.555.11XX");
    let mints = |id: &str, number: &str, lifetime: u32| {
        let caller = world.caller(Role::Account, &[id]);
        let asked = request(&[number], false, Some(lifetime));
        world.mints_as(&caller, id, asked).expect("a token")
    };
    let outstanding = || {
        let page = Page::new(Page::MAX_LIMIT, None);
        let filter = GrantFilter::outstanding(world.now());
        let read = world
            .authority
            .store()
            .read(|tx| tx.list_grants(&filter, &page));
        read.expect("grants").items.len()
    };
    let chain = |latest: tn_authority::domain::Time| {
        let name = world.grants().last().expect("a grant").chain.clone();
        let kept = world.authority.store().read(|tx| tx.last_expiry_of(&name));
        let kept = kept.expect("a chain").expect("a time");
        assert!(
            (0..600).contains(&(kept - latest).num_seconds()),
            "{kept} {latest}"
        );
    };
    let short = mints("acme", "one:12125551001", 300);
    chain(short.expires);
    let long = mints("acme", "one:12125551002", 86_400);
    chain(long.expires);
    mints("other", "one:12125551101", 600);
    // A token that ends earlier changes nothing.
    chain(long.expires);
    assert_eq!(outstanding(), 3);
    world.seconds_pass(43_200);
    mints("other", "one:12125551102", 300);
    assert_eq!(outstanding(), 2);
    // The old one is found by what ends its authority.
    assert_eq!(world.suspends("acme").outstanding_grants.exposure.tokens, 1);
    assert_eq!(
        world.grant_of(&long).withdrawal.map(|w| w.reason),
        Some("account-suspended".to_owned())
    );
    world.seconds_pass(43_200);
    assert_eq!(outstanding(), 0);
}

fn a_caller_s_events_are_found_whoever_got_the_tokens(world: World) {
    lent_down(&world);
    let [.., above, shop] = LINE;
    let portal = world.caller(Role::Portal, &[above, shop]);
    let confined = world.caller(Role::Account, &[shop]);
    let mut expected = [Vec::new(), Vec::new()];
    for (caller, id, number) in [
        (&portal, above, "one:12125551002"),
        (&confined, shop, "one:12125551001"),
        (&portal, shop, "one:12125551001"),
        (&confined, shop, "one:12125551001"),
    ] {
        let asked = request(&[number], false, None);
        let issued = world.mints_as(caller, id, asked).expect("a token");
        expected[usize::from(caller.id == confined.id)].push(json!(issued.jti));
    }
    for (caller, expected) in [portal, confined].into_iter().zip(expected) {
        let by_caller = EventFilter {
            caller: Some(caller.id),
            ..EventFilter::default()
        };
        let found = all(&world, &auditor(&world), by_caller).into_iter();
        let found: Vec<_> = found.map(|event| event.detail["jti"].clone()).collect();
        assert_eq!(found, expected);
    }
}
