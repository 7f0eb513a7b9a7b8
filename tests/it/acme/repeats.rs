//! A CA whose gateway does not wait, or whose answer is lost: the client asks how far the order is and goes on from
//! there (RFC 8555 §7.4). It sends nothing that the state forbids, and orders nothing twice.

use std::time::Duration;

use tn_authority::acme::{AcmeError, CertificateRequest, Kind, OpenOrder, TokenWanted};
use tn_authority::signer::csr::request_der;

use super::bad_ca::order;
use super::carrier::list;
use super::little_ca::{Faults, LittleCa, Reply};
use super::star::Customer;

/// Answers that do not say whether the request was processed.
fn unclear() -> [Reply; 4] {
    let html = Reply::status(500).body("<html>");
    [Reply::status(504), Reply::status(503), html, Reply::lost()].map(soon)
}

fn soon(reply: Reply) -> Reply {
    reply.header("Retry-After", "0")
}

fn not_ready() -> Reply {
    soon(Reply::problem(403, "orderNotReady", "x"))
}

/// The CA processes what came, but the client gets this answer.
fn passed_on(path: &'static str, reply: Reply) -> Faults {
    Faults {
        passed_on: Some((path, 1, reply)),
        ..Faults::default()
    }
}

/// The CA never sees so many of the requests.
fn kept_back(path: &'static str, times: usize, reply: Reply) -> LittleCa {
    LittleCa::with(Faults {
        instead: Some((path, times, reply)),
        ..Faults::default()
    })
}

/// A certificate comes of it, from one order, and each request of this kind is sent so often.
#[track_caller]
fn succeeds(ca: &LittleCa, path: &str, times: usize) {
    order(ca, 120, None).expect("a certificate");
    assert_eq!(ca.forbidden(), [""; 0]);
    assert_eq!(ca.asked(path), times, "{path}");
    assert_eq!(ca.asked("order"), 1);
}

#[test]
fn a_finalize_that_the_ca_has_is_not_sent_again() {
    for reply in unclear().into_iter().chain([not_ready()]) {
        for processing in [0, 1, 3] {
            let ca = LittleCa::with(Faults {
                processing,
                ..passed_on("finalize", reply.clone())
            });
            succeeds(&ca, "finalize", 1);
        }
    }
}

#[test]
fn a_finalize_that_was_lost_is_sent_again_and_not_without_end() {
    for reply in unclear().into_iter().chain([not_ready()]) {
        succeeds(&kept_back("finalize", 2, reply), "finalize", 3);
    }
    for (reply, kind) in [
        (soon(Reply::status(504)), Kind::Other),
        (not_ready(), Kind::CaRefuses),
    ] {
        let ca = kept_back("finalize", 1000, reply);
        let error = order(&ca, 120, None).expect_err("a refusal");
        assert!(matches!(error, AcmeError::Status { .. }), "{error:?}");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(ca.asked("finalize"), 4);
    }
    // The CA has given up on the order: its answer says why.
    let ca = LittleCa::with(Faults {
        unwilling: true,
        ..passed_on(
            "finalize",
            soon(Reply::problem(500, "serverInternal", "no more")),
        )
    });
    let error = order(&ca, 120, None).expect_err("a refusal");
    assert_eq!(
        error.to_string(),
        "the CA set the order to `invalid`: serverInternal: no more"
    );
    assert_eq!(ca.asked("finalize"), 1);
    // Another refusal is final at once, and keeps its reason.
    let ca = kept_back("finalize", 1, Reply::problem(403, "badCSR", "no good"));
    let error = order(&ca, 120, None).expect_err("a refusal");
    assert!(error.to_string().contains("badCSR: no good"), "{error}");
    assert_eq!(ca.asked("finalize"), 1);
}

#[test]
fn a_token_that_the_ca_has_is_not_sent_again() {
    for reply in unclear() {
        for checking in [0, 2] {
            let ca = LittleCa::with(Faults {
                checking,
                ..passed_on("challenge", reply.clone())
            });
            succeeds(&ca, "challenge", 1);
            assert_eq!(ca.tokens().len(), 1);
        }
        succeeds(&kept_back("challenge", 2, reply), "challenge", 3);
    }
    // It has refused it meanwhile, and says why.
    let ca = LittleCa::with(Faults {
        refuses: true,
        ..passed_on("challenge", Reply::status(504))
    });
    let error = order(&ca, 120, None).expect_err("a refusal");
    assert!(matches!(error, AcmeError::TokenRefused { .. }), "{error:?}");
    assert!(error.to_string().contains("unauthorized: no"), "{error}");
    assert_eq!((ca.asked("challenge"), ca.forbidden()), (1, Vec::new()));
}

