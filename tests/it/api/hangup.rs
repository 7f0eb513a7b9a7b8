//! SIGHUP: the service reads its files at once, and goes on.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::serving::{PATIENCE, Serving};
use crate::support::Signal;

/// The certificate that a new connection is shown, in DER.
fn shown(service: &Serving) -> Vec<u8> {
    let tcp = TcpStream::connect(service.address).expect("a connection");
    let stream = service.handshake(tcp, b"\x08http/1.1");
    let shown = stream.ssl().peer_certificate().expect("a certificate");
    shown.to_der().expect("DER")
}

#[test]
fn sqlite_a_renewed_certificate_is_taken_over_at_once() {
    // Nothing is polled meanwhile.
    let service = Serving::start(true, &[("TLS_POLL_INTERVAL", 86_400)]);
    let mut last = shown(&service);
    for _ in 0..2 {
        service.renew_certificate();
        assert_eq!(shown(&service), last);
        service.signal(Signal::HUP);
        let start = Instant::now();
        let new = loop {
            match shown(&service) {
                new if new != last => break new,
                _ => assert!(start.elapsed() < 2 * PATIENCE, "the old one is still shown"),
            }
            sleep(Duration::from_millis(20));
        };
        last = new;
    }
    assert_eq!(service.metric("tn_authority_tls_reload_failed "), 0);
}
