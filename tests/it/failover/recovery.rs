//! A server that was demoted, and still answers at the address of the primary: nothing is decided by what it says.

use std::sync::Arc;

use tn_authority::authority::StoreError;
use tn_authority::store::{DatabaseUrl, OpenError, Page, Store, Tx};

use super::{lends_a_block, mints, short, timed};
use crate::support::{Db, PgServer, PgVersion, Setup, World};

#[test]
fn a_demoted_server_is_not_asked_and_a_promoted_one_is_used_without_a_restart() {
    is_not_asked_when_demoted(PgVersion::Oldest);
}

#[test]
fn the_newest_version_is_not_asked_when_it_is_demoted_either() {
    is_not_asked_when_demoted(PgVersion::Newest);
}

/// Both URLs are the operator's: one leaves `target_session_attrs` to us, the other accepts any server.
fn is_not_asked_when_demoted(version: PgVersion) {
    let server = PgServer::start(version);
    let db = Arc::new(Db::on(server.url()));
    let any: DatabaseUrl = format!("{}?target_session_attrs=any", db.text_url())
        .parse()
        .expect("a URL");
    let worlds = [None, Some(any.clone())].map(|database| {
        let setup = Setup {
            postgres: short(),
            database,
            ..Setup::default()
        };
        World::over(Arc::clone(&db), setup)
    });
    lends_a_block(&worlds[0]);
    let accounts = |tx: &mut Tx<'_>| tx.list_accounts(None, &Page::new(10, None));
    for world in &worlds {
        mints(world).expect("a token");
        world
            .authority
            .store()
            .read(accounts)
            .expect("the accounts");
    }

    server.demote();
    for world in &worlds {
        for _ in 0..3 {
            let read = world.authority.store().read(accounts);
            assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        }
        let (took, refused) = timed(|| mints(world));
        refused.expect_err("no token");
        assert!(took < short().timeouts.request * 2, "{took:?}");
    }
    let refused = Store::check(&any).expect_err("a standby");
    assert!(
        matches!(refused, OpenError::ReadOnly(_) | OpenError::Connect(_)),
        "{refused}"
    );

    server.promote();
    for world in &worlds {
        let token = (0..40).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            mints(world).ok()
        });
        token.expect("a token of the promoted server");
        let read = (0..40).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            world.authority.store().read(accounts).ok()
        });
        read.expect("the accounts");
    }
    drop(worlds);
}