/// What an earlier run has sent is found in the states of challenge and order (RFC 8555 §7.1.6).
#[test]
fn what_is_processing_already_is_waited_for() {
    let ca = LittleCa::with(Faults::default());
    let customer = Customer::of(&ca);
    let session = customer.session(&ca);
    let list = list(&["one:12125551001"]);
    let wanted = CertificateRequest {
        list: &list,
        ca: false,
        subject: "CN=12125551001",
        renewal: None,
    };
    let token = |_: &TokenWanted<'_>| Ok("a token".to_owned());
    let placed = session.order(&wanted).expect("an order");
    let csr = request_der(&customer.key, &list, false, wanted.subject).expect("a request");
    for _ in 0..2 {
        ca.becomes(Faults {
            checking: 2,
            ..Faults::default()
        });
        session
            .authorize(&placed, &wanted, &token)
            .expect("an authorization");
    }
    ca.becomes(Faults {
        processing: 3,
        ..Faults::default()
    });
    for _ in 0..2 {
        session.finalize(&placed, &csr).expect("it has the CSR");
    }
    assert_eq!((ca.tokens().len(), ca.asked("finalize")), (1, 1));
    assert_eq!(ca.forbidden(), [""; 0]);
}

/// What `redeem --renew` does when the CA issues only after the timeout: it does not order again and again.
#[test]
fn an_order_that_takes_longer_than_the_timeout_is_continued() {
    let ca = LittleCa::with(Faults {
        processing: 16,
        ..Faults::default()
    });
    let customer = Customer::of(&ca);
    let (ours, other) = (list(&["one:12125551001"]), list(&["one:12125551002"]));
    let wanted = |list| CertificateRequest {
        list,
        ca: false,
        subject: "CN=12125551001",
        renewal: None,
    };
    let token = |_: &TokenWanted<'_>| Ok("a token".to_owned());
    let mut open = OpenOrder::default();
    let mut attempt = |list, timeout| {
        let session = customer.session_within(&ca, Duration::from_secs(timeout))?;
        open.redeem(&session, &wanted(list), &customer.key, &token)
    };
    let late = attempt(&ours, 2).expect_err("too late");
    assert!(matches!(late, AcmeError::Late { .. }), "{late:?}");
    let issued = attempt(&ours, 120).expect("a certificate");
    assert_eq!(issued.chain.leaf().tn_auth_list().expect("a list"), ours);
    assert_eq!((ca.asked("order"), ca.asked("finalize")), (1, 1));

    // What is done, what is refused, and what is for another list is not continued.
    ca.becomes(Faults::default());
    attempt(&ours, 120).expect("a certificate");
    assert_eq!(ca.asked("order"), 2);
    ca.becomes(Faults {
        refuses: true,
        ..Faults::default()
    });
    attempt(&ours, 120).expect_err("a refusal");
    ca.becomes(Faults {
        undecided: true,
        ..Faults::default()
    });
    attempt(&ours, 2).expect_err("too late");
    assert_eq!(ca.asked("order"), 4);
    ca.becomes(Faults::default());
    let issued = attempt(&other, 120).expect("a certificate");
    assert_eq!(issued.chain.leaf().tn_auth_list().expect("a list"), other);
    assert_eq!((ca.asked("order"), ca.forbidden()), (5, Vec::new()));
}

/// Some CAs never decide on an order: in the end there is another one.
#[test]
fn an_order_is_not_continued_without_end() {
    let ca = LittleCa::with(Faults::default());
    let customer = Customer::of(&ca);
    let list = list(&["one:12125551001"]);
    let wanted = CertificateRequest {
        list: &list,
        ca: false,
        subject: "CN=12125551001",
        renewal: None,
    };
    let unavailable = |_: &TokenWanted<'_>| {
        Err(AcmeError::Authority {
            status: 503,
            problem: None,
        })
    };
    let mut open = OpenOrder::default();
    for orders in [1, 1, 1, 1, 2, 2] {
        let session = customer.session(&ca);
        let error = open.redeem(&session, &wanted, &customer.key, &unavailable);
        assert!(matches!(error, Err(AcmeError::Authority { .. })));
        assert_eq!(ca.asked("order"), orders);
    }
}

/// What changes nothing at the CA is asked again, so that no certificate is left there.
#[test]
fn a_lost_answer_ends_no_order() {
    for path in ["account", "authz", "orders/1", "certificate"] {
        for reply in unclear() {
            let ca = LittleCa::with(passed_on(path, reply));
            order(&ca, 120, None).expect("a certificate");
            assert_eq!(ca.asked("order"), 1, "{path}");
            assert_eq!(ca.forbidden(), [""; 0]);
        }
    }
    // RFC 8555 has no way to find an order whose URL was lost: the second one is used.
    let ca = LittleCa::with(passed_on("order", Reply::lost()));
    order(&ca, 120, None).expect("a certificate");
    assert_eq!((ca.asked("order"), ca.forbidden()), (2, Vec::new()));
}
