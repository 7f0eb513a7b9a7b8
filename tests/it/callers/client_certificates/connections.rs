//! Certificates of the connection.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tn_authority::signer::development::DevelopmentCa;

use super::READ;
use super::client::{Client, Wanted, acme, trust, wanted};
use super::tls::{Tls, refused};
use crate::support::service::{Answer, Api, asking};
use crate::support::{World, write_private};

both!(
    a_certificate_of_the_connection_proves_its_caller,
    certificates_that_prove_nobody,
    a_connection_does_not_outlive_its_certificate,
    a_session_is_never_resumed,
    without_a_certificate_a_required_one_ends_the_handshake,
);

fn trusting_certificates(world: World) -> Api {
    Api::trusting(world, trust)
}

fn a_certificate_of_the_connection_proves_its_caller(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let client = acme(&api.world);
    let asked = asking(&["one:12125551001"]).to_string();
    let mint = |client: Option<&Client>, account: &str, head: &str| {
        let path = format!("/at/account/{account}/token");
        tls.post(client, &path, head, &asked).expect("an answer")
    };
    mint(Some(&client), "acme", "").with(200);
    let trail = api.world.trail("acme");
    assert!(trail.iter().any(|event| event.caller == "certificate:acme"));
    mint(Some(&client), "other", "").problem(403, "forbidden");
    // Without one, nothing has changed.
    let nobody = mint(None, "acme", "");
    nobody.problem(401, "unauthorized");
    assert!(nobody.header("www-authenticate").is_some());
    let bearer = format!("authorization: Bearer {}\r\n", api.acme);
    mint(None, "acme", &bearer).with(200);
    // Two proofs prove nothing, be they of one caller; a certificate that names nobody is none.
    refused(&api, "two-proofs", || mint(Some(&client), "acme", &bearer));
    let stranger = Wanted {
        dns: &[],
        common_name: "stranger",
        ..wanted(&api.world)
    }
    .of(&api.world.ca);
    mint(Some(&stranger), "acme", &bearer).with(200);
    tls.refused(&stranger, "", &api, "unmapped");

    let people = Wanted {
        dns: &[],
        common_name: "people",
        ..wanted(&api.world)
    }
    .of(&api.world.ca);
    tls.get(Some(&people), READ, "")
        .expect("an answer")
        .with(200);
    let reader = Wanted {
        dns: &[],
        uri: Some("spiffe://carrier/reader"),
        ..wanted(&api.world)
    };
    let reader = reader.of(&api.world.ca);
    tls.get(Some(&reader), READ, "")
        .expect("an answer")
        .with(200);
    // Through a CA below the one that is trusted, which the client sends along.
    let validity = wanted(&api.world).validity;
    let below = api
        .world
        .ca
        .intermediate("Clients", validity)
        .expect("a CA");
    let lower = wanted(&api.world).of(&below);
    assert_eq!(lower.chain.len(), 1);
    mint(Some(&lower), "acme", "").with(200);
}

