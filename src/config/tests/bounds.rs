//! Values out of bounds, and keys that exclude or need each other.

use std::path::Path;

use super::{are_wrong, from_environment, message};
use crate::config::{Config, Proxy, Server};

#[test]
fn a_wrong_value_is_an_error_that_names_its_key() {
    are_wrong(&[
        (
            "SERVER__PUBLIC_URL",
            "http://localhost",
            "`server.public_url` must start with `https://`",
        ),
        (
            "SERVER__PUBLIC_URL",
            "https://localhost/",
            "`server.public_url` must not end with `/`",
        ),
        (
            "SERVER__PUBLIC_URL",
            "https://",
            "`server.public_url` must not end with `/`",
        ),
        (
            "SERVER__PUBLIC_URL",
            "https://:443",
            "`server.public_url` has no host",
        ),
        (
            "SERVER__PUBLIC_URL",
            "https://u@h",
            "`server.public_url` must be `https://host`",
        ),
        (
            "SERVER__LISTEN",
            "0.0.0.0:8443",
            "`server.listen` is `0.0.0.0:8443`, where plain HTTP",
        ),
        ("SERVER__LISTEN", "localhost", "server.listen"),
        (
            "SERVER__WORKERS",
            "100000",
            "`server.workers` is 100000, more than 512",
        ),
        (
            "SERVER__MAX_CONNECTIONS_PER_ADDRESS",
            "10001",
            "`server.max_connections_per_address` is 10001, more than `server.max_connections`, which is 10000",
        ),
        (
            "SERVER__WRITE_TIMEOUT",
            "0",
            "`server.write_timeout` must be at least 1",
        ),
        ("WRITER__QUEUE", "18446744073709551615", "writer.queue"),
        (
            "DATABASE__POOL_SIZE",
            "4294967295",
            "`database.pool_size` is 4294967295, more than 1000",
        ),
        (
            "AGING__DAYS__RESIDENTIAL",
            "44",
            "`aging.days` has 44 days for `residential`",
        ),
        (
            "SERVER__TLS_KEY",
            "key.pem",
            "`server.tls_certificate` and `server.tls_key` go together",
        ),
        (
            "SERVER__WORKERS",
            "0",
            "`server.workers` must be at least 1",
        ),
        (
            "DATABASE__POOL_SIZE",
            "0",
            "`database.pool_size` must be at least 1",
        ),
        ("DATABASE__POOL_SIZE", "-1", "database.pool_size"),
        ("WRITER__BATCH", "0", "`writer.batch` must be at least 1"),
        (
            "TOKENS__MIN_LIFETIME",
            "3601",
            "`tokens.min_lifetime` is 3601 seconds, more than",
        ),
        (
            "SIGNER__KEY_FILE",
            "key.pem",
            "`signer.key_file` and `signer.chain_file` go together",
        ),
        (
            "CARRIER__SPCS",
            "1234,,583J",
            "a service provider code is not empty",
        ),
        (
            "CARRIER__SPCS__X",
            "1",
            "expected a list, or comma-separated text",
        ),
        ("CARRIER__ACCOUNT", "a/b", "carrier.account"),
        ("LOG__FORMAT", "xml", "log.format"),
    ]);
    assert!(Config::load(Some(Path::new("/nowhere/config.toml"))).is_err());
}

#[test]
fn a_limit_out_of_bounds_is_an_error() {
    are_wrong(&[
        (
            "WRITER__MAX_WAIT_MS",
            "60001",
            "`writer.max_wait_ms` is 60001, more than 60000",
        ),
        (
            "SERVER__MAX_CONNECTIONS",
            "0",
            "`server.max_connections` must be at least 1",
        ),
        (
            "SERVER__MAX_REQUESTS",
            "1000001",
            "`server.max_requests` is 1000001, more than",
        ),
        (
            "LIMITS__CALLER_RATE",
            "1000001",
            "`limits.caller_rate` is 1000001, more than",
        ),
        ("LIMITS__ACCOUNT_RATE", "-1", "limits.account_rate"),
        (
            "LIMITS__UNPROVEN_BURST",
            "0",
            "`limits.unproven_burst` is 0; with a rate it must be 1 to 1000000",
        ),
    ]);
    // Without a rate there is no bucket, so its size does not matter.
    let off = [
        ("TN_AUTHORITY__LIMITS__UNPROVEN_RATE", "0"),
        ("TN_AUTHORITY__LIMITS__UNPROVEN_BURST", "0"),
    ];
    assert!(from_environment(&off).is_ok());
}

