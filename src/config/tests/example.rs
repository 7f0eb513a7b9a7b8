//! The example file shows every key and its default.

use config::{File, FileFormat};

use super::from_toml;
use crate::config::gateway_keys::GatewayWithName;
use crate::config::{Config, Issuer};
use crate::domain::control::proof::Method;

const EXAMPLE: &str = include_str!("../../../deploy/config.example.toml");

/// Parts of lines of keys that have a default.
const WITH_DEFAULTS: &[&str] = &[
    "require",
    "addresses",
    "certificate_encoding",
    "crl_grace",
    "x5c",
    "poll_interval",
    "publication_delay",
    "sessions",
    "timeout",
    "max_lifetime",
    "max_horizon",
    "listen = \"127.0.0.1:8443\"",
    "public_url",
    "tls_poll_interval",
    "behind_proxy",
    "max_body_bytes",
    "request_timeout",
    "write_timeout",
    "shutdown_timeout",
    "listen = \"127.0.0.1:9090\"",
    "url",
    "pool_size",
    "migrate",
    "connect_timeout",
    "tcp_user_timeout",
    "lock_timeout",
    "statement_timeout",
    "idle_in_transaction_timeout",
    "reconnect_wait",
    "long_statement_timeout",
    "prepared_statements",
    "queue",
    "batch",
    "default_lifetime",
    "min_lifetime",
    "keep",
    "lease",
    "digits",
    "valid",
    "tries",
    "sample",
    "per_number_hour",
    "per_number_day",
    "per_account_hour",
    "per_gateway_hour",
    "wrong_codes_per_account_day",
    "message",
    "format",
];

#[test]
fn the_example_shows_the_defaults() {
    assert_eq!(from_toml(EXAMPLE).expect("example"), Config::default());
}

/// Keys without a default are commented out in the example, with a plausible value.
#[test]
fn the_example_shows_every_key() {
    let config = uncommented();
    assert!(!config.carrier.spcs.is_empty() && config.carrier.account.is_some());
    assert!(!config.carrier.previous_spcs.is_empty());
    assert!(config.server.tls_certificate.is_some() && config.server.tls_key.is_some());
    assert!(config.server.tls_passphrase_file.is_some());
    assert!(config.server.workers.is_some());
    assert!(config.server.max_connections_per_address.is_some());
    assert!(config.signer.key_file.is_some() && config.signer.chain_file.is_some());
    assert!(config.policy.dir.is_some() && config.database.migrate_url.is_some());
    assert!(config.api_keys.secret.is_some() && config.api_keys.secret_file.is_some());
    assert!(config.api_keys.previous_secret_file.is_some());
    let signer = &config.signer;
    assert!(signer.dir.is_some() && signer.key_uri.is_some());
    assert!(signer.passphrase.is_some() && signer.passphrase_file.is_some());
    let pkcs11 = &signer.pkcs11;
    assert!(pkcs11.module.is_some() && pkcs11.pin.is_some() && pkcs11.pin_file.is_some());
    let issuer = config.oauth.issuers.get("corporate").expect("an issuer");
    let defaults = Issuer::default();
    assert_eq!(
        (issuer.leeway, issuer.max_lifetime),
        (defaults.leeway, defaults.max_lifetime)
    );
    assert_eq!(
        (issuer.max_age, issuer.max_stale),
        (defaults.max_age, defaults.max_stale)
    );
    assert_eq!(
        (&issuer.algorithms, &issuer.token_type),
        (&defaults.algorithms, &defaults.token_type)
    );
    assert_eq!(issuer.max_token_bytes, defaults.max_token_bytes);
    assert_eq!(issuer.audience_claim, defaults.audience_claim);
    assert_eq!(issuer.required_claims.len(), 1);
    assert_eq!(issuer.refetch_interval, defaults.refetch_interval);
    assert_eq!(issuer.fetch_timeout, defaults.fetch_timeout);
    assert!(
        issuer.jwks_file.is_some() && issuer.jwks_url.is_some() && issuer.jwks_ca_file.is_some()
    );
    assert!(issuer.role.is_some() && issuer.role_claim.is_some() && issuer.roles.len() == 2);
    assert!(!issuer.accounts.is_empty() && issuer.accounts_claim.is_some());
    let clients = &config.client_certificates;
    assert!(clients.ca_file.is_some() && clients.crl_file.is_some());
    let caller = clients.callers.get("provisioning").expect("a caller");
    assert!(caller.subject.is_some() && caller.dns.is_some() && caller.uri.is_some());
    assert!(caller.sha256.is_some() && caller.role.is_some() && !caller.accounts.is_empty());
    assert!(config.proxy.certificate_header.is_some() && config.proxy.address_header.is_some());
    assert!(config.proxy.certificate_chain_header.is_some());
    for key in WITH_DEFAULTS {
        assert!(
            EXAMPLE.lines().any(|line| line.starts_with(key)),
            "{key} is missing"
        );
    }
}

#[test]
fn the_example_shows_every_kind_of_gateway() {
    let config = uncommented();
    let gateway = |name: &str| config.control.gateways.get(name).expect(name);
    let (web, kannel, smsc) = (gateway("web"), gateway("kannel"), gateway("smsc"));
    assert_eq!(web.methods, [Method::Sms, Method::Voice]);
    assert!(web.http_method.is_some() && web.headers.len() == 2 && web.body.is_some());
    assert!(web.expected_status.is_some() && web.expected_text.is_some());
    assert!(web.secret_file.is_some() && web.ca_file.is_some() && !web.allow_plain);
    assert_eq!(
        (web.timeout, web.concurrency),
        (kannel.timeout, kannel.concurrency)
    );
    assert!(kannel.username.is_some() && kannel.from.is_some());
    assert!(smsc.system_type.is_some() && smsc.tls && gateway("proxy").from.is_some());
    for (name, gateway) in &config.control.gateways {
        let checked = GatewayWithName { name, gateway }.validate();
        assert!(checked.is_ok(), "{checked:?}");
    }
}

/// The example with everything that is commented out.
fn uncommented() -> Config {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let sources =
        config::Config::builder().add_source(File::from_str(&uncommented, FileFormat::Toml));
    sources
        .build()
        .and_then(config::Config::try_deserialize)
        .expect("example")
}

/// The issuers of the guide, each block as a configuration of its own.
#[test]
fn the_guide_shows_issuers_that_can_be_configured() {
    let guide = include_str!("../../../deploy/guide/callers.md");
    let blocks = guide.split("```toml\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("a block"));
    let issuers = blocks.filter(|block| block.contains("[oauth.issuers."));
    let shown = issuers.map(|block| {
        let config = from_toml(block).unwrap_or_else(|error| panic!("{block}: {error}"));
        config.oauth.issuers.len()
    });
    assert_eq!(shown.sum::<usize>(), 3);
}
