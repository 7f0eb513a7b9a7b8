//! How often numbers are asked: an endpoint that sends messages is wanted by fraudsters and bullies.

use tn_authority::authority::{
    ChangeError, ControlSettings, NewControlProofs, ProofLimit, ProofLimits, StartCause,
};
use tn_authority::domain::Role;
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::proof::{ControlProof, Method};
use tn_authority::domain::inventory::Delegation;

use crate::support::control::control_settings;
use crate::support::{Kind, Setup, World, account, wait};

both!(
    a_flood_of_starts_reaches_one_victim_three_times_an_hour,
    a_number_is_asked_ten_times_a_day,
    a_new_customer_has_limits_of_its_own_and_the_number_one_for_all,
    the_accounts_of_one_customer_leave_limits_to_the_next_one,
    an_account_has_a_limit,
    a_gateway_has_a_limit,
    a_reseller_s_customers_cannot_use_up_a_gateway_together,
    callers_leave_something_of_a_gateway_to_the_carrier,
    replicas_share_the_limits,
);

const NUMBER: &str = "+12125551001";

fn limited(kind: Kind, change: impl Fn(&mut ProofLimits)) -> World {
    let mut settings = control_settings();
    change(&mut settings.limits);
    let world = World::new(
        kind,
        Setup {
            control: settings,
            ..Setup::default()
        },
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+500");
    world.lends("other", "+12125551500+400");
    world
}

/// What is limited, and in how many seconds it is not.
fn refused(world: &World, id: &str, numbers: &[&str]) -> Vec<(String, ProofLimit, u32)> {
    let Err(ChangeError::CannotStart(refused)) = world.asks(id, numbers) else {
        panic!("{numbers:?} were asked")
    };
    assert_eq!(refused.code(), "too-many-proofs");
    let causes = refused.refused.iter().map(|one| match one.cause {
        StartCause::TooMany { limit, seconds } => (one.number.to_string(), limit, seconds),
        other => panic!("{other:?}"),
    });
    let causes: Vec<_> = causes.collect();
    assert_eq!(
        Some(refused.retry_after()),
        causes.iter().map(|(_, _, seconds)| *seconds).max()
    );
    causes
}

fn a_flood_of_starts_reaches_one_victim_three_times_an_hour(kind: Kind) {
    let world = limited(kind, |_| {});
    for _ in 0..3 {
        world.proves("acme", NUMBER);
        world.seconds_pass(60);
    }
    for _ in 0..50 {
        assert_eq!(
            refused(&world, "acme", &[NUMBER]),
            [(NUMBER.to_owned(), ProofLimit::Number, 3_420)]
        );
    }
    world.seconds_pass(3_419);
    assert_eq!(
        refused(&world, "acme", &[NUMBER]),
        [(NUMBER.to_owned(), ProofLimit::Number, 1)]
    );
    world.seconds_pass(1);
    world.proves("acme", NUMBER);
    // The next one has to wait for the second of the first three.
    assert_eq!(refused(&world, "acme", &[NUMBER])[0].2, 60);
    // Another number is not concerned.
    world.proves("acme", "+12125551002");
}

fn a_number_is_asked_ten_times_a_day(kind: Kind) {
    let world = limited(kind, |_| {});
    let first = world.now();
    for _ in 0..10 {
        world.asks_one("acme", NUMBER);
        world.seconds_pass(1_800);
    }
    let seconds = 86_400 - (world.now() - first).num_seconds();
    let found = refused(&world, "acme", &[NUMBER]);
    assert_eq!(i64::from(found[0].2), seconds);
    world.seconds_pass(seconds);
    world.asks_one("acme", NUMBER);
}

fn a_new_customer_has_limits_of_its_own_and_the_number_one_for_all(kind: Kind) {
    let world = limited(kind, |limits| limits.per_number_hour = 2);
    let number = "+12125551950";
    // Each one uses up its limit, and leaves. The next one does not inherit that.
    for id in ["first", "second", "third", "fourth"] {
        let lent = world.lends(id, number);
        for _ in 0..2 {
            world.proves(id, number);
        }
        assert_eq!(refused(&world, id, &[number])[0].1, ProofLimit::Number);
        world.seconds_pass(60);
        world.ends(&lent, None);
    }
    // But whoever lends a number from hand to hand does not let it ring all day.
    world.lends("fifth", number);
    assert_eq!(
        refused(&world, "fifth", &[number]),
        [(number.to_owned(), ProofLimit::Number, 3_360)]
    );
    world.seconds_pass(3_360);
    for _ in 0..2 {
        world.proves("fifth", number);
    }
    assert_eq!(refused(&world, "fifth", &[number])[0].1, ProofLimit::Number);
    // But the carrier can, which is responsible for it; in the end not even that.
    for _ in 0..2 {
        over_limits(&world, "fifth", number).expect("a proof");
    }
    let refused = over_limits(&world, "fifth", number).map_err(|error| error.code());
    assert_eq!(refused.err(), Some("too-many-proofs"));
}

/// A reseller makes as many accounts as it likes, and lends a number to one after the other.
fn the_accounts_of_one_customer_leave_limits_to_the_next_one(kind: Kind) {
    let world = limited(kind, |limits| limits.per_number_hour = 2);
    let number = "+12125551950";
    let mut wide = world.loan("reseller", number);
    wide.lend_on = true;
    let wide = world.delegates(wide).expect("a delegation");
    for n in 0..3 {
        let id = format!("bot{n}");
        let cut = lends_to_new(&world, &id, number, &wide);
        if n < 2 {
            for _ in 0..2 {
                world.proves(&id, number);
            }
        } else {
            let expected = [(number.to_owned(), ProofLimit::Number, 3_480)];
            assert_eq!(refused(&world, &id, &[number]), expected);
        }
        world.seconds_pass(60);
        world.ends(&cut, None);
    }
    world.ends(&wide, None);
    world.lends("next", number);
    world.proves("next", number);
}

/// The reseller makes an account, and lends it a number of its own.
pub fn lends_to_new(world: &World, id: &str, number: &str, wide: &Delegation) -> Delegation {
    let (by, parent) = (world.provisioner(), Some(wide.account.clone()));
    let made = world.authority.put_account(&by, account(id), None, parent);
    wait(made).expect("an account");
    let mut cut = world.loan(id, number);
    cut.parent = Some(wide.row.id);
    world.delegates(cut).expect("a delegation")
}

fn over_limits(world: &World, id: &str, number: &str) -> Result<Vec<ControlProof>, ChangeError> {
    let new = NewControlProofs {
        account: account(id),
        numbers: vec![number.parse().expect("a number")],
        channel: Channel::Sms(None),
        renewal: None,
    };
    let (by, reason) = (world.provisioner(), "the customer cannot wait".to_owned());
    let started = world.authority.start_control_over_limits(&by, new, reason);
    wait(started)
}

fn an_account_has_a_limit(kind: Kind) {
    let world = limited(kind, |limits| limits.per_account_hour = 3);
    world
        .asks("acme", &[NUMBER, "+12125551002"])
        .expect("two of three");
    world.seconds_pass(100);
    let two = ["+12125551003", "+12125551004"];
    let expected = two.map(|number| (number.to_owned(), ProofLimit::Account, 3_500));
    assert_eq!(refused(&world, "acme", &two), expected);
    world.asks("acme", &two[..1]).expect("the third");
    assert_eq!(refused(&world, "acme", &two[1..])[0].2, 3_500);
    world
        .asks("other", &["+12125551500"])
        .expect("another account");
    // More than the limit at once is never possible.
    let four = [
        "+12125551005",
        "+12125551006",
        "+12125551007",
        "+12125551008",
    ];
    assert_eq!(refused(&world, "acme", &four)[0].2, 3_600);
    world.seconds_pass(3_500);
    world.asks("acme", &two[1..]).expect("an hour later");
}

fn a_gateway_has_a_limit(kind: Kind) {
    let world = limited(kind, |limits| limits.per_gateway_hour = 2);
    world.asks("acme", &[NUMBER]).expect("one");
    world.asks("other", &["+12125551500"]).expect("two");
    let third = refused(&world, "acme", &["+12125551002"]);
    assert_eq!(third[0].2, 3_600);
    let caller = world.caller(Role::Account, &["acme"]);
    let by_voice = world.asks_as(&caller, "acme", &["+12125551002"], Channel::Voice(None));
    by_voice.expect("another gateway");
}

fn replicas_share_the_limits(kind: Kind) {
    let world = limited(kind, |_| {});
    let setup = || Setup {
        signs: false,
        control: ControlSettings {
            ..control_settings()
        },
        ..Setup::default()
    };
    let replicas = [(); 3].map(|()| World::over(std::sync::Arc::clone(&world.db), setup()));
    for replica in &replicas {
        replica.proves("acme", NUMBER);
    }
    for replica in &replicas {
        assert_eq!(refused(replica, "acme", &[NUMBER])[0].1, ProofLimit::Number);
    }
}

/// As many accounts as they like: each has limits of its own, and all of them together have one.
fn a_reseller_s_customers_cannot_use_up_a_gateway_together(kind: Kind) {
    let world = limited(kind, |limits| limits.per_gateway_hour = 10);
    world.knows("reseller");
    // It only begins with the same letters.
    world.lends("resellers", "+12125551990");
    let mut wide = world.loan("reseller", "+12125551900+80");
    wide.lend_on = true;
    let wide = world.delegates(wide).expect("a delegation");
    let mut asked = 0;
    for n in 0..10 {
        let (id, number) = (format!("bot{n}"), format!("+1212555190{n}"));
        lends_to_new(&world, &id, &number, &wide);
        if asked < 5 {
            world.asks(&id, &[&number]).expect("a proof");
            asked += 1;
        } else {
            let causes = refused(&world, &id, &[&number]);
            let customer = ProofLimit::Customer(Method::Sms);
            assert_eq!(causes, [(number, customer, 3_600)]);
        }
    }
    // Nor by the reseller's own numbers. Others are not concerned.
    assert_eq!(refused(&world, "reseller", &["+12125551950"])[0].2, 3_600);
    world.asks("acme", &[NUMBER]).expect("another customer");
    world.asks("resellers", &["+12125551990"]).expect("another");
    world.seconds_pass(3_600);
    world
        .asks("bot9", &["+12125551909"])
        .expect("an hour later");
}

fn callers_leave_something_of_a_gateway_to_the_carrier(kind: Kind) {
    let world = limited(kind, |limits| limits.per_gateway_hour = 10);
    let numbers: Vec<String> = (0..5).map(|n| format!("+1212555100{n}")).collect();
    let five: Vec<&str> = numbers.iter().map(String::as_str).collect();
    world.asks("acme", &five).expect("half");
    world
        .asks("other", &["+12125551500", "+12125551501", "+12125551502"])
        .expect("three");
    let causes = refused(&world, "other", &["+12125551503"]);
    assert_eq!(causes[0].1, ProofLimit::Gateway(Method::Sms));
    let over_limits = |number: &str| over_limits(&world, "other", number);
    over_limits("+12125551503").expect("the ninth");
    over_limits("+12125551504").expect("the tenth");
    let refused = over_limits("+12125551505").map_err(|error| error.code());
    assert_eq!(refused.err(), Some("too-many-proofs"));
}
