//! Tokens of a real OpenID provider, which knows nothing of this service: as RFC 9068 has them, and as Cognito writes them.

use std::process::Command;

use serde_json::{Value, json};
use tn_authority::callers::{ClaimPath, IssuerSettings, RoleFrom, TokenType};
use tn_authority::domain::Role;
use tn_authority::domain::credentials::jws_algorithm::Algorithm;

use super::{AUDIENCE, Key, from_endpoint, get, not_loaded, settings};
use crate::support::peers::{Peer, peer};
use crate::support::service::Api;
use crate::support::{Kind, Setup, World};

both!(
    a_provider_issues_tokens_as_rfc_9068_has_them,
    a_provider_issues_tokens_without_type_and_audience,
);

const CLIENT: &str = "7example";

struct Provider {
    process: Peer,
    url: String,
    root: std::path::PathBuf,
    secret: String,
}

impl Provider {
    fn start(world: &World, keys: &[Key], cognito: bool) -> Self {
        let dir = world.dir.path();
        let validity = world.in_seconds(-3600)..=world.in_seconds(86_400 * 3650 - 3600);
        let tls = world.ca.issue_tls_certificate(&["localhost"], &validity);
        let tls = tls.expect("a certificate");
        let keys = keys.iter().map(|key| {
            let pem = key.private.private_key_to_pem_pkcs8().expect("PEM");
            let pem = String::from_utf8(pem).expect("PEM");
            json!({ "kid": key.kid, "alg": key.algorithm.as_str(), "pem": pem })
        });
        let secret = format!("secret-of-{}", uuid::Uuid::new_v4());
        let settings = json!({
            "client": CLIENT, "secret": secret, "audience": AUDIENCE, "cognito": cognito,
            "keys": keys.collect::<Vec<_>>(), "tls_key": tls.key_pem, "tls_certificate": tls.chain_pem,
        });
        let file = dir.join("provider.json");
        crate::support::write_private(&file, &settings.to_string());
        let folder = peer("oidc");
        let mut command = Command::new(folder.join("node"));
        command
            .arg("serve.mjs")
            .arg(file)
            .current_dir(&folder)
            .env("NODE_ENV", "production");
        let mut process = Peer::start(&mut command, &dir.join("provider.log"));
        let port: u16 = process.until(|process| {
            let said = process.said();
            said.lines().find_map(|line| line.parse().ok())
        });
        Self {
            process,
            url: format!("https://localhost:{port}"),
            root: dir.join("root.pem"),
            secret,
        }
    }

    fn curl(&self, path: &str, arguments: &[&str]) -> Vec<u8> {
        let answer = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--cacert"])
            .arg(&self.root)
            .args(arguments)
            .arg(format!("{}{path}", self.url))
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success(), "{text} {}", self.process.said());
        answer.stdout
    }

    /// The provider's answer to a request for an access token.
    fn token(&self) -> String {
        let client = format!("{CLIENT}:{}", self.secret);
        let form = ["grant_type=client_credentials", "scope=tn.mint"];
        let answer = self.curl("/token", &["--user", &client, "-d", form[0], "-d", form[1]]);
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    fn rotate(&self) {
        self.curl("/rotate", &[]);
    }
}

/// Scopes in one text give the role, a claim of its own the account.
fn mint_with(kind: Kind, cognito: bool, change: impl FnOnce(&mut IssuerSettings)) {
    let setup = Setup {
        certificate_lasts: 86_400 * 3600,
        ..Setup::default()
    };
    let world = World::new(kind, setup);
    let keys = [
        Key::new("1", Algorithm::Rs256),
        Key::new("2", Algorithm::Es256),
    ];
    let provider = Provider::start(&world, &keys, cognito);
    let token = provider.token();
    // The provider's clock is the real one.
    let issued = issued_at(&token);
    world.seconds_pass(issued + 1 - world.now().timestamp());
    let roles = [("tn.mint".to_owned(), Role::Account)];
    let mut settings = IssuerSettings {
        issuer: provider.url.clone(),
        role: RoleFrom::ClaimPath(ClaimPath("scope".to_owned()), roles.into()),
        ..settings()
    };
    change(&mut settings);
    let api = Api::trusting(world, |world| {
        from_endpoint(world, settings, &format!("{}/jwks", provider.url))
    });
    get(&api, &token).with(200);

    // A new key: its tokens wait for the next fetch of the key set, and are not refused for good.
    provider.rotate();
    let new = provider.token();
    api.world.seconds_pass(issued_at(&new) - issued);
    let waits = 30 - u32::try_from(issued_at(&new) - issued).expect("seconds");
    not_loaded(&api, &new, waits);
    api.world.seconds_pass(30);
    get(&api, &new).with(200);
    get(&api, &token).with(200);
}

fn issued_at(token: &str) -> i64 {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).expect("claims");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims);
    let claims: Value = serde_json::from_slice(&claims.expect("base64url")).expect("JSON");
    claims["iat"].as_i64().expect("a time")
}

fn a_provider_issues_tokens_as_rfc_9068_has_them(kind: Kind) {
    mint_with(kind, false, |_| {});
}

fn a_provider_issues_tokens_without_type_and_audience(kind: Kind) {
    mint_with(kind, true, |settings| {
        settings.token_type = TokenType::None;
        settings.required_claims = vec![(ClaimPath("token_use".to_owned()), "access".to_owned())];
        settings.audience_claim = ClaimPath("client_id".to_owned());
        CLIENT.clone_into(&mut settings.audience);
    });
}
