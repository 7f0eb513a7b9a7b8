//! Holding, lending, minting, and what is recorded of it.

use tn_authority::authority::{ChangeError, NewAllocation};
use tn_authority::domain::inventory::Basis;
use tn_authority::domain::{NumberRange, Role};

use crate::support::{World, account, code, fingerprint, numbers, outside, request};

both! {
    a_carrier_lends_a_number_and_the_account_gets_a_token,
    outside_the_block_there_is_no_token_and_the_refusal_names_what_is_outside,
    grants_and_refusals_are_in_the_trail,
    a_list_of_several_entries_is_granted_as_a_whole_or_not_at_all,
    numbers_of_another_length_are_other_numbers,
    allocations_do_not_overlap_now_or_later,
    delegations_do_not_overlap_now_or_later,
    nothing_is_lent_that_is_not_held,
    who_may_not_provision_changes_nothing,
}

fn a_carrier_lends_a_number_and_the_account_gets_a_token(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");

    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(issued.expires, world.in_seconds(3600));
    assert_eq!(issued.token.split('.').count(), 3);

    let grant = world.grant_of(&issued);
    assert_eq!(grant.account, account("acme"));
    assert_eq!(
        grant.tkvalue.numbers().expect("numbers"),
        [numbers("+12125551001")]
    );
    assert_eq!((grant.ca, grant.fingerprint), (false, fingerprint()));
    assert_eq!(
        (grant.issued_at, grant.expires_at),
        (world.now(), issued.expires)
    );
    assert_eq!(grant.caller, "key-of-account");
    let because: Vec<_> = grant
        .justified_by
        .iter()
        .map(|j| (j.kind(), j.row()))
        .collect();
    assert_eq!(
        because,
        [("delegation", loan.row), ("allocation", block.row)]
    );
}

fn outside_the_block_there_is_no_token_and_the_refusal_names_what_is_outside(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let not_lent = |text: &str| (text.to_owned(), "not-delegated".to_owned());

    let next = world.mints("acme", &["one:12125551100"]);
    assert_eq!(code(&next), "not-authorized");
    assert_eq!(outside(&next), [not_lent("+12125551100")]);

    let across = world.mints("acme", &["range:12125551090+20"]);
    assert_eq!(outside(&across), [not_lent("+12125551100 to +12125551109")]);
    let around = world.mints("acme", &["range:12125550999+200"]);
    let before_and_behind = [
        not_lent("+12125550999"),
        not_lent("+12125551100 to +12125551198"),
    ];
    assert_eq!(outside(&around), before_and_behind);
    assert!(
        around
            .expect_err("a denial")
            .to_string()
            .contains("+12125551100 to +12125551198")
    );

    assert_eq!(world.grants(), []);
}

fn grants_and_refusals_are_in_the_trail(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(
        code(&world.mints("acme", &["one:12125551002"])),
        "not-authorized"
    );
    assert_eq!(
        code(&world.mints_for("acme", &["one:12125551001"], 86_401)),
        "lifetime-not-allowed"
    );

    let trail: Vec<_> = world
        .trail("acme")
        .into_iter()
        .filter(|event| event.action == "issue")
        .collect();
    let outcomes: Vec<&str> = trail.iter().map(|event| event.outcome.as_str()).collect();
    assert_eq!(outcomes, ["done", "not-authorized", "lifetime-not-allowed"]);
    assert_eq!(trail[0].detail["jti"], issued.jti.as_str());
    let reason = trail[1].detail["reason"].as_str().expect("a reason");
    assert!(reason.contains("+12125551002"), "{reason}");
    for event in &trail {
        assert_eq!(
            (event.caller.as_str(), event.at),
            ("key-of-account", world.now())
        );
        assert!(
            !event.detail.to_string().contains(&issued.token),
            "a token in the trail"
        );
    }
}

fn a_list_of_several_entries_is_granted_as_a_whole_or_not_at_all(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    let other = world.carrier_holds("1.646.555.2XXX");
    let loans = [
        world.lends("acme", "1.212.555.10XX"),
        world.lends("acme", "+16465552001"),
    ];
    world.lends("umbrella", "+12125551100");
    let entries = ["range:12125551010+5", "one:16465552001", "one:12125551099"];

    let issued = world.mints("acme", &entries).expect("a token");
    let mut because: Vec<_> = world
        .grant_of(&issued)
        .justified_by
        .iter()
        .map(|j| j.row())
        .collect();
    because.sort_unstable();
    let mut rows = vec![loans[0].row, loans[1].row, block.row, other.row];
    rows.sort_unstable();
    assert_eq!(because, rows);

    for k in 0..=entries.len() {
        let mut with_one_too_many = entries.to_vec();
        with_one_too_many.insert(k, "one:12125551100");
        let refused = world.mints("acme", &with_one_too_many);
        assert_eq!(
            outside(&refused),
            [("+12125551100".into(), "not-delegated".into())],
            "at {k}"
        );
    }
    assert_eq!(world.grants().len(), 1);
}

fn numbers_of_another_length_are_other_numbers(world: World) {
    world.carrier_holds("+4930123");
    world.carrier_holds("49.30.124X");
    world.lends("acme", "+4930123");
    assert!(world.mints("acme", &["one:4930123"]).is_ok());
    for longer_or_shorter in ["one:49301234", "one:493012", "one:493012300000000"] {
        assert_eq!(
            code(&world.mints("acme", &[longer_or_shorter])),
            "not-authorized",
            "{longer_or_shorter}"
        );
    }
    assert!(matches!(
        world.delegates(world.loan("acme", "+49301234")),
        Err(ChangeError::NotHeld(_))
    ));
    world.lends("umbrella", "+49301245");
    assert_eq!(
        code(&world.mints("umbrella", &["one:4930124"])),
        "not-authorized"
    );
    assert!(world.mints("umbrella", &["one:49301245"]).is_ok());
}

