use std::io::Write as _;

use super::*;

mod proofs;

fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Config::load_with(None, Some(pairs.collect()))
}

fn from_toml(text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    Config::load_with(Some(file.path()), Some(HashMap::new()))
}

fn message(result: Result<Config, ConfigError>) -> String {
    result
        .expect_err("a wrong configuration was taken")
        .to_string()
}

#[test]
fn no_file_and_no_environment_are_the_defaults() {
    let config =
        from_environment(&[("PATH", "/bin"), ("TN_AUTHORITY_OTHER", "x")]).expect("defaults");
    assert_eq!(config, Config::default());
    assert_eq!(config.database.url.expose(), "sqlite:tn-authority.sqlite");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8443");
}

#[test]
fn the_environment_sets_every_kind_of_key() {
    let config = from_environment(&[
        ("TN_AUTHORITY__CARRIER__SPCS", "0123, 073H,12e4"),
        ("TN_AUTHORITY__CARRIER__ACCOUNT", "007"),
        ("TN_AUTHORITY__SERVER__LISTEN", "0.0.0.0:443"),
        ("TN_AUTHORITY__SERVER__BEHIND_PROXY", "true"),
        ("TN_AUTHORITY__SERVER__WORKERS", "4"),
        ("TN_AUTHORITY__SERVER__PUBLIC_URL", "https://at.example/ta"),
        ("TN_AUTHORITY__DATABASE__URL", "postgres://u@h/db"),
        ("TN_AUTHORITY__DATABASE__MIGRATE", "false"),
        ("TN_AUTHORITY__LOG__FORMAT", "json"),
        ("TN_AUTHORITY__POLICY__DIR", ""),
    ])
    .expect("environment");
    let spcs: Vec<&str> = config.carrier.spcs.iter().map(Spc::as_str).collect();
    assert_eq!(spcs, ["0123", "073H", "12e4"]);
    assert_eq!(
        config.carrier.account.map(|id| id.to_string()).as_deref(),
        Some("007")
    );
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:443");
    assert!(config.server.behind_proxy);
    assert_eq!(config.server.workers, Some(4));
    assert_eq!(config.database.url.expose(), "postgres://u@h/db");
    assert!(!config.database.migrate);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.policy.dir, None);
}

#[test]
fn the_environment_wins_over_the_file() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"[writer]\nqueue = 5\nbatch = 6\n[carrier]\nspcs = [\"1234\"]\n")
        .expect("written");
    let environment = HashMap::from([("TN_AUTHORITY__WRITER__QUEUE".to_owned(), "7".to_owned())]);
    let config = Config::load_with(Some(file.path()), Some(environment)).expect("both");
    assert_eq!((config.writer.queue, config.writer.batch), (7, 6));
    assert_eq!(config.carrier.spcs.len(), 1);
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    for (text, key) in [
        ("[server]\nlisten_on = \"x\"\n", "listen_on"),
        ("[servers]\nlisten = \"x\"\n", "servers"),
        ("spcs = []\n", "spcs"),
    ] {
        let message = message(from_toml(text));
        assert!(message.contains(key), "{message}");
    }
    for (variable, key) in [
        ("TN_AUTHORITY__SERVER__LISTEN_ON", "listen_on"),
        ("TN_AUTHORITY__DATABSE__URL", "databse"),
        ("TN_AUTHORITY__URL", "url"),
    ] {
        let message = message(from_environment(&[(variable, "x")]));
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn a_key_outlives_the_lease_of_its_request() {
    for (variable, value, part) in [
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
            "`idempotency.lease` has to be at least 1",
        ),
        (
            "IDEMPOTENCY__LEASE",
            "601",
            "`idempotency.lease` is 601, more than 600",
        ),
    ] {
        let variable = format!("TN_AUTHORITY__{variable}");
        let message = message(from_environment(&[(&variable, value)]));
        assert!(message.contains(part), "{variable}={value}: {message}");
    }
}

#[test]
fn a_wrong_value_is_an_error_that_names_its_key() {
    for (variable, value, part) in [
        (
            "SERVER__PUBLIC_URL",
            "http://localhost",
            "`server.public_url` has to start with `https://`",
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
            "`server.public_url` is `https://host`",
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
            "`server.workers` is 100000, more than 1024",
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
            "`server.workers` has to be at least 1",
        ),
        (
            "DATABASE__POOL_SIZE",
            "0",
            "`database.pool_size` has to be at least 1",
        ),
        ("DATABASE__POOL_SIZE", "-1", "database.pool_size"),
        ("WRITER__BATCH", "0", "`writer.batch` has to be at least 1"),
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
            "expected a list, or one text with commas",
        ),
        ("CARRIER__ACCOUNT", "a/b", "carrier.account"),
        ("LOG__FORMAT", "xml", "log.format"),
    ] {
        let message = message(from_environment(&[(
            &format!("TN_AUTHORITY__{variable}"),
            value,
        )]));
        assert!(message.contains(part), "{variable}={value}: {message}");
    }
    assert!(Config::load(Some(Path::new("/nowhere/config.toml"))).is_err());
}

