//! Reading the trail: filters, pages, and who sees what.

use tn_authority::authority::ChangeError;
use tn_authority::domain::Role;
use tn_authority::store::{EventFilter, Page};
use uuid::Uuid;

use super::trail::{all, auditor, told};
use crate::support::{Kind, World, account, clock_starts, request, wait};

both! {
    the_trail_is_filtered_and_paged,
    a_reseller_sees_what_is_about_its_own,
    old_events_are_given_their_accounts,
}

fn the_trail_is_filtered_and_paged(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world.lends("other", "1.212.555.11XX");
    world.seconds_pass(100);
    let mut caller = world.caller(Role::Account, &["acme"]);
    for n in 0..5 {
        caller.request_id = Uuid::from_u128(n);
        let entry = format!("one:{}", 12_125_551_099 + n);
        let _ = world.mints_as(&caller, "acme", request(&[&entry], false, None));
    }
    world.seconds_pass(100);
    world.suspends("other");
    let reader = auditor(&world);
    let count = |filter| all(&world, &reader, filter).len();
    let any = EventFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (
            EventFilter {
                account: Some(account("other")),
                ..any()
            },
            3,
        ),
        (
            EventFilter {
                account: Some(account("nobody")),
                ..any()
            },
            0,
        ),
        (
            EventFilter {
                caller: text("key-of-account"),
                ..any()
            },
            5,
        ),
        (
            EventFilter {
                action: text("issue"),
                ..any()
            },
            5,
        ),
        (
            EventFilter {
                outcome: text("not-authorized"),
                ..any()
            },
            4,
        ),
        (
            EventFilter {
                request_id: Some(Uuid::from_u128(3)),
                ..any()
            },
            1,
        ),
        (
            EventFilter {
                subject: text("other"),
                ..any()
            },
            2,
        ),
        (
            EventFilter {
                from: Some(world.in_seconds(-100)),
                until: Some(world.now()),
                ..any()
            },
            5,
        ),
        (
            EventFilter {
                from: Some(world.now()),
                ..any()
            },
            1,
        ),
        (
            EventFilter {
                from: Some(world.in_seconds(1)),
                ..any()
            },
            0,
        ),
        (
            EventFilter {
                until: Some(clock_starts()),
                ..any()
            },
            0,
        ),
        (
            EventFilter {
                account: Some(account("acme")),
                outcome: text("done"),
                action: text("issue"),
                from: Some(clock_starts()),
                ..any()
            },
            1,
        ),
    ] {
        assert_eq!(count(filter.clone()), expected, "{filter:?}");
    }

    let whole = all(&world, &reader, any());
    let (mut paged, mut cursor) = (Vec::new(), None);
    loop {
        let page = Page::new(2, cursor);
        let found = world.authority.audit_events(&reader, any(), &page);
        let found = found.expect("a page");
        assert!(found.items.len() <= 2);
        paged.extend(found.items);
        cursor = found.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(paged, whole);
    assert!(whole.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

fn a_reseller_sees_what_is_about_its_own(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let mut lent = world.loan("reseller", "1.212.555.10XX");
    lent.lend_on = true;
    world.delegates(lent).expect("a loan");
    world.lends("other", "1.212.555.11XX");
    let own = world.caller(Role::Provisioner, &["reseller"]);
    let shop = world
        .authority
        .put_account(&own, account("shop"), None, Some(account("reseller")));
    wait(shop).expect("a customer");
    let _ = world.mints("shop", &["one:12125551001"]);
    let _ = world.mints("other", &["one:12125551101"]);

    let of_reseller = world.caller(Role::Auditor, &["reseller"]);
    let seen = all(&world, &of_reseller, EventFilter::default());
    assert_eq!(
        told(&seen),
        [
            ("put-account", "reseller", "done"),
            ("delegate", "reseller", "done"),
            ("put-account", "shop", "done"),
            ("issue", "shop", "not-authorized"),
        ]
    );
    // The carrier's people stay unnamed; its own and its customers' do not.
    let named: Vec<&str> = seen.iter().map(|event| event.caller.as_str()).collect();
    let carriers = world.provisioner().id;
    assert_eq!(named, ["", "", own.id.as_str(), "key-of-account"]);
    for (filter, expected) in [
        (
            EventFilter {
                account: Some(account("other")),
                ..EventFilter::default()
            },
            0,
        ),
        (
            EventFilter {
                account: Some(account("shop")),
                ..EventFilter::default()
            },
            2,
        ),
        (
            EventFilter {
                subject: Some("other".to_owned()),
                ..EventFilter::default()
            },
            0,
        ),
        // By an id that it is not shown it finds nothing; the two provisioners of this world share theirs.
        (
            EventFilter {
                caller: Some(carriers),
                ..EventFilter::default()
            },
            1,
        ),
        (
            EventFilter {
                caller: Some("command".to_owned()),
                ..EventFilter::default()
            },
            0,
        ),
        (
            EventFilter {
                request_id: Some(own.request_id),
                ..EventFilter::default()
            },
            4,
        ),
    ] {
        let found = all(&world, &of_reseller, filter.clone());
        assert_eq!(found.len(), expected, "{filter:?}");
    }
    let of_shop = world.caller(Role::Auditor, &["shop"]);
    assert_eq!(all(&world, &of_shop, EventFilter::default()).len(), 2);
    for role in [Role::Account, Role::Portal] {
        let caller = world.caller(role, &["shop"]);
        let page = Page::new(10, None);
        let refused = world
            .authority
            .audit_events(&caller, EventFilter::default(), &page);
        assert_eq!(refused, Err(ChangeError::Forbidden));
    }
}

fn old_events_are_given_their_accounts(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.1XXX");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let provisioner = world.provisioner();
    let withdrawn = world
        .authority
        .withdraw(&provisioner, issued.jti, "lost".to_owned());
    wait(withdrawn).expect("a grant");
    world.ends(&loan, None);
    let before = all(&world, &auditor(&world), EventFilter::default());
    let folder = match world.db.kind() {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/migrations/{folder}/0007_trail/up.sql");
    let text = std::fs::read_to_string(path).expect("the migration");
    let updates: Vec<&str> = text
        .split(';')
        .filter_map(|statement| Some(&statement[statement.find("UPDATE ")?..]))
        .collect();
    assert_eq!(updates.len(), 3);
    world
        .db
        .execute("UPDATE audit_events SET account_id = NULL");
    // The ids of grants were text then.
    let jti = match world.db.kind() {
        Kind::Sqlite => "lower(hex(jti)) = subject",
        Kind::Postgres => "encode(jti, 'hex') = subject",
    };
    world
        .db
        .execute(&updates.join(";").replace("jti = subject", jti));
    assert_eq!(
        all(&world, &auditor(&world), EventFilter::default()),
        before
    );
}
