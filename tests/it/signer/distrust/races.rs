//! Requests that are under way when a key is distrusted.

use std::sync::atomic::{AtomicBool, Ordering};

use tn_authority::authority::IssueError;
use tn_authority::domain::Denial;
use tn_authority::domain::tokens::grant::GrantState;
use tn_authority::signer::SignerError;

use super::{active, distrust, replicas};
use crate::support::{Kind, at_once};

both! {
    a_mint_that_races_with_distrust_is_withdrawn_or_not_signed,
    two_replicas_distrust_at_once_and_tell_the_same,
}

/// How often the race is run, each time with another key.
const ROUNDS: usize = 12;

fn a_mint_that_races_with_distrust_is_withdrawn_or_not_signed(kind: Kind) {
    let worlds = replicas(kind, 0);
    let mut slipped_in = 0;
    for round in 0..ROUNDS {
        let chain = active(&worlds[0]);
        let distrusted = AtomicBool::new(false);
        let answers = at_once(5, |n| {
            if n == 4 {
                let done = distrust(&worlds[round % 2], &chain);
                distrusted.store(true, Ordering::SeqCst);
                return (Vec::new(), Some(done.outstanding_grants.exposure.tokens));
            }
            let (world, mut issued, mut rest) = (&worlds[n % 2], Vec::new(), 3);
            let entry = format!("one:{}", 12_125_551_000 + n);
            while rest > 0 {
                // Read before the mint: what starts after the answer must not be granted.
                let after = distrusted.load(Ordering::SeqCst);
                match world.mints("acme", &[&entry]) {
                    Ok(token) => {
                        assert!(!after, "a token after the answer");
                        issued.push(token);
                    }
                    Err(IssueError::Denied(Denial::KeyDistrusted(_))) => rest -= 1,
                    // Recorded before, and the key was gone when it was to be signed.
                    Err(IssueError::Signer(SignerError::UnknownChain(_))) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            (issued, None)
        });
        let counted = answers.iter().find_map(|(_, counted)| *counted);
        let of_the_chain: Vec<_> = worlds[0].grants();
        let of_the_chain = of_the_chain.iter().filter(|grant| grant.chain == chain);
        let now = worlds[0].now();
        let mut recorded = 0;
        for grant in of_the_chain {
            assert_eq!(grant.state(now), GrantState::Withdrawn, "{}", grant.jti);
            recorded += 1;
        }
        assert_eq!(counted, Some(recorded), "the answer counts all");
        for token in answers.iter().flat_map(|(issued, _)| issued) {
            let status = worlds[1].authority.grant_status(&token.jti);
            assert_eq!(status.expect("a grant").state, GrantState::Withdrawn);
            slipped_in += 1;
        }
        worlds[0].certificate_comes(&format!("next-{round}"), "1234", 86_400);
        for world in &worlds {
            world.looks_for_signers(tn_authority::authority::ScanMode::Asked);
        }
    }
    println!("{slipped_in} tokens slipped in before {ROUNDS} keys were distrusted");
}

fn two_replicas_distrust_at_once_and_tell_the_same(kind: Kind) {
    let worlds = replicas(kind, 0);
    worlds[0]
        .mints("acme", &["one:12125551001"])
        .expect("a token");
    let chain = active(&worlds[0]);
    let answers = at_once(4, |n| distrust(&worlds[n % 2], &chain).row);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    let events = worlds[0].trail(&chain).into_iter();
    let told = events.filter(|event| event.action == "distrust-chain");
    assert_eq!(told.count(), 1);
}
