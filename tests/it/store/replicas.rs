//! Several replicas over one database: what takes authority away and what mints do not pass each other.
//!
//! On SQLite only one process serves. There the others are commands, which write by the same rules.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tn_authority::authority::{IssueError, Outstanding};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Denial, Role};

use crate::support::{Db, Kind, Setup, World, account, at_once, request, wait};

both! {
    what_two_replicas_mint_at_once_is_all_in_the_ledger,
    no_token_slips_past_a_port,
    no_token_slips_in_when_a_port_comes_back_at_once,
    no_token_slips_past_a_suspension_or_the_end_of_a_loan,
    no_token_of_a_customer_slips_past_the_end_of_its_resellers_loan,
    two_replicas_do_not_lend_one_number_twice,
}

fn replicas(kind: Kind) -> [World; 2] {
    let db = Arc::new(Db::from(kind));
    [(); 2].map(|()| World::over(Arc::clone(&db), Setup::default()))
}

/// The second replica must sign with the key of the first, or its grants would name another chain; here only the ledger
/// counts.
fn what_two_replicas_mint_at_once_is_all_in_the_ledger(kind: Kind) {
    let worlds = replicas(kind);
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.1XXX");
    let issued = at_once(64, |n| {
        worlds[n % 2]
            .mints("acme", &[&format!("one:{}", 12_125_551_000_u64 + n as u64)])
            .expect("a token")
            .jti
    });
    let mut jtis = issued;
    jtis.sort_unstable();
    for world in &worlds {
        assert_eq!(
            world
                .grants()
                .into_iter()
                .map(|grant| grant.jti)
                .collect::<Vec<_>>(),
            jtis
        );
    }
    let transactions: f64 = worlds
        .iter()
        .map(|world| world.metric("writer_batch_size_count"))
        .sum();
    assert!(
        transactions < 64.0,
        "{transactions} transactions for 64 tokens"
    );
}

/// Mints on both replicas while one of them takes the authority away: whatever was granted before is in the answer, and
/// nothing is granted afterwards. Returns how many tokens there were.
fn race(
    worlds: &[World; 2],
    id: &str,
    number: u64,
    take_away: impl Fn(&World) -> Outstanding + Sync,
) -> usize {
    let taken = AtomicBool::new(false);
    let entry = format!("one:{number}");
    let outcomes = at_once(3, |n| {
        if n == 2 {
            let outstanding = take_away(&worlds[number as usize % 2]);
            taken.store(true, Ordering::SeqCst);
            return Err(outstanding);
        }
        let caller = worlds[n].caller(Role::Account, &[id]);
        let (mut granted, mut rest) = (Vec::new(), 3);
        while rest > 0 {
            // Read before the mint: a request that starts after the answer must be denied.
            let after = taken.load(Ordering::SeqCst);
            match worlds[n].mints_as(&caller, id, request(&[&entry], false, None)) {
                Ok(issued) => {
                    assert!(!after, "a token for {number} after the answer");
                    granted.push(issued.jti);
                }
                Err(IssueError::Denied(Denial::NotAuthorized(_) | Denial::NotTheCallers)) => {
                    rest -= 1
                }
                Err(other) => panic!("{other}"),
            }
        }
        Ok(granted)
    });
    let (mut granted, mut answer) = (BTreeSet::new(), None);
    for outcome in outcomes {
        match outcome {
            Ok(jtis) => granted.extend(jtis),
            Err(outstanding) => answer = Some(outstanding),
        }
    }
    let answer = answer.expect("an answer");
    // The answer counts all of them, and lists them up to the limit of a page, which a fast machine exceeds when the other
    // replica keeps the lock for long.
    assert_eq!(answer.exposure.tokens, granted.len() as u64);
    let listed: BTreeSet<_> = answer.grants.into_iter().map(|grant| grant.jti).collect();
    assert!(listed.is_subset(&granted), "{number}");
    assert_eq!(answer.more, listed.len() < granted.len());
    for jti in granted.difference(&listed) {
        let known = worlds[0].authority.store().read(|tx| tx.grant(jti));
        let known = known.expect("the ledger").expect("a grant");
        assert!(known.withdrawal.is_some(), "{jti:?} for {number}");
    }
    granted.len()
}

