//! How each proxy writes a client's certificate, its chain, and that there is none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509;
use tn_authority::callers::{Proxies, Trust};
use tn_authority::domain::network::trusted_proxy::CertificateEncoding;
use tn_authority::signer::development::DevelopmentCa;

use super::client::{Client, acme, trust, wanted};
use super::proxies::named_proxies;
use super::tls::refused;
use crate::support::World;
use crate::support::service::{Answer, Api, asking};

both!(
    traefik_and_haproxy_write_base64,
    rfc_9440_has_a_field_for_the_chain,
    nginx_aws_and_apache_write_pem,
    envoy_writes_pairs,
    each_proxy_says_none_in_its_way,
);

/// With a client whose certificate comes from an intermediate CA; the service trusts the root.
pub struct Scene {
    pub api: Api,
    lower: Client,
    issuer: String,
}

pub fn scene(world: World, header: &str, encoding: CertificateEncoding) -> Scene {
    let chain = Some("client-cert-chain".to_owned());
    let is_rfc9440 = encoding == CertificateEncoding::Rfc9440;
    let proxies = Proxies {
        certificate_header: Some(header.to_owned()),
        certificate_encoding: encoding,
        certificate_chain_header: chain.filter(|_| is_rfc9440),
        ..named_proxies()
    };
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let validity = api.world.in_seconds(-3600)..=api.world.in_seconds(86_400 * 3650 - 3600);
    let ca: DevelopmentCa = api
        .world
        .ca
        .intermediate("Clients", validity)
        .expect("a CA");
    let lower = wanted(&api.world).of(&ca);
    assert_eq!(lower.chain.len(), 1);
    Scene {
        api,
        lower,
        issuer: ca.certificate_pem().expect("PEM"),
    }
}

impl Scene {
    pub fn mint(&self, head: &str) -> Answer {
        let asked = asking(&["one:12125551001"]).to_string();
        let head = format!("content-type: application/json\r\n{head}");
        let path = "/at/account/acme/token";
        self.api.send("POST", path, &head, asked.as_bytes())
    }

    #[track_caller]
    fn malformed(&self, head: &str) {
        refused(&self.api, "header-malformed", || self.mint(head));
    }

    /// Its issuer is not at hand, so there is no path.
    #[track_caller]
    fn lacks_issuer(&self, head: &str) {
        refused(&self.api, "path", || self.mint(head));
    }
}

pub fn base64(certificate: &X509) -> String {
    STANDARD.encode(certificate.to_der().expect("DER"))
}

pub fn pem(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().expect("PEM")).expect("PEM")
}

