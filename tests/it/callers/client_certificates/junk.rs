//! Junk in the field of a trusted proxy, in every encoding: refused, or no certificate, and never an error of the service.

use tn_authority::domain::network::trusted_proxy::CertificateEncoding;

use super::client::acme;
use super::encodings::{Scene, base64, escaped, pem, scene};
use super::tls::refused;
use crate::support::World;

both!(
    rfc_9440_takes_no_junk,
    base64_takes_no_junk,
    pem_takes_no_junk,
    xfcc_takes_no_junk,
);

fn rfc_9440_takes_no_junk(world: World) {
    let scene = scene(world, "client-cert", CertificateEncoding::Rfc9440);
    let good = acme(&scene.api.world).header();
    takes_no_junk(&scene, "client-cert", &good);
}

fn base64_takes_no_junk(world: World) {
    let name = "x-forwarded-tls-client-cert";
    let scene = scene(world, name, CertificateEncoding::Base64Der);
    let good = base64(&acme(&scene.api.world).certificate);
    takes_no_junk(&scene, name, &good);
}

fn pem_takes_no_junk(world: World) {
    let name = "x-amzn-mtls-clientcert";
    let scene = scene(world, name, CertificateEncoding::EscapedPem);
    let good = escaped(&pem(&acme(&scene.api.world).certificate), b"-");
    takes_no_junk(&scene, name, &good);
}

fn xfcc_takes_no_junk(world: World) {
    let name = "x-forwarded-client-cert";
    let scene = scene(world, name, CertificateEncoding::Xfcc);
    let pem = escaped(&pem(&acme(&scene.api.world).certificate), b"-");
    takes_no_junk(&scene, name, &format!("Cert=\"{pem}\""));
}

fn takes_no_junk(scene: &Scene, name: &str, good: &str) {
    let field = |value: &str| format!("{name}: {value}\r\n");
    scene.mint(&field(good)).with(200);
    let (front, back) = good.split_at(good.len() / 2);
    for junk in [
        // Faults of percent-encoding, of base64 and of texts.
        format!("{good}%"),
        format!("{good}%4"),
        format!("{good}%zz"),
        format!("{front}%zz{back}"),
        format!("{front}%00{back}"),
        format!("{front}\u{e9}{back}"),
        good.replace('%', "%25") + "%",
        "\"".repeat(1_000),
        ",".repeat(30_000),
        ";=".repeat(10_000),
        "%2C".repeat(10_000),
        "=".repeat(40_000),
        good.repeat(40_000 / good.len() + 1),
    ] {
        refused(&scene.api, "header-malformed", || scene.mint(&field(&junk)));
    }
    // Half of it can be an encoding of something, and is no certificate.
    for half in [front, back] {
        scene.mint(&field(half)).problem(403, "forbidden");
    }
    // Twice is ambiguous, in whichever case, and with an empty one too.
    let upper = name.to_ascii_uppercase();
    for twice in [
        format!("{}{upper}: {good}\r\n", field(good)),
        format!("{}{upper}:\r\n", field(good)),
        format!("{}{}", field("-"), field(good)),
    ] {
        refused(&scene.api, "header-twice", || scene.mint(&twice));
    }
    // A head of a megabyte is refused by the listener, which goes on.
    let long = scene.mint(&field(&"A".repeat(1 << 20)));
    assert!(matches!(long.status, 400 | 413 | 431), "{long:?}");
    scene.mint(&field(good)).with(200);
    is_known_by_its_name_alone(scene, name, good);
}

fn is_known_by_its_name_alone(scene: &Scene, name: &str, good: &str) {
    let mixed: String = name
        .char_indices()
        .map(|(at, c)| {
            if at % 2 == 0 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect();
    scene.mint(&format!("{mixed}: {good}\r\n")).with(200);
    scene.mint(&format!("{name}:   {good} \t\r\n")).with(200);
    // Servers that speak CGI confuse these two.
    let underscores = name.replace('-', "_");
    let answer = scene.mint(&format!("{underscores}: {good}\r\n"));
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    for other in [format!("x-{name}"), format!("{name}x")] {
        scene
            .mint(&format!("{other}: {good}\r\n"))
            .problem(401, "unauthorized");
    }
}