fn no_token_slips_past_a_port(kind: Kind) {
    let worlds = replicas(kind);
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.1XXX");
    let tokens = (12_125_551_000_u64..12_125_551_200).map(|number| {
        race(&worlds, "acme", number, |world| {
            let ported = world.excludes(&format!("+{number}"), Reason::PortedOut, None);
            ported.outstanding_grants
        })
    });
    println!(
        "{} tokens slipped in before 200 ports",
        tokens.sum::<usize>()
    );
}

/// Out and back within the second: the one who had the number gets no token after the answer, on either replica.
fn no_token_slips_in_when_a_port_comes_back_at_once(kind: Kind) {
    let worlds = replicas(kind);
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.1XXX");
    for number in 12_125_551_000_u64..12_125_551_040 {
        race(&worlds, "acme", number, |world| {
            let ported = world.excludes(&format!("+{number}"), Reason::PortedOut, None);
            world.ends_exclusion(&ported.row, None);
            ported.outstanding_grants
        });
        let next = worlds[0].lends("next", &format!("+{number}"));
        let entry = format!("one:{number}");
        let issued = worlds[0].mints("next", &[&entry]).expect("a token");
        assert_eq!(worlds[0].grant_of(&issued).justified_by[0].row(), next.row);
    }
}

fn no_token_slips_past_a_suspension_or_the_end_of_a_loan(kind: Kind) {
    let worlds = replicas(kind);
    worlds[0].carrier_holds("1.212.555.1XXX");
    for number in 12_125_551_000_u64..12_125_551_040 {
        let id = format!("account-{number}");
        let loan = worlds[0].lends(&id, &format!("+{number}"));
        race(&worlds, &id, number, |world| {
            if number % 4 < 2 {
                world.suspends(&id).outstanding_grants
            } else {
                world.ends(&loan, None).outstanding_grants
            }
        });
    }
}

fn no_token_of_a_customer_slips_past_the_end_of_its_resellers_loan(kind: Kind) {
    let worlds = replicas(kind);
    let world = &worlds[0];
    world.carrier_holds("1.212.555.1XXX");
    world.knows("reseller");
    let (caller, above) = (world.provisioner(), Some(account("reseller")));
    wait(
        world
            .authority
            .put_account(&caller, account("shop"), None, above),
    )
    .expect("an account");
    for number in 12_125_551_000_u64..12_125_551_040 {
        let mut new = world.loan("reseller", &format!("+{number}"));
        new.lend_on = true;
        let first = world.delegates(new.clone()).expect("a loan");
        (new.account, new.parent) = (account("shop"), Some(first.row.id));
        world.delegates(new).expect("a loan");
        race(&worlds, "shop", number, |world| {
            world.ends(&first, None).outstanding_grants
        });
    }
}

fn two_replicas_do_not_lend_one_number_twice(kind: Kind) {
    let worlds = replicas(kind);
    worlds[0].carrier_holds("1.212.555.1XXX");
    let loan = worlds[0].loan("acme", "+12125551001");
    for number in 12_125_551_000_u64..12_125_551_020 {
        let mut loan = loan.clone();
        loan.numbers = crate::support::numbers(&format!("+{number}"));
        let lent = at_once(4, |n| worlds[n % 2].delegates(loan.clone()));
        let refused: Vec<_> = lent
            .iter()
            .filter_map(|outcome| outcome.as_ref().err())
            .collect();
        assert_eq!(refused.len(), 3, "{lent:?}");
        assert!(
            refused.iter().all(|refused| refused.code() == "overlap"),
            "{refused:?}"
        );
    }
}
