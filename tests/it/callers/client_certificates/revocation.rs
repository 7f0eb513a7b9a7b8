//! Certificates that a CRL revokes.

use std::io::Write as _;
use std::process::Command;

use openssl::asn1::Asn1Time;
use openssl::pkey::PKey;
use openssl::x509::X509;
use tn_authority::callers::Trust;

use super::READ;
use super::client::{Client, trust};
use super::proxies::named_proxies;
use super::tls::refused;
use crate::support::World;
use crate::support::service::Api;

both!(a_revoked_certificate_proves_nobody,);

/// With the openssl command line, which keeps a CA's books.
/// With the openssl command line, which keeps a CA's books.
fn a_revoked_certificate_proves_nobody(world: World) {
    let dir = world.dir.path().to_owned();
    let openssl = |args: &[&str]| {
        let run = Command::new("openssl")
            .args(args)
            .current_dir(&dir)
            .output();
        let run = run.expect("openssl");
        assert!(
            run.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    };
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ncrlnumber=crlnumber\n\
                  new_certs_dir=.\nserial=serial\npolicy=p\ndefault_days=1\n[p]\ncommonName=supplied\n\
                  [req]\ndistinguished_name=n\nprompt=no\n[n]\nCN=Clients\n[v3]\nbasicConstraints=critical,CA:TRUE\n\
                  keyUsage=critical,keyCertSign,cRLSign\n[client]\nextendedKeyUsage=clientAuth\n\
                  subjectAltName=DNS:acme.example\n";
    std::fs::write(dir.join("ca.cnf"), config).expect("a file");
    for (name, text) in [("index.txt", ""), ("crlnumber", "01\n"), ("serial", "01\n")] {
        std::fs::write(dir.join(name), text).expect("a file");
    }
    let ec = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-config",
        "ca.cnf",
    ];
    let req = |more: &[&str]| openssl(&[&["req"][..], &ec, more].concat());
    req(&[
        "-x509",
        "-extensions",
        "v3",
        "-keyout",
        "ca.key",
        "-out",
        "root.pem",
        "-days",
        "3650",
    ]);
    let ca = [
        "-config", "ca.cnf", "-cert", "root.pem", "-keyfile", "ca.key",
    ];
    let run_ca = |more: &[&str]| openssl(&[&["ca"][..], &ca, more].concat());
    let client = |name: &str| {
        let file = |end: &str| format!("{name}.{end}");
        req(&[
            "-subj",
            "/CN=client",
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
        ]);
        let dates = [
            "-startdate",
            "20250101000000Z",
            "-enddate",
            "20350101000000Z",
        ];
        let (csr, pem) = (file("csr"), file("pem"));
        let signed = [
            "-batch",
            "-notext",
            "-extensions",
            "client",
            "-in",
            &csr,
            "-out",
            &pem,
        ];
        run_ca(&[&signed[..], &dates].concat());
        let read = |end: &str| std::fs::read(dir.join(file(end))).expect("a file");
        Client {
            key: PKey::private_key_from_pem(&read("key")).expect("a key"),
            certificate: X509::from_pem(&read("pem")).expect("a certificate"),
            chain: Vec::new(),
        }
    };
    std::fs::write(
        dir.join("ca.cnf"),
        format!("unique_subject=no\n{config}").replace("[d]\n", "[d]\nunique_subject=no\n"),
    )
    .expect("a file");
    let (good, bad) = (client("good"), client("bad"));
    // The world stands in January 2026, and the CRL is of whenever the test runs.
    run_ca(&["-gencrl", "-crldays", "3650", "-out", "clients.crl.pem"]);
    let crl = std::fs::read(dir.join("clients.crl.pem")).expect("a CRL");
    let crl = openssl::x509::X509Crl::from_pem(&crl).expect("a CRL");
    let epoch = Asn1Time::from_unix(0).expect("a time");
    let made = epoch.diff(crl.last_update()).expect("a time");
    let made = i64::from(made.days) * 86_400 + i64::from(made.secs);
    world.seconds_pass(made - world.now().timestamp() + 60);

    let proxies = named_proxies();
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let ask = |client: &Client| {
        let head = format!("client-cert: {}\r\n", client.header());
        api.send("GET", READ, &head, b"")
    };
    let path = || {
        api.world
            .count("unproven_total{proof=\"certificate\",reason=\"path\"}")
    };
    ask(&good);
    ask(&bad);
    assert_eq!(path(), 0);
    run_ca(&["-revoke", "bad.pem"]);
    run_ca(&["-gencrl", "-crldays", "3650", "-out", "clients.crl.pem"]);
    // Within the same second the file may look the same, so it is made to look another one.
    let file = std::fs::File::options()
        .append(true)
        .open(dir.join("clients.crl.pem"));
    file.and_then(|mut file| file.write_all(b"\n"))
        .expect("a file");
    api.world.seconds_pass(60);
    refused(&api, "path", || ask(&bad));
    ask(&good);
    assert_eq!(path(), 1);
    // Without a CRL that holds nobody can know.
    std::fs::remove_file(dir.join("clients.crl.pem")).expect("removed");
    refused(&api, "path", || ask(&good));
}
