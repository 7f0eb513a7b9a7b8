//! Something in front of the database lets connections in, and then passes nothing on: a command says so and ends.

use std::time::Duration;

use tn_authority::domain::Clock;
use tn_authority::store::{DatabaseUrl, OpenError, Store};

use super::timed;
use crate::support::{Db, Kind, TcpProxy, at_once};

#[test]
fn a_command_does_not_wait_for_ever_and_is_not_silent_either() {
    let db = Db::from(Kind::Postgres);
    let proxy = TcpProxy::to(db.server_address());
    let url: DatabaseUrl = db.text_url_at(proxy.address).parse().expect("a URL");
    proxy.swallow_queries_after(0);
    let (took, refused) = timed(|| {
        at_once(3, |n| match n {
            0 => Store::check(&url).map(drop),
            1 => Store::migrate(&url).map(drop),
            _ => Store::server_report(&url, &Clock::system()).map(drop),
        })
    });
    assert!(took < Duration::from_secs(45), "{took:?}");
    for error in refused {
        let error = error.expect_err("no connection");
        assert!(matches!(error, OpenError::Connect(_)), "{error:?}");
        assert!(error.to_string().contains("answers nothing"), "{error}");
    }
    // Those that hang keep nobody out when it works again.
    proxy.swallow_no_more();
    Store::check(&url).expect("an answer");
    proxy.stop();
}
