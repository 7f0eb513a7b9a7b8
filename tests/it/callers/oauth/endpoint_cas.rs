//! The file of the CAs that an issuer's endpoint is verified against is replaced while the service runs.

use tn_authority::domain::credentials::jws_algorithm::Algorithm;

use super::endpoint::{Behaviour, Endpoint};
use super::{Key, claims, from_endpoint, get, key_set, settings};
use crate::support::service::Api;
use crate::support::{Kind, World};

both!(the_cas_of_an_endpoint_are_replaced_and_faulty_ones_change_nothing);

fn the_cas_of_an_endpoint_are_replaced_and_faulty_ones_change_nothing(kind: Kind) {
    let key = Key::new("k1", Algorithm::Es256);
    let world = World::from(kind);
    let endpoint = Endpoint::of(&world, Behaviour::Publish(key_set(&[&key])));
    let api = Api::trusting(world, |world| {
        from_endpoint(world, settings(), &endpoint.url)
    });
    let issuer = &api.service.callers.trust().issuers[0];
    let file = issuer.ca_file().expect("a file");
    let right = std::fs::read_to_string(file.path()).expect("a CA");
    let token = || key.token(&claims(&api.world));
    get(&api, &token()).with(200);
    assert!(!file.has_changed());

    // The keys have to be fetched again, and can be.
    std::fs::write(file.path(), "no certificate").expect("a file");
    assert!(file.has_changed());
    let faulty = issuer.read_ca_file_again().expect_err("no CA").to_string();
    assert!(
        faulty.contains("issuer-ca.pem") && faulty.contains("no certificate"),
        "{faulty}"
    );
    let before = endpoint.requests();
    api.world.seconds_pass(40_000);
    get(&api, &token()).with(200);
    assert_eq!(endpoint.requests(), before + 1);

    // Those of another CA are in force at once, and the endpoint is not believed any more.
    let other = World::from(kind);
    std::fs::write(file.path(), other.ca.certificate_pem().expect("a CA")).expect("a file");
    issuer.read_ca_file_again().expect("CAs");
    assert!(issuer.check().is_err());
    std::fs::write(file.path(), right).expect("a file");
    issuer.read_ca_file_again().expect("CAs");
    assert_eq!(issuer.check().expect("keys").0, 1);
}