fn held(world: &World, text: &str) -> NewAllocation {
    NewAllocation {
        spc: world.authority.carrier().spcs[0].clone(),
        numbers: numbers(text),
        basis: Basis::Block,
        valid_from: None,
        valid_until: None,
    }
}

fn allocations_do_not_overlap_now_or_later(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    for text in [
        "1.212.555.1XXX",
        "+12125551000",
        "+12125551999",
        "1.212.555.XXXX",
        "+12125550999+2",
    ] {
        let refused = world.allocates(held(&world, text)).expect_err(text);
        let named = ChangeError::Overlap {
            numbers: block.numbers,
            kind: "allocation",
            id: block.row.id,
        };
        assert_eq!(refused, named);
    }
    for neighbour in ["1.212.555.0XXX", "1.212.555.2XXX"] {
        world.carrier_holds(neighbour);
    }

    let start = world.in_seconds(1_000);
    let later = NewAllocation {
        valid_from: Some(start),
        ..held(&world, "1.646.555.1XXX")
    };
    let later = world.allocates(later).expect("an allocation to come");
    let overlap = ChangeError::Overlap {
        numbers: later.numbers,
        kind: "allocation",
        id: later.row.id,
    };
    let too_long = NewAllocation {
        valid_until: Some(world.in_seconds(1_001)),
        ..held(&world, "+16465551000")
    };
    assert_eq!(
        world.allocates(too_long).expect_err("one second too long"),
        overlap
    );
    assert_eq!(
        world
            .allocates(held(&world, "+16465551000"))
            .expect_err("without an end"),
        overlap
    );
    let before = NewAllocation {
        valid_until: Some(start),
        ..held(&world, "+16465551000")
    };
    world
        .allocates(before)
        .expect("an allocation until the other starts");
}

fn delegations_do_not_overlap_now_or_later(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let overlap = ChangeError::Overlap {
        numbers: loan.numbers,
        kind: "delegation",
        id: loan.row.id,
    };
    for (id, text) in [
        ("acme", "1.212.555.10XX"),
        ("umbrella", "+12125551099"),
        ("umbrella", "1.212.555.1XXX"),
    ] {
        assert_eq!(
            world.delegates(world.loan(id, text)).expect_err(text),
            overlap
        );
    }
    world.ends(&loan, Some(world.in_seconds(500)));
    let mut next = world.loan("umbrella", "+12125551050");
    next.valid_from = Some(world.in_seconds(499));
    let refused = world
        .delegates(next.clone())
        .expect_err("one second too early");
    assert_eq!(refused.code(), "overlap");
    next.valid_from = Some(world.in_seconds(500));
    world
        .delegates(next)
        .expect("a delegation behind the first");
}

fn nothing_is_lent_that_is_not_held(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let not_held = |text: &str| world.delegates(world.loan("acme", text)).expect_err(text);
    let missing = |texts: &[&str]| {
        ChangeError::NotHeld(
            texts
                .iter()
                .map(|text| numbers(text))
                .collect::<Vec<NumberRange>>(),
        )
    };
    assert_eq!(not_held("+12125552000"), missing(&["+12125552000"]));
    assert_eq!(not_held("+12125550990+20"), missing(&["+12125550990+10"]));
    assert_eq!(
        not_held("1.212.555.XXXX"),
        missing(&["1.212.555.0XXX", "+12125552000+8000"])
    );

    let mut to_nobody = world.loan("acme", "+12125551001");
    to_nobody.account = account("nobody");
    assert_eq!(
        world.delegates(to_nobody),
        Err(ChangeError::UnknownAccount(account("nobody")))
    );
    let foreign = NewAllocation {
        spc: "9999".parse().expect("a code"),
        ..held(&world, "1.646.555.1XXX")
    };
    assert_eq!(
        world.allocates(foreign).expect_err("a foreign code").code(),
        "spc-not-held"
    );
}

fn who_may_not_provision_changes_nothing(world: World) {
    for role in [Role::Account, Role::Portal, Role::Auditor] {
        let caller = world.caller(role, &["acme"]);
        let refused = crate::support::wait(
            world
                .authority
                .allocate(&caller, held(&world, "1.212.555.1XXX")),
        );
        assert_eq!(refused, Err(ChangeError::Forbidden));
    }
    for role in [Role::Account, Role::Portal] {
        let number = "+12125551001".parse().expect("a number");
        let refused = world
            .authority
            .look_up(&world.caller(role, &["acme"]), number, None);
        assert_eq!(refused.expect_err("no reader"), ChangeError::Forbidden);
    }
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    for role in [Role::Provisioner, Role::Auditor] {
        let caller = world.caller(role, &[]);
        let refused = world.mints_as(&caller, "acme", request(&["one:12125551001"], false, None));
        assert_eq!(code(&refused), "forbidden");
    }
    let portal = world.caller(Role::Portal, &["umbrella", "acme"]);
    assert!(
        world
            .mints_as(&portal, "acme", request(&["one:12125551001"], false, None))
            .is_ok()
    );
}