/// All but these bytes as `%` and hex.
pub fn escaped(text: &str, plain: &[u8]) -> String {
    let escape = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || plain.contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn traefik_and_haproxy_write_base64(world: World) {
    let name = "x-forwarded-tls-client-cert";
    let scene = scene(world, name, CertificateEncoding::Base64Der);
    let head = |value: &str| format!("X-Forwarded-Tls-Client-Cert: {value}\r\n");
    let issuer = X509::from_pem(scene.issuer.as_bytes()).expect("a CA");
    let (lower, issuer) = (base64(&scene.lower.certificate), base64(&issuer));
    let alone = base64(&acme(&scene.api.world).certificate);
    scene.lacks_issuer(&head(&lower));
    for value in [
        alone.clone(),
        format!("{alone},{issuer}"),
        format!("{lower},{issuer}"),
        escaped(&format!("{lower},{issuer}"), b""),
    ] {
        scene.mint(&head(&value)).with(200);
    }
    for wrong in [
        format!(":{alone}:"),
        format!("{alone},"),
        format!("{alone},{issuer},-"),
        alone.replace('=', "").trim_end_matches('A').to_owned() + "*",
        vec![alone.clone(); 10].join(","),
    ] {
        scene.malformed(&head(&wrong));
    }
    // The first is the client's, and nothing else.
    refused(&scene.api, "path", || {
        scene.mint(&head(&format!("{issuer},{alone}")))
    });
}

fn rfc_9440_has_a_field_for_the_chain(world: World) {
    let scene = scene(world, "client-cert", CertificateEncoding::Rfc9440);
    let issuer = X509::from_pem(scene.issuer.as_bytes()).expect("a CA");
    let root = scene.api.world.ca.certificate_pem().expect("PEM");
    let root = base64(&X509::from_pem(root.as_bytes()).expect("a CA"));
    let (leaf, issuer) = (scene.lower.header(), base64(&issuer));
    let head = |chain: &str| format!("Client-Cert: {leaf}\r\n{chain}");
    scene.lacks_issuer(&head(""));
    for chain in [
        format!("Client-Cert-Chain: :{issuer}:\r\n"),
        format!("Client-Cert-Chain: :{issuer}:, :{root}:\r\n"),
        format!("Client-Cert-Chain: :{issuer}:\r\nClient-Cert-Chain: :{root}:\r\n"),
    ] {
        scene.mint(&head(&chain)).with(200);
    }
    for wrong in [issuer.clone(), format!(":{issuer}"), format!(":{issuer}:,")] {
        scene.malformed(&head(&format!("client-cert-chain: {wrong}\r\n")));
    }
    // A chain without a certificate comes from the client itself.
    let alone = format!("client-cert-chain: :{issuer}:\r\n");
    scene.malformed(&alone);
    scene.malformed(&format!("client-cert: ::\r\n{alone}"));
    // The chain is not trusted for being there: without a path to the root it helps nobody.
    let other = acme(&scene.api.world).header();
    // What was verified is remembered for a minute.
    scene.api.world.seconds_pass(60);
    scene.lacks_issuer(&head(&format!("client-cert-chain: {other}\r\n")));
}

fn nginx_aws_and_apache_write_pem(world: World) {
    let name = "x-amzn-mtls-clientcert";
    let scene = scene(world, name, CertificateEncoding::EscapedPem);
    let head = |value: &str| format!("X-Amzn-Mtls-Clientcert: {value}\r\n");
    let (lower, alone) = (
        pem(&scene.lower.certificate),
        pem(&acme(&scene.api.world).certificate),
    );
    scene.lacks_issuer(&head(&escaped(&lower, b"-+/=")));
    let both = format!("{lower}{}", scene.issuer);
    for value in [
        escaped(&alone, b"-"),
        escaped(&alone, b"-+/="),
        escaped(&both, b"-"),
        escaped(&both, b"-+/="),
        // Apache: nothing is escaped, and line breaks are spaces.
        alone.replace('\n', " "),
        both.replace('\n', " "),
    ] {
        scene.mint(&head(&value)).with(200);
    }
    let reversed = format!("{}{lower}", scene.issuer);
    refused(&scene.api, "path", || {
        scene.mint(&head(&escaped(&reversed, b"-")))
    });
    scene.malformed(&head(&escaped(&alone.repeat(10), b"-")));
    scene.malformed(&head(&escaped(&alone[..alone.len() / 2], b"-")));
    scene.malformed(&head(&base64(&scene.lower.certificate)));
}

fn envoy_writes_pairs(world: World) {
    let name = "x-forwarded-client-cert";
    let scene = scene(world, name, CertificateEncoding::Xfcc);
    let head = |value: &str| format!("x-forwarded-client-cert: {value}\r\n");
    let (lower, alone) = (
        escaped(&pem(&scene.lower.certificate), b"-"),
        escaped(&pem(&acme(&scene.api.world).certificate), b"-"),
    );
    let chain = format!("{lower}{}", escaped(&scene.issuer, b"-"));
    let subject = r#"Subject="CN=a\",Cert=x;Chain=y,O=b";URI=spiffe://a;DNS=acme.example"#;
    let hash =
        "By=spiffe://proxy;Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";
    scene.lacks_issuer(&head(&format!("{hash};Cert=\"{lower}\"")));
    for value in [
        format!("Cert=\"{alone}\""),
        format!("{hash};Cert=\"{alone}\";{subject}"),
        format!("{hash};{subject};cert={alone}"),
        format!("Chain=\"{chain}\""),
        format!("{hash};Cert=\"{lower}\";Chain=\"{chain}\";{subject}"),
    ] {
        scene.mint(&head(&value)).with(200);
    }
    for wrong in [
        // A fingerprint or a name is no certificate.
        hash.to_owned(),
        subject.to_owned(),
        // Of two proxies, or two certificates, it is not clear which is meant.
        format!("Cert=\"{alone}\",{hash};Cert=\"{lower}\""),
        format!("{hash};Cert=\"{alone}\",Hash=00"),
        format!("Cert=\"{alone}\";Cert=\"{alone}\""),
        format!("Cert=\"{alone}\";Chain=\"{chain}\""),
        format!("Cert=\"{chain}\""),
        format!("Cert=\"{alone}"),
        format!("Cert=\"{alone}\";Hash"),
        "Cert=\"\"".to_owned(),
        alone.clone(),
    ] {
        scene.malformed(&head(&wrong));
    }
}

fn each_proxy_says_none_in_its_way(world: World) {
    let encoding = CertificateEncoding::Rfc9440;
    let scene = scene(world, "client-cert", encoding);
    let bearer = format!("authorization: Bearer {}\r\n", scene.api.acme);
    let caddy = ":{http.request.tls.client.certificate_der_base64}:";
    for none in ["", "::", "(null)", "-", caddy] {
        let head = format!("client-cert: {none}\r\n");
        scene.mint(&head).problem(401, "unauthorized");
        scene.mint(&format!("{head}{bearer}")).with(200);
        let chain = format!("{head}client-cert-chain: {none}\r\n{bearer}");
        scene.mint(&chain).with(200);
    }
    for wrong in ["null", "none", ":", "--"] {
        scene.malformed(&format!("client-cert: {wrong}\r\n{bearer}"));
    }
    let twice = format!("client-cert: ::\r\nclient-cert: ::\r\n{bearer}");
    refused(&scene.api, "header-twice", || scene.mint(&twice));
}