#[test]
fn a_limit_out_of_bounds_is_an_error() {
    for (variable, value, part) in [
        (
            "SERVER__MAX_CONNECTIONS",
            "0",
            "`server.max_connections` has to be at least 1",
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
            "`limits.unproven_burst` is 0; it is 1 to 1000000",
        ),
    ] {
        let variable = format!("TN_AUTHORITY__{variable}");
        let message = message(from_environment(&[(&variable, value)]));
        assert!(message.contains(part), "{variable}: {message}");
    }
    // Without a rate there is no bucket, so its size does not matter.
    let off = [
        ("TN_AUTHORITY__LIMITS__UNPROVEN_RATE", "0"),
        ("TN_AUTHORITY__LIMITS__UNPROVEN_BURST", "0"),
    ];
    assert!(from_environment(&off).is_ok());
}

#[test]
fn a_facade_that_no_client_could_use_is_an_error() {
    for (variable, value, part) in [
        (
            "FACADE__ENABLED",
            "true",
            "`facade.crl_url` is missing; the clients",
        ),
        (
            "FACADE__CRL_URL",
            "ftp://crl.example/x",
            "`facade.crl_url` is an absolute URL",
        ),
        (
            "FACADE__CRL_URL",
            "https://crl.example/a b",
            "`facade.crl_url` is an absolute URL",
        ),
        (
            "FACADE__ACCESS_LIFETIME",
            "86401",
            "`facade.access_lifetime` has to be 1 to 86400",
        ),
    ] {
        let name = format!("TN_AUTHORITY__{variable}");
        let message = message(from_environment(&[(&name, value)]));
        assert!(message.contains(part), "{variable}={value}: {message}");
    }
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
    for (variable, value, part) in [
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
            "`signer.poll_interval` has to be at least 1",
        ),
        (
            "SIGNER__PUBLICATION_DELAY",
            "29",
            "three times `signer.poll_interval`, which is 30 seconds",
        ),
        (
            "SIGNER__PKCS11__QUEUE",
            "0",
            "`signer.pkcs11.queue` has to be at least 1",
        ),
    ] {
        let message = message(from_environment(&[(
            &format!("TN_AUTHORITY__{variable}"),
            value,
        )]));
        assert!(message.contains(part), "{variable}={value}: {message}");
    }
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
fn secrets_are_read_and_not_shown() {
    let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    let config = from_environment(&[
        ("TN_AUTHORITY__API_KEYS__SECRET", hex),
        (
            "TN_AUTHORITY__DATABASE__URL",
            "postgres://u:hunter2@h/db?password=hunter2",
        ),
    ])
    .expect("a secret");
    assert_eq!(
        config.api_keys.secret.as_ref().map(|s| s.expose().len()),
        Some(32)
    );
    let pin = from_environment(&[("TN_AUTHORITY__SIGNER__PKCS11__PIN", "112233")]).expect("a PIN");
    assert_eq!(
        pin.signer.pkcs11.pin.as_ref().map(Passphrase::expose),
        Some("112233")
    );
    let shown = format!("{config:?} {pin:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("112233") && !shown.contains("17, 34"),
        "{shown}"
    );
    assert!(shown.contains("secret: Some(Secret(..))"), "{shown}");

    let base64url = "_-8hMkNUZXaHmKm6y9zt_v8AESIzRFVmd4iZqrvM3e4\n";
    assert_eq!(
        base64url.parse::<Secret>().map(|s| s.expose().len()),
        Ok(32)
    );
    for short in ["", "abcd", "hunter2", "+/+/"] {
        let message = message(from_environment(&[(
            "TN_AUTHORITY__API_KEYS__SECRET",
            &format!("{short} "),
        )]));
        assert!(message.contains("a secret "), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let both = [
        ("TN_AUTHORITY__API_KEYS__SECRET", hex),
        ("TN_AUTHORITY__API_KEYS__SECRET_FILE", "x"),
    ];
    assert!(message(from_environment(&both)).contains("exclude each other"));
}

const EXAMPLE: &str = include_str!("../../../deploy/config.example.toml");

#[test]
fn the_example_shows_the_defaults() {
    assert_eq!(from_toml(EXAMPLE).expect("example"), Config::default());
}

/// Keys without a default stand in the example behind `#`, with a value that could be theirs.
#[test]
fn the_example_shows_every_key() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let sources =
        config::Config::builder().add_source(File::from_str(&uncommented, FileFormat::Toml));
    let config: Config = sources
        .build()
        .and_then(config::Config::try_deserialize)
        .expect("example");
    assert!(!config.carrier.spcs.is_empty() && config.carrier.account.is_some());
    assert!(config.server.tls_certificate.is_some() && config.server.tls_key.is_some());
    assert!(config.server.workers.is_some());
    assert!(config.signer.key_file.is_some() && config.signer.chain_file.is_some());
    assert!(config.policy.dir.is_some());
    assert!(config.api_keys.secret.is_some() && config.api_keys.secret_file.is_some());
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
    for key in [
        "require",
        "addresses",
        "certificate_encoding",
        "x5c",
        "poll_interval",
        "publication_delay",
        "sessions",
        "timeout",
        "max_lifetime",
        "max_horizon",
        "listen = \"127.0.0.1:8443\"",
        "public_url",
        "behind_proxy",
        "max_body_bytes",
        "request_timeout",
        "shutdown_timeout",
        "listen = \"127.0.0.1:9090\"",
        "url",
        "pool_size",
        "migrate",
        "queue",
        "batch",
        "default_lifetime",
        "min_lifetime",
        "keep",
        "lease",
        "format",
    ] {
        assert!(
            EXAMPLE.lines().any(|line| line.starts_with(key)),
            "{key} is missing"
        );
    }
}