fn certificates_that_prove_nobody(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let good = wanted(&api.world);
    let other = DevelopmentCa::new("Development CA", good.validity.clone()).expect("a CA");
    let day = |n: i64| api.world.in_seconds(86_400 * n);
    // OpenSSL ends these handshakes, by its own clock.
    for (what, client) in [
        ("of another CA of the same name", good.of(&other)),
        ("self-signed", good.self_signed()),
        (
            "expired",
            Wanted {
                validity: day(-20)..=day(-10),
                ..wanted(&api.world)
            }
            .of(&api.world.ca),
        ),
        (
            "of the future",
            Wanted {
                validity: day(3_000)..=day(3_100),
                ..wanted(&api.world)
            }
            .of(&api.world.ca),
        ),
        (
            "of a server",
            Wanted {
                client_auth: false,
                server_auth: true,
                ..wanted(&api.world)
            }
            .of(&api.world.ca),
        ),
    ] {
        let answer = tls.get(Some(&client), READ, "");
        assert!(answer.is_none(), "{what}: {answer:?}");
        let answer = tls.get(Some(&client), "/healthz", "");
        assert!(answer.is_none(), "{what}: {answer:?}");
    }
    // These get through the handshake.
    let world = &api.world;
    for (reason, client) in [
        (
            "usage",
            Wanted {
                client_auth: false,
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &["acme.example.org"],
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &["*.example"],
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &[],
                common_name: "acme.example",
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &[],
                common_name: "people,O=Carrier",
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &[],
                uri: Some("spiffe://carrier/reader/"),
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "ambiguous",
            Wanted {
                common_name: "people",
                ..wanted(world)
            }
            .of(&world.ca),
        ),
    ] {
        tls.refused(&client, "", &api, reason);
    }
}

fn a_connection_does_not_outlive_its_certificate(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let client = acme(&api.world);
    let mut stream = tls.connect(Some(&client)).expect("a connection");
    let get = format!("GET {READ} HTTP/1.1\r\n");
    let mut ask = || Tls::ask(&mut stream, &get, "").expect("an answer");
    // May not read, so the one answer that tells a proven caller from others is the metric.
    let path = || {
        api.world
            .count("unproven_total{proof=\"certificate\",reason=\"path\"}")
    };
    let other = |answer: Answer| assert_ne!(answer.status, 401);
    other(ask());
    assert_eq!(path(), 0);
    // To OpenSSL a certificate's last second is the first one too late.
    let last = 86_400 * 3650 - 3601;
    api.world.seconds_pass(last);
    other(ask());
    assert_eq!(path(), 0);
    api.world.seconds_pass(1);
    refused(&api, "path", &mut ask);
    api.world.seconds_pass(-last - 3602);
    refused(&api, "path", &mut ask);
    api.world.seconds_pass(1);
    other(ask());
    assert_eq!(path(), 2);
}

fn a_session_is_never_resumed(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let client = acme(&api.world);
    let dir = api.world.dir.path();
    let pem = client.certificate.to_pem().expect("PEM");
    std::fs::write(dir.join("client.pem"), pem).expect("a file");
    let key = client.key.private_key_to_pem_pkcs8().expect("PEM");
    write_private(
        &dir.join("client.key"),
        &String::from_utf8(key).expect("PEM"),
    );
    let s_client = |more: &[&str]| {
        let mut openssl = Command::new("openssl");
        let started = openssl
            .args([
                "s_client",
                "-connect",
                &tls.address.to_string(),
                "-servername",
                "localhost",
            ])
            .args(["-cert", "client.pem", "-key", "client.key", "-CAfile"])
            .arg(&tls.root_file)
            .args(["-ign_eof"])
            .args(more)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut running = started.expect("openssl");
        let request =
            format!("GET {READ} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut input = running.stdin.take().expect("input");
        let _ = input.write_all(request.as_bytes());
        drop(input);
        let output = running.wait_with_output().expect("openssl").stdout;
        String::from_utf8_lossy(&output).into_owned()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let first = s_client(&[version, "-sess_out", "session.pem"]);
        assert!(first.contains("New, TLSv1."), "{first}");
        assert!(first.contains("HTTP/1.1 "), "{first}");
        let mut again = vec![version];
        // There may be nothing to come back with, which is right too.
        if dir.join("session.pem").exists() {
            again.extend(["-sess_in", "session.pem"]);
        }
        let second = s_client(&again);
        assert!(
            second.contains("New, TLSv1.") && !second.contains("Reused"),
            "{second}"
        );
        assert!(second.contains("HTTP/1.1 "), "{second}");
        let _ = std::fs::remove_file(dir.join("session.pem"));
    }
    assert_eq!(
        api.world
            .count("unproven_total{proof=\"none\",reason=\"missing\"}"),
        0
    );
}

fn without_a_certificate_a_required_one_ends_the_handshake(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, true);
    assert!(tls.get(None, "/healthz", "").is_none());
    let client = acme(&api.world);
    let answer = tls.get(Some(&client), "/healthz", "").expect("an answer");
    assert_eq!(answer.status, 200);
}
