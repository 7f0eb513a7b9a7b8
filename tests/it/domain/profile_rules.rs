//! Each rule of the profile of STI certificates (ATIS-1000080 §6.4.1), by a certificate that breaks it alone.

use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::x509::{X509, X509Extension, X509Name};
use tn_authority::domain::signing::certificate::Certificate;

use crate::support::fixtures::hex;
use crate::support::tokens::stranger;

/// A certificate as the profile wants it. Each test changes one thing.
struct Profiled {
    serial: &'static str,
    subject: Vec<(&'static str, &'static str)>,
    dates: [&'static str; 2],
    extensions: Vec<(&'static str, bool, String)>,
    digest: MessageDigest,
}

const KEY_USAGE: &str = "2.5.29.15";
const CONSTRAINTS: &str = "2.5.29.19";
const SUBJECT_KEY: &str = "2.5.29.14";
const AUTHORITY_KEY: &str = "2.5.29.35";
const CRL: &str = "2.5.29.31";
const POLICIES: &str = "2.5.29.32";
const TN_AUTH_LIST: &str = "1.3.6.1.5.5.7.1.26";
/// One distribution point, at `https://a/`.
const POINT: &str = "3010a00ea00c860a68747470733a2f2f612f";
/// 2.16.840.1.114569.1.1.4.
const POLICY: &str = "300c060a6086480186ff09010104";

impl Profiled {
    fn new() -> Self {
        let extension = |id, critical, der: &str| (id, critical, der.to_owned());
        let key_id = "11".repeat(20);
        Self {
            serial: "1234567890abcdef1234567890abcdef",
            subject: vec![("C", "US"), ("O", "Carrier"), ("CN", "SHAKEN 1234")],
            dates: ["260101000000Z", "270101000000Z"],
            extensions: vec![
                extension(KEY_USAGE, true, "03020780"),
                extension(CONSTRAINTS, true, "3000"),
                extension(SUBJECT_KEY, false, &format!("0414{key_id}")),
                extension(AUTHORITY_KEY, false, &format!("30168014{key_id}")),
                extension(
                    CRL,
                    false,
                    "30253023a00ea00c860a68747470733a2f2f612fa211a40f300d310b3009060355040613025553",
                ),
                extension(POLICIES, false, &format!("300e{POLICY}")),
                extension(TN_AUTH_LIST, false, "3008a006160431323334"),
            ],
            digest: MessageDigest::sha256(),
        }
    }

    fn without(mut self, id: &str) -> Self {
        self.extensions.retain(|one| one.0 != id);
        self
    }

    fn with(mut self, id: &'static str, critical: bool, der: &str) -> Self {
        self.extensions.push((id, critical, der.to_owned()));
        self
    }

    fn instead(self, id: &'static str, critical: bool, der: &str) -> Self {
        self.without(id).with(id, critical, der)
    }

    fn named(mut self, subject: &[(&'static str, &'static str)]) -> Self {
        self.subject = subject.to_vec();
        self
    }

    fn make(&self) -> Certificate {
        let name = |parts: &[(&str, &str)]| {
            let mut name = X509Name::builder().expect("a name");
            for (kind, value) in parts {
                name.append_entry_by_text(kind, value).expect("a name");
            }
            name.build()
        };
        let (key, mut x509) = (stranger(), X509::builder().expect("a certificate"));
        x509.set_version(2).expect("v3");
        let serial = BigNum::from_hex_str(self.serial).expect("a number");
        let serial = serial.to_asn1_integer().expect("a serial");
        x509.set_serial_number(&serial).expect("a serial");
        x509.set_subject_name(&name(&self.subject)).expect("a name");
        let issuer = name(&[("C", "US"), ("O", "CA"), ("CN", "SHAKEN CA")]);
        x509.set_issuer_name(&issuer).expect("a name");
        x509.set_pubkey(&key).expect("a key");
        let date = |text: &str| Asn1Time::from_str(text).expect("a date");
        x509.set_not_before(&date(self.dates[0])).expect("a date");
        x509.set_not_after(&date(self.dates[1])).expect("a date");
        for (id, critical, der) in &self.extensions {
            let id = Asn1Object::from_str(id).expect("an identifier");
            let der = Asn1OctetString::new_from_bytes(&hex(der)).expect("octets");
            let extension = X509Extension::new_from_der(&id, *critical, &der);
            x509.append_extension(extension.expect("an extension"))
                .expect("an extension");
        }
        x509.sign(&key, self.digest).expect("a signature");
        Certificate::from_der(&x509.build().to_der().expect("DER")).expect("a certificate")
    }

    /// It has this fault alone, which says these words.
    #[track_caller]
    fn says(&self, words: &str) {
        let faults = self.make().profile_faults();
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            said.len() == 1 && said[0].contains(words),
            "{words}: {said:?}"
        );
        let rule = ["ATIS-1000080 §", "RFC 8226 §", "RFC 5280 §"];
        assert!(rule.iter().any(|rule| said[0].contains(rule)), "{said:?}");
        assert!(said[0].contains("; "), "what to do: {said:?}");
    }
}

#[test]
fn a_certificate_that_follows_the_profile_has_no_fault() {
    let good = Profiled::new().make();
    assert_eq!(good.profile_faults(), []);
    assert!(good.claims_shaken_policy());
    // The name may have more in it.
    let longer = [
        ("C", "US"),
        ("O", "Carrier"),
        ("CN", "Carrier SHAKEN 1234 (east)"),
    ];
    assert_eq!(Profiled::new().named(&longer).make().profile_faults(), []);
    // Another country has policies of its own.
    let canadian = Profiled::new().named(&[("C", "CA"), ("O", "Carrier"), ("CN", "SHAKEN 1234")]);
    let canadian = canadian
        .instead(POLICIES, false, "3007300506032a0304")
        .make();
    assert_eq!(canadian.profile_faults(), []);
    assert!(!canadian.claims_shaken_policy());
    // A delegate has numbers, and another profile.
    let delegate = Profiled::new()
        .instead(TN_AUTH_LIST, false, "300fa20d160b3132313235353531303031")
        .without(POLICIES)
        .without(CRL)
        .named(&[("CN", "Acme")]);
    assert_eq!(delegate.make().profile_faults(), []);
}

#[test]
fn each_fault_names_its_rule_and_what_to_do() {
    let new = Profiled::new;
    let with = |change: &dyn Fn(&mut Profiled)| {
        let mut made = new();
        change(&mut made);
        made
    };
    with(&|made| made.serial = "1234").says("the serial number has 13 bits");
    for serial in [
        "0",
        "-1234567890abcdef1234",
        "7f345678901234567890123456789012345678901234",
    ] {
        with(&|made| made.serial = serial).says("zero, negative or longer than 20 octets");
    }
    with(&|made| made.digest = MessageDigest::sha384()).says("`1.2.840.10045.4.3.3`");
    with(&|made| made.dates = ["270101000000Z", "260101000000Z"]).says("never valid");
    with(&|made| made.dates[1] = "20270101000000Z").says("GeneralizedTime");
    assert_eq!(
        with(&|made| made.dates[1] = "20500101000000Z")
            .make()
            .profile_faults(),
        []
    );

    new()
        .named(&[("O", "Carrier"), ("CN", "SHAKEN 1234")])
        .says("no country (`C`)");
    new()
        .named(&[("C", "us"), ("O", "Carrier"), ("CN", "SHAKEN 1234")])
        .says("`C` of the subject");
    new()
        .named(&[("C", "US"), ("CN", "SHAKEN 1234")])
        .says("no organization (`O`)");
    new()
        .named(&[("C", "US"), ("O", "Carrier")])
        .says("no common name (`CN`)");
    for name in [
        "1234",
        "SHAKEN 12345",
        "SHAKEN  1234",
        "xSHAKEN 1234",
        "shaken 1234",
    ] {
        new()
            .named(&[("C", "US"), ("O", "Carrier"), ("CN", name)])
            .says("`SHAKEN 1234` in it");
    }
    // What a CA writes is not obeyed by a terminal.
    let obeyed = [("C", "US"), ("O", "Carrier"), ("CN", "\u{1b}[2J")];
    let faults = new().named(&obeyed).make().profile_faults();
    assert!(!faults[0].to_string().contains('\u{1b}'), "{}", faults[0]);

    new().without(KEY_USAGE).says("no key usage");
    new()
        .instead(KEY_USAGE, false, "03020780")
        .says("key usage is not critical");
    new()
        .instead(KEY_USAGE, true, "030205a0")
        .says("not `digitalSignature` alone");
    new().without(CONSTRAINTS).says("no basic constraints");
    new()
        .instead(CONSTRAINTS, false, "3000")
        .says("constraints are not critical");
    new().without(SUBJECT_KEY).says("no subject key identifier");
    new()
        .without(AUTHORITY_KEY)
        .says("no key identifier of the issuer");
    new()
        .instead(AUTHORITY_KEY, false, "3000")
        .says("no key identifier of the issuer");
    new().without(CRL).says("no CRL distribution point");
    new()
        .instead(CRL, false, &format!("3012{POINT}"))
        .says("no `cRLIssuer`");
    new()
        .instead(CRL, false, &format!("3024{POINT}{POINT}"))
        .says("not one with an http(s) URL");
    new()
        .instead(CRL, false, "3011300fa00da00b86096c6461703a2f2f612f")
        .says("not one with an http");
    new().without(POLICIES).says("no certificate policy");
    new()
        .instead(POLICIES, false, &format!("301c{POLICY}{POLICY}"))
        .says("more than one");
    new()
        .instead(POLICIES, false, "3007300506032a0304")
        .says("the certificate policy `1.2.3.4`");
    let first = POLICY.replace("010104", "010101");
    new()
        .instead(POLICIES, false, &format!("300e{first}"))
        .says("`2.16.840.1.114569.1.1.1`");
    new()
        .instead(TN_AUTH_LIST, true, "3008a006160431323334")
        .says("the TNAuthList is critical");
    new()
        .instead(TN_AUTH_LIST, false, "3010a006160431323334a006160435363738")
        .says("other entries than one service provider code");

    new()
        .with("1.2.3.4", false, "0500")
        .says("`1.2.3.4` is not in the profile");
    new()
        .with("1.2.3.4", true, "0500")
        .says("`1.2.3.4` is critical");
    new()
        .with(SUBJECT_KEY, false, "0400")
        .says("`2.5.29.14` is there twice");
    for id in [
        KEY_USAGE,
        CONSTRAINTS,
        CRL,
        POLICIES,
        SUBJECT_KEY,
        AUTHORITY_KEY,
    ] {
        new()
            .instead(id, true, "0c00")
            .says(&format!("`{id}` cannot be read"));
    }
}
