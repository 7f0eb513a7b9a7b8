//! Issuers of access tokens, client certificates and proxies.

use std::collections::HashMap;
use std::io::Write as _;

use super::{are_wrong_beside, from_environment};
use crate::config::Config;
use crate::domain::Role;
use crate::domain::credentials::jws_algorithm::Algorithm;
use crate::domain::network::trusted_proxy::{AddressHeader, CertificateEncoding};

const ISSUER: [(&str, &str); 4] = [
    (
        "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__ISSUER",
        "https://login.example/",
    ),
    (
        "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__AUDIENCE",
        "https://authority.example",
    ),
    (
        "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__JWKS_URL",
        "https://login.example/certs",
    ),
    ("TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__ROLE", "portal"),
];

#[test]
fn the_environment_configures_issuers_certificates_and_proxies() {
    let others = [
        (
            "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__ALGORITHMS",
            "ES256, EdDSA",
        ),
        (
            "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__ACCOUNTS",
            "acme,007",
        ),
        ("TN_AUTHORITY__CLIENT_CERTIFICATES__CA_FILE", "clients.pem"),
        (
            "TN_AUTHORITY__CLIENT_CERTIFICATES__CALLERS__PORTAL__DNS",
            "portal.example",
        ),
        (
            "TN_AUTHORITY__CLIENT_CERTIFICATES__CALLERS__PORTAL__ROLE",
            "portal",
        ),
        (
            "TN_AUTHORITY__CLIENT_CERTIFICATES__CALLERS__PORTAL__ACCOUNTS",
            "acme",
        ),
        ("TN_AUTHORITY__PROXY__ADDRESSES", "10.0.0.0/8, ::1"),
        ("TN_AUTHORITY__PROXY__CERTIFICATE_HEADER", "client-cert"),
        ("TN_AUTHORITY__PROXY__CERTIFICATE_ENCODING", "base64-der"),
        (
            "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__REQUIRED_CLAIMS",
            "token_use=access,/a/b=c",
        ),
        ("TN_AUTHORITY__PROXY__ADDRESS_HEADER", "x-forwarded-for"),
    ];
    let config = from_environment(&[&ISSUER[..], &others].concat()).expect("environment");
    let issuer = &config.oauth.issuers["corporate"];
    assert_eq!(issuer.role, Some(Role::Portal));
    assert_eq!(issuer.algorithms, [Algorithm::Es256, Algorithm::EdDsa]);
    assert_eq!(issuer.accounts.len(), 2);
    assert_eq!(
        config.client_certificates.callers["portal"].role,
        Some(Role::Portal)
    );
    assert_eq!(config.proxy.addresses.len(), 2);
    assert_eq!(
        config.proxy.certificate_encoding,
        CertificateEncoding::Base64Der
    );
    let required = &issuer.required_claims;
    assert_eq!(
        (required["token_use"].as_str(), required["/a/b"].as_str()),
        ("access", "c")
    );
    assert_eq!(
        config.proxy.address_header,
        Some(AddressHeader::XForwardedFor)
    );

    // The environment can override single keys of an issuer.
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[oauth.issuers.corporate]\nissuer = \"https://login.example/\"\naudience = \"a\"\njwks_file = \"f\"\n\
                role_claim = \"https://login.example/Roles\"\nroles = { \"TN.Portal\" = \"portal\" }\n";
    file.write_all(text.as_bytes()).expect("written");
    let audience = (
        "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__AUDIENCE".to_owned(),
        "b".to_owned(),
    );
    let config =
        Config::load_with(Some(file.path()), Some(HashMap::from([audience]))).expect("both");
    let issuer = &config.oauth.issuers["corporate"];
    assert_eq!(issuer.audience, "b");
    assert_eq!(
        issuer.role_claim.as_deref(),
        Some("https://login.example/Roles")
    );
    assert_eq!(issuer.roles.get("TN.Portal"), Some(&Role::Portal));

    let mut mapped = ISSUER.to_vec();
    mapped[3] = (
        "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__ROLE_CLAIM",
        "scope",
    );
    mapped.push((
        "TN_AUTHORITY__OAUTH__ISSUERS__CORPORATE__ROLES",
        "tn=mint=portal, tn-admin=admin",
    ));
    let config = from_environment(&mapped).expect("environment");
    let roles = &config.oauth.issuers["corporate"].roles;
    assert_eq!(roles.get("tn=mint"), Some(&Role::Portal));
    assert_eq!(roles.get("tn-admin"), Some(&Role::Admin));
}

