//! Certificates that the CA renews by itself (STAR, RFC 8739).

use std::time::Duration;

use chrono::TimeDelta;
use tn_authority::acme::{
    AccountKey, AcmeError, AcmeSession, AutoRenewal, CertificateRequest, ChallengeMember,
    SessionSettings, Sleep, TokenWanted, redeem,
};
use tn_authority::domain::Clock;
use tn_authority::outgoing::{Outgoing, Way};
use tn_authority::signer::FileKey;

use super::carrier::{LIMITS, PATIENCE, list};
use super::little_ca::{Faults, LittleCa, Reply};

pub struct Customer {
    http: Outgoing,
    account: AccountKey,
    pub key: FileKey,
    clock: Clock,
}

impl Customer {
    pub fn of(ca: &LittleCa) -> Self {
        let key = || FileKey::generate().expect("a key").0;
        Self {
            http: Outgoing::new(Some(&ca.root()), LIMITS, Way::Direct).expect("a client"),
            account: AccountKey::new(key()).expect("an account"),
            key: key(),
            clock: Clock::system(),
        }
    }

    pub fn session(&self, ca: &LittleCa) -> AcmeSession<'_> {
        self.session_within(ca, PATIENCE).expect("a session")
    }

    pub fn session_within(
        &self,
        ca: &LittleCa,
        timeout: Duration,
    ) -> Result<AcmeSession<'_>, AcmeError> {
        let settings = SessionSettings {
            directory: ca.directory().parse().expect("a URL"),
            contacts: Vec::new(),
            agrees_to_terms: true,
            binding: None,
            member: ChallengeMember::Atc,
            timeout,
        };
        AcmeSession::open(&settings, &self.http, &self.account, &self.clock, &Sleep)
    }

    fn in_hours(&self, hours: i64, lifetime: u32) -> AutoRenewal {
        let until = self.clock.now() + TimeDelta::hours(hours);
        AutoRenewal { until, lifetime }
    }
}

fn offering() -> LittleCa {
    LittleCa::with(Faults {
        star: Some((60, 86_400)),
        ..Faults::default()
    })
}

#[test]
fn an_order_is_renewed_by_the_ca_until_it_is_canceled() {
    let ca = offering();
    let customer = Customer::of(&ca);
    let (list, renewal) = (list(&["one:12125551001"]), customer.in_hours(12, 600));
    let wanted = CertificateRequest {
        list: &list,
        ca: false,
        subject: "CN=12125551001",
        renewal: Some(&renewal),
    };
    let session = customer.session(&ca);
    let token = |_: &TokenWanted<'_>| Ok("a token".to_owned());
    let issued = redeem(&session, &wanted, &customer.key, &token).expect("a certificate");
    let star = issued.star.expect("where the next ones are");
    let next = session.next_star(&star).expect("the next one");
    assert_ne!(next.leaf().serial(), issued.chain.leaf().serial());
    assert_eq!(
        next.leaf_key_der(),
        issued.chain.leaf_key_der(),
        "the same key (RFC 8739 §3.1)"
    );
    assert_eq!(
        ca.tokens(),
        [("atc".to_owned(), "a token".to_owned())],
        "one proof for all"
    );

    // Another conversation of the same account ends it.
    customer
        .session(&ca)
        .cancel(&issued.order)
        .expect("canceled");
    assert!(ca.is_canceled());
    let ended = session.next_star(&star).expect_err("the end");
    assert!(matches!(ended, AcmeError::StarEnded(_)), "{ended:?}");
    assert!(ended.to_string().contains("autoRenewalCanceled"), "{ended}");
}

/// A client must not cancel an order that is not `valid` (RFC 8739 §3.1.2).
#[test]
fn an_order_is_canceled_once_and_only_when_it_is_valid() {
    for answer in [Reply::status(504), Reply::lost()] {
        let ca = offering();
        let customer = Customer::of(&ca);
        let (list, renewal) = (list(&["one:12125551001"]), customer.in_hours(12, 600));
        let wanted = CertificateRequest {
            list: &list,
            ca: false,
            subject: "CN=12125551001",
            renewal: Some(&renewal),
        };
        let session = customer.session(&ca);
        let placed = session.order(&wanted).expect("an order");
        let error = session.cancel(&placed.url).expect_err("a refusal");
        let said = "the order is `pending`, and only a `valid` one can be canceled";
        assert_eq!(error.to_string(), said);

        let token = |_: &TokenWanted<'_>| Ok("a token".to_owned());
        let issued = redeem(&session, &wanted, &customer.key, &token).expect("a certificate");
        ca.becomes(Faults {
            passed_on: Some(("cancel", 1, answer)),
            ..Faults::default()
        });
        session.cancel(&issued.order).expect("canceled");
        assert!(ca.is_canceled());
        session
            .cancel(&issued.order)
            .expect("it is canceled already");
        assert_eq!(ca.forbidden(), [""; 0]);
    }
}

#[test]
fn what_the_ca_does_not_offer_is_not_ordered() {
    let list = list(&["one:12125551001"]);
    for (ca, hours, lifetime, reason) in [
        (
            LittleCa::with(Faults::default()),
            12,
            600,
            "does not support automatic renewal",
        ),
        (offering(), 12, 59, "at least 60 seconds"),
        (offering(), 25, 600, "at most 86400 seconds"),
    ] {
        let customer = Customer::of(&ca);
        let renewal = customer.in_hours(hours, lifetime);
        let wanted = CertificateRequest {
            list: &list,
            ca: false,
            subject: "CN=12125551001",
            renewal: Some(&renewal),
        };
        let error = customer
            .session(&ca)
            .order(&wanted)
            .expect_err("a refusal")
            .to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(ca.asked("order"), 0);
    }
}
