//! Targets that say when they want to be sent to again.

use std::sync::Arc;

use tn_authority::domain::webhook::DeliveryState;

use super::house::{ports, round, subscribes};
use super::target::Target;
use crate::support::{Db, Kind, Setup, World};

both! {
    an_overloaded_target_is_left_alone_for_as_long_as_it_asks,
    the_next_message_waits_for_an_overloaded_target_too,
}

/// Two replicas of a carrier that lends numbers to acme.
fn replicas(kind: Kind) -> [World; 2] {
    let db = Arc::new(Db::from(kind));
    let worlds = [(); 2].map(|()| World::over(Arc::clone(&db), Setup::default()));
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.10XX");
    worlds
}

fn an_overloaded_target_is_left_alone_for_as_long_as_it_asks(kind: Kind) {
    let worlds = replicas(kind);
    let target = Target::answering(|n| {
        let asks = |value: &str| format!("retry-after: {value}\r\n");
        Some(match n {
            0 => (503, asks("120")),
            // The clock of the scenario starts at midnight, and two minutes have passed.
            1 => (429, asks("Thu, 01 Jan 2026 00:12:00 GMT")),
            2 => (503, asks("1")),
            3 => (500, asks("soon")),
            4 => (302, asks("99999999999999999999")),
            _ => (204, String::new()),
        })
    });
    let sender = target.sender();
    subscribes(&worlds[0], &worlds[0].provisioner(), &target.url()).expect("a webhook");
    ports(&worlds[0], "+12125551001");
    let pass = |seconds: i64| worlds.iter().for_each(|world| world.seconds_pass(seconds));
    // The own waits are 10, 20, 40, 80 and 160 seconds.
    for (n, wait) in [120, 600, 40, 80, 86_400].into_iter().enumerate() {
        // Each attempt is made by the other replica.
        let (one, other) = (&worlds[n % 2], &worlds[(n + 1) % 2]);
        let done = round(one, &sender).pop().expect("a delivery");
        assert_eq!(done.state, DeliveryState::Pending);
        pass(wait - 1);
        assert_eq!(round(other, &sender).len(), 0, "attempt {n}");
        assert_eq!(target.received().len(), n + 1);
        pass(1);
    }
    let done = round(&worlds[1], &sender).pop().expect("a delivery");
    assert_eq!((done.state, done.attempts), (DeliveryState::Delivered, 6));
}

fn the_next_message_waits_for_an_overloaded_target_too(kind: Kind) {
    let [world, _] = replicas(kind);
    let target = Target::answering(|_| Some((503, "retry-after: 3600\r\n".to_owned())));
    let sender = target.sender();
    subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    while round(&world, &sender).pop().expect("a delivery").state != DeliveryState::Dead {
        world.seconds_pass(4 * 3_600);
    }
    ports(&world, "+12125551002");
    world.seconds_pass(3_599);
    assert_eq!(round(&world, &sender).len(), 0);
    world.seconds_pass(1);
    assert_eq!(round(&world, &sender).len(), 1);
}
