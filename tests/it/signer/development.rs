//! The throw-away CA, judged by openssl.

use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509StoreContext, X509VerifyResult};

use super::sources::{certificates, days, now, root, wanted};

/// By openssl's strict reading of RFC 5280.
#[test]
fn the_development_chain_is_a_valid_one() {
    let root = root();
    let below = root
        .intermediate("Issuing CA", days(-10, 10))
        .expect("a CA");
    let mut store = X509StoreBuilder::new().expect("a store");
    let mut parameters = X509VerifyParam::new().expect("parameters");
    parameters.set_time(now().timestamp());
    parameters
        .set_flags(X509VerifyFlags::X509_STRICT)
        .expect("strict");
    store.set_param(&parameters).expect("set");
    let trusted = root.certificate_pem().expect("PEM");
    store
        .add_cert(certificates(&trusted).remove(0))
        .expect("added");
    let store = store.build();
    for issued in [
        below.issue_spc_certificate(&wanted()),
        below.issue_tls_certificate(&["localhost"], &days(-1, 1)),
        root.issue_spc_certificate(&wanted()),
    ] {
        let chain = certificates(&issued.expect("a certificate").chain_pem);
        let mut untrusted = Stack::new().expect("a stack");
        for issuer in &chain[1..] {
            untrusted.push(issuer.clone()).expect("pushed");
        }
        let mut context = X509StoreContext::new().expect("a context");
        let verdict = context.init(&store, &chain[0], &untrusted, |context| {
            context.verify_cert()?;
            Ok(context.error())
        });
        assert_eq!(verdict.expect("verified"), X509VerifyResult::OK);
    }
}

#[test]
fn a_tls_certificate_names_its_hosts() {
    let issued = root()
        .issue_tls_certificate(&["localhost", "127.0.0.1", "::1"], &days(-1, 1))
        .expect("a certificate");
    let leaf = &certificates(&issued.chain_pem)[0];
    let names = leaf.subject_alt_names().expect("names");
    let dns: Vec<_> = names.iter().filter_map(|name| name.dnsname()).collect();
    let ips: Vec<_> = names.iter().filter_map(|name| name.ipaddress()).collect();
    assert_eq!(dns, ["localhost"]);
    assert_eq!(ips.len(), 2);
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}
