//! Certificates that a proxy hands on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tn_authority::callers::{Proxies, Trust};
use tn_authority::domain::network::trusted_proxy::CertificateEncoding;
use tn_authority::signer::development::DevelopmentCa;

use super::READ;
use super::client::{Wanted, acme, trust, wanted};
use super::tls::refused;
use crate::support::World;
use crate::support::service::{Api, asking};

both!(
    a_named_proxy_hands_certificates_on,
    nobody_else_hands_certificates_on,
    nginx_writes_another_encoding,
);

pub fn named_proxies() -> Proxies {
    Proxies {
        addresses: vec!["127.0.0.0/8".parse().expect("a network")],
        certificate_header: Some("client-cert".to_owned()),
        ..Proxies::default()
    }
}

fn a_named_proxy_hands_certificates_on(world: World) {
    let api = Api::trusting(world, |world| Trust {
        proxies: named_proxies(),
        ..trust(world)
    });
    let world = &api.world;
    let asked = asking(&["one:12125551001"]).to_string();
    let mint = |head: &str| {
        let head = format!("content-type: application/json\r\n{head}");
        api.send("POST", "/at/account/acme/token", &head, asked.as_bytes())
    };
    let client = acme(world);
    let header = format!("Client-Cert: {}\r\n", client.header());
    for _ in 0..2 {
        mint(&header).with(200);
    }
    let bearer = format!("authorization: Bearer {}\r\n", api.acme);
    refused(&api, "two-proofs", || mint(&format!("{header}{bearer}")));
    mint(&bearer).with(200);
    mint("client-cert: \r\n").problem(401, "unauthorized");
    refused(&api, "header-twice", || mint(&format!("{header}{header}")));
    let der = client.certificate.to_der().expect("DER");
    let base64 = STANDARD.encode(&der);
    for wrong in [
        base64.clone(),
        format!(":{base64}"),
        ":!:".to_owned(),
        format!(":{base64}:, :{base64}:"),
        format!(":{base64}:;x=1"),
        "none".to_owned(),
        "\u{e9}".to_owned(),
        format!(":{}:", "A".repeat(40_000)),
    ] {
        refused(&api, "header-malformed", || {
            mint(&format!("client-cert: {wrong}\r\n"))
        });
    }
    for wrong in [&der[..der.len() - 1], &[&der[..], b"\0"].concat(), b"\0"] {
        let head = format!("client-cert: :{}:\r\n", STANDARD.encode(wrong));
        refused(&api, "unreadable", || mint(&head));
    }
    // A proxy is believed that it saw the certificate, and not that it is any good.
    let good = wanted(world);
    let other = DevelopmentCa::new("Development CA", good.validity.clone()).expect("a CA");
    let day = |n: i64| world.in_seconds(86_400 * n);
    for (reason, client) in [
        ("path", good.of(&other)),
        ("path", good.self_signed()),
        (
            "path",
            Wanted {
                validity: day(-20)..=day(-10),
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "path",
            Wanted {
                validity: day(1)..=day(10),
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "path",
            Wanted {
                client_auth: false,
                server_auth: true,
                ..wanted(world)
            }
            .of(&world.ca),
        ),
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
                dns: &[],
                ..wanted(world)
            }
            .of(&world.ca),
        ),
    ] {
        let head = format!("client-cert: {}\r\n", client.header());
        refused(&api, reason, || mint(&head));
        // A wrong one is not forgiven for an Authorization field beside it.
        if reason != "unmapped" {
            refused(&api, reason, || mint(&format!("{head}{bearer}")));
        }
    }
}

fn nobody_else_hands_certificates_on(world: World) {
    let mut proxies = named_proxies();
    proxies.addresses = vec!["192.0.2.0/24".parse().expect("a network")];
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let header = format!("client-cert: {}\r\n", acme(&api.world).header());
    let ask = |head: &str| api.send("GET", READ, head, b"");
    refused(&api, "unnamed-peer", || ask(&header));
    let bearer = format!("authorization: Bearer {}\r\n", api.admin);
    refused(&api, "unnamed-peer", || ask(&format!("{header}{bearer}")));
    let claimed = "x-forwarded-for: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n";
    refused(&api, "unnamed-peer", || ask(&format!("{claimed}{header}")));
    ask(&bearer).with(200);
}

fn nginx_writes_another_encoding(world: World) {
    let proxies = Proxies {
        certificate_header: Some("x-ssl-client-cert".to_owned()),
        certificate_encoding: CertificateEncoding::EscapedPem,
        ..named_proxies()
    };
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let client = acme(&api.world);
    let pem = client.certificate.to_pem().expect("PEM");
    let escaped: String = pem
        .iter()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(*b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let mint = |value: &str| {
        let asked = json!(asking(&["one:12125551001"])).to_string();
        let head = format!("content-type: application/json\r\nx-ssl-client-cert: {value}\r\n");
        api.send("POST", "/at/account/acme/token", &head, asked.as_bytes())
    };
    mint(&escaped).with(200);
    for wrong in [client.header(), format!("{escaped}%"), "%00".to_owned()] {
        refused(&api, "header-malformed", || mint(&wrong));
    }
}
