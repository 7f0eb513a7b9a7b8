//! The file of the CAs that targets are verified against is replaced while the service runs.

use tn_authority::domain::webhook::DeliveryState;

use super::house::{carrier, ports, round, subscribes};
use super::target::Target;
use crate::support::Kind;

both!(the_cas_of_targets_are_replaced_and_faulty_ones_change_nothing);

fn the_cas_of_targets_are_replaced_and_faulty_ones_change_nothing(kind: Kind) {
    let (world, target, other) = (carrier(kind), Target::taking(), Target::taking());
    let sender = target.sender();
    subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    let file = sender.ca_file().expect("a file");
    assert!(!file.has_changed());
    std::fs::write(&target.ca_file, "no certificate").expect("a file");
    assert!(file.has_changed());
    let faulty = sender.read_ca_file_again().expect_err("no CA").to_string();
    assert!(faulty.contains("webhooks.ca_file"), "{faulty}");
    ports(&world, "+12125551001");
    assert_eq!(round(&world, &sender)[0].state, DeliveryState::Delivered);

    std::fs::copy(&other.ca_file, &target.ca_file).expect("a file");
    sender.read_ca_file_again().expect("CAs");
    ports(&world, "+12125551002");
    assert_ne!(round(&world, &sender)[0].state, DeliveryState::Delivered);
    assert_eq!(target.received().len(), 1);
}
