//! Several replicas over one database: what takes authority away and what mints do not pass each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tn_authority::authority::IssueError;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Denial, Role};

use crate::support::{Db, Kind, Setup, World, account, at_once, request, wait};

both! {
    what_two_replicas_mint_at_once_is_all_in_the_ledger,
    no_token_slips_past_a_port,
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
    take_away: impl Fn(&World) -> Vec<tn_authority::domain::tokens::grant::Grant> + Sync,
) -> usize {
    let taken = AtomicBool::new(false);
    let entry = format!("one:{number}");
    let outcomes = at_once(3, |n| {
        if n == 2 {
            let outstanding = take_away(&worlds[number as usize % 2]);
            taken.store(true, Ordering::SeqCst);
            return (
                outstanding
                    .into_iter()
                    .map(|grant| grant.jti)
                    .collect::<Vec<_>>(),
                true,
            );
        }
        let caller = worlds[n].caller(Role::Account, &[id]);
        let (mut granted, mut rest) = (Vec::new(), 3);
        while rest > 0 {
            // Asked before the mint: what is asked for afterwards must be denied.
            let after = taken.load(Ordering::SeqCst);
            match worlds[n].mints_as(&caller, id, request(&[&entry], false, None)) {
                Ok(issued) => {
                    assert!(!after, "a token for {number} behind the answer");
                    granted.push(issued.jti);
                }
                Err(IssueError::Denied(Denial::NotAuthorized(_) | Denial::NotTheCallers)) => {
                    rest -= 1
                }
                Err(other) => panic!("{other}"),
            }
        }
        (granted, false)
    });
    let outstanding = outcomes
        .iter()
        .find(|(_, taker)| *taker)
        .map(|(jtis, _)| jtis.clone())
        .unwrap_or_default();
    let granted: Vec<_> = outcomes
        .iter()
        .filter(|(_, taker)| !taker)
        .flat_map(|(jtis, _)| jtis)
        .collect();
    for jti in &granted {
        assert!(
            outstanding.contains(jti),
            "a token for {number} that is not among the {} of the answer, of {} granted",
            outstanding.len(),
            granted.len()
        );
    }
    assert_eq!(outstanding.len(), granted.len());
    granted.len()
}

fn no_token_slips_past_a_port(kind: Kind) {
    let worlds = replicas(kind);
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.1XXX");
    let tokens = (12_125_551_000_u64..12_125_551_200).map(|number| {
        race(&worlds, "acme", number, |world| {
            let ported = world.excludes(&format!("+{number}"), Reason::PortedOut, None);
            ported.outstanding_grants.grants
        })
    });
    println!(
        "{} tokens slipped in before 200 ports",
        tokens.sum::<usize>()
    );
}

fn no_token_slips_past_a_suspension_or_the_end_of_a_loan(kind: Kind) {
    let worlds = replicas(kind);
    worlds[0].carrier_holds("1.212.555.1XXX");
    for number in 12_125_551_000_u64..12_125_551_040 {
        let id = format!("account-{number}");
        let loan = worlds[0].lends(&id, &format!("+{number}"));
        race(&worlds, &id, number, |world| {
            if number % 4 < 2 {
                world.suspends(&id).outstanding_grants.grants
            } else {
                world.ends(&loan, None).outstanding_grants.grants
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
            world.ends(&first, None).outstanding_grants.grants
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