#[test]
fn a_key_outlives_the_lease_of_its_request() {
    are_wrong(&[
        (
            "IDEMPOTENCY__KEEP",
            "2592001",
            "`idempotency.keep` is 2592001, more than 2592000",
        ),
        (
            "IDEMPOTENCY__KEEP",
            "9",
            "`idempotency.keep` is 9 seconds, less than `idempotency.lease`, which is 10",
        ),
        (
            "IDEMPOTENCY__LEASE",
            "0",
            "`idempotency.lease` must be at least 1",
        ),
        (
            "IDEMPOTENCY__LEASE",
            "601",
            "`idempotency.lease` is 601, more than 600",
        ),
    ]);
}

#[test]
fn a_facade_that_no_client_could_use_is_an_error() {
    are_wrong(&[
        (
            "FACADE__ENABLED",
            "true",
            "`facade.crl_url` is missing; clients",
        ),
        (
            "FACADE__CRL_URL",
            "ftp://crl.example/x",
            "`facade.crl_url` must be an absolute http or https URL",
        ),
        (
            "FACADE__CRL_URL",
            "https://crl.example/a b",
            "`facade.crl_url` must be an absolute http or https URL",
        ),
        (
            "FACADE__ACCESS_LIFETIME",
            "86401",
            "`facade.access_lifetime` must be 1 to 86400",
        ),
    ]);
    let on = [
        ("TN_AUTHORITY__FACADE__ENABLED", "true"),
        (
            "TN_AUTHORITY__FACADE__CRL_URL",
            "http://crl.example/spc.crl",
        ),
    ];
    assert!(from_environment(&on).expect("a facade").facade.enabled);
}

#[test]
fn keys_that_do_not_go_together_are_errors() {
    are_wrong(&[
        (
            "TOKENS__MAX_LIFETIME",
            "3599",
            "`tokens.max_lifetime` is 3599 seconds, less than",
        ),
        (
            "TOKENS__MAX_HORIZON",
            "299",
            "is less than `tokens.min_lifetime`",
        ),
        (
            "SIGNER__KEY_URI",
            "pkcs11:",
            "`signer.key_file` and `signer.chain_file` go together",
        ),
        (
            "SIGNER__POLL_INTERVAL",
            "0",
            "`signer.poll_interval` must be at least 1",
        ),
        (
            "SIGNER__PUBLICATION_DELAY",
            "29",
            "three times `signer.poll_interval`, which is 30 seconds",
        ),
        (
            "SIGNER__PKCS11__QUEUE",
            "0",
            "`signer.pkcs11.queue` must be at least 1",
        ),
    ]);
    for (one, other) in [
        ("KEY_FILE", "KEY_URI"),
        ("PASSPHRASE", "PASSPHRASE_FILE"),
        ("PKCS11__PIN", "PKCS11__PIN_FILE"),
    ] {
        let name = |key| format!("TN_AUTHORITY__SIGNER__{key}");
        let (one, other) = (name(one), name(other));
        let both = [
            (one.as_str(), "x"),
            (&other, "x"),
            ("TN_AUTHORITY__SIGNER__DIR", "x"),
        ];
        assert!(
            message(from_environment(&both)).contains("exclude each other"),
            "{one}"
        );
    }
}

#[test]
fn the_share_of_an_address_leaves_room_for_others() {
    let server = |max, share, behind_proxy| Server {
        max_connections: max,
        max_connections_per_address: share,
        behind_proxy,
        ..Server::default()
    };
    let named = Proxy {
        addresses: vec!["192.0.2.80".parse().expect("an address")],
        ..Proxy::default()
    };
    let none = Proxy::default();
    for (server, proxy, expected) in [
        (server(10_000, None, false), &none, Some(1_000)),
        (server(1_000, None, false), &none, Some(250)),
        (server(2, None, false), &none, Some(1)),
        (server(100, Some(100), false), &none, Some(100)),
        (server(100, Some(0), false), &none, None),
        (server(100, None, true), &none, None),
        (server(100, None, true), &named, Some(25)),
        (server(100, Some(50), true), &none, Some(50)),
    ] {
        let share = server.share_of_an_address(server.max_connections, proxy);
        assert_eq!(share, expected, "{server:?}");
    }
}