#[test]
fn what_would_let_the_wrong_tokens_in_is_an_error() {
    are_wrong(&[
        (
            "OAUTH__ISSUERS__CORPORATE__ALGORITHMS",
            "ES256,none",
            "never accepted",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__ALGORITHMS",
            "HS256",
            "never accepted",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__JWKS_URL",
            "http://login.example/certs",
            "must be `https://host/path`",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__JWKS_URL",
            "https://u@login.example/certs",
            "must be `https://host/path`",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__JWKS_FILE",
            "f",
            "exclude each other",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__LEEWAY",
            "301",
            "is 301, more than 300",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__MAX_STALE",
            "599",
            "is less than `max_age`",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__MAX_LIFETIME",
            "0",
            "`oauth.issuers.corporate.max_lifetime` must be at least 1",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__MAX_TOKEN_BYTES",
            "65537",
            "more than 65536",
        ),
        ("OAUTH__ISSUERS__CORPORATE__ROLE", "root", "a role is admin"),
        (
            "OAUTH__ISSUERS__CORPORATE__ROLE_CLAIM",
            "roles",
            "set either",
        ),
        (
            "OAUTH__ISSUERS__OTHER__ISSUER",
            "https://login.example/",
            "is also the one of another issuer",
        ),
        (
            "OAUTH__ISSUERS__OTHER__ISSUER",
            "https://other.example/",
            "`oauth.issuers.other.audience` is missing",
        ),
        (
            "OAUTH__ISSUERS__A_NAME_OF_MORE_THAN_32_CHARACTERS__ISSUER",
            "x",
            "lower-case letters",
        ),
        ("OAUTH__ISSUERS__CORPORATE__JWKS", "x", "unknown field"),
        // Without `typ`, an ID token would do.
        (
            "OAUTH__ISSUERS__CORPORATE__TOKEN_TYPE",
            "none",
            "`oauth.issuers.corporate.required_claims` is missing",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__REQUIRED_CLAIMS",
            "token_use=",
            "has an empty claim or value",
        ),
        (
            "OAUTH__ISSUERS__CORPORATE__REQUIRED_CLAIMS",
            "token_use",
            "an item without `=`",
        ),
    ]);
}

#[test]
fn what_would_let_the_wrong_certificates_in_is_an_error() {
    are_wrong(&[
        (
            "CLIENT_CERTIFICATES__REQUIRE",
            "true",
            "needs `client_certificates.ca_file`",
        ),
        (
            "CLIENT_CERTIFICATES__CA_FILE",
            "f",
            "needs `server.tls_certificate`",
        ),
        (
            "CLIENT_CERTIFICATES__CALLERS__X__ROLE",
            "admin",
            "to say which certificates match",
        ),
        (
            "CLIENT_CERTIFICATES__CALLERS__X__DNS",
            "*.example",
            "has a `*`",
        ),
        (
            "CLIENT_CERTIFICATES__CALLERS__X__DNS",
            "a.example",
            "`client_certificates.callers.x.role` is missing",
        ),
        (
            "PROXY__CERTIFICATE_HEADER",
            "client-cert",
            "needs `client_certificates.ca_file`",
        ),
        (
            "CLIENT_CERTIFICATES__CRL_GRACE",
            "604801",
            "is 604801, more than 604800",
        ),
        (
            "PROXY__CERTIFICATE_CHAIN_HEADER",
            "client-cert-chain",
            "needs `proxy.certificate_header` in the encoding `rfc9440`",
        ),
        (
            "PROXY__CERTIFICATE_CHAIN_HEADER",
            "Client-Cert-Chain",
            "lower-case letters",
        ),
        (
            "PROXY__ADDRESS_HEADER",
            "forwarded",
            "`proxy.addresses` is empty",
        ),
        (
            "PROXY__ADDRESS_HEADER",
            "x-real-ip",
            "expected forwarded or x-forwarded-for",
        ),
        (
            "PROXY__ADDRESSES",
            "10.0.0.0/8,proxy.example",
            "a network is",
        ),
        (
            "PROXY__ADDRESSES",
            "10.0.0.1/8",
            "bits set after its prefix; the network is 10.0.0.0/8",
        ),
    ]);
}

fn are_wrong(all: &[(&str, &str, &str)]) {
    are_wrong_beside(&ISSUER, all);
}
