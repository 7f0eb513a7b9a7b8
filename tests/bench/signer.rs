//! What a signature costs through the file key beside the bare one of openssl, and how many whole tokens one core signs.
//! Both sides take turns in one run, so that what else the machine does meets both.

mod support;

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::sha::sha256;
use tn_authority::app::block_on;
use tn_authority::domain::decision::policy_trace::PolicyTrace;
use tn_authority::domain::issuance::{MintOrder, RuledRequest};
use tn_authority::domain::signing::chain_choice::Candidate;
use tn_authority::domain::tokens::grant::{Grant, Jti, Recorded};
use tn_authority::domain::{Actor, Caller, Clock, Spc, TnAuthList, new_id};
use tn_authority::signer::{Chain, FileKey, Signer, SigningKey as _};

use support::median;

const ROUNDS: usize = 41;
const SIGNATURES: u32 = 2_000;

fn main() {
    let now = Clock::system().now();
    let issued = support::certificate(&support::development_ca(), support::a_day());
    let spc = support::spc();
    let bare = EcKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
    let key = Arc::new(FileKey::from_pem(issued.key_pem.as_bytes()).expect("a key"));
    let chain = Chain::from_pem(&issued.chain_pem).expect("a chain");
    let signer = Signer::new(
        key.clone(),
        chain,
        "https://authority.example",
        false,
        std::slice::from_ref(&spc),
        now,
    )
    .expect("a signer");
    let grant = grant(&signer, spc);

    let token = block_on(signer.sign(&grant)).expect("a token");
    let (message, _) = token.rsplit_once('.').expect("three parts");
    let message = message.as_bytes();
    let (mut bare_times, mut key_times, mut token_times) = (Vec::new(), Vec::new(), Vec::new());
    block_on(async {
        for _ in 0..ROUNDS {
            bare_times.push(timed(|| {
                black_box(EcdsaSig::sign(&sha256(black_box(message)), &bare).expect("a signature"));
            }));
            key_times.push(timed(|| {
                black_box(key.sign(black_box(message)).wait().expect("a signature"));
            }));
            let start = time_on_the_core();
            for _ in 0..SIGNATURES {
                black_box(signer.sign(black_box(&grant)).await.expect("a token"));
            }
            token_times.push(time_on_the_core().saturating_sub(start) / SIGNATURES);
        }
    });
    let (bare, key, token) = (median(bare_times), median(key_times), median(token_times));
    let ratio = key.as_secs_f64() / bare.as_secs_f64();
    println!("one core, median of {ROUNDS} rounds of {SIGNATURES}");
    println!("bare openssl signature, with SHA-256   {bare:?}");
    println!("signature by the file key              {key:?}, {ratio:.3} times the bare one");
    println!(
        "whole token                            {token:?}, {:.0} a second",
        1.0 / token.as_secs_f64()
    );
}

fn timed(mut work: impl FnMut()) -> Duration {
    let start = time_on_the_core();
    for _ in 0..SIGNATURES {
        work();
    }
    time_on_the_core().saturating_sub(start) / SIGNATURES
}

/// How long this thread has been on a core, which is not what it waited while others were; of the clock, where the system
/// does not tell.
fn time_on_the_core() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split(' ').next()?.parse().ok());
    told.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

/// The signer takes nothing but what a database has recorded.
fn grant(signer: &Signer, spc: Spc) -> Recorded<Grant> {
    let dir = tempfile::tempdir().expect("a folder");
    let url = support::sqlite(dir.path(), "bench.sqlite");
    let authority = support::authority(&support::small_store(&url), None);
    let now = authority.now();
    let caller = Caller::at_the_command_line(new_id(now));
    let list = TnAuthList::from_tkvalue(support::LENT_NUMBER).expect("a list");
    block_on(async {
        let account = support::lend_block(&authority, &caller).await;
        let candidate = Candidate {
            spc: spc.clone(),
            chain: signer.chain().name().to_owned(),
            active_from: now,
            not_before: now,
            ends: signer.authority_ends(),
        };
        let until = now + TimeDelta::hours(1);
        let ruled = RuledRequest {
            account,
            request: support::request_for(list),
            now,
            until,
            horizon: until,
            minimum: 300,
            chains: Arc::new([candidate]),
            iss: None,
            spcs: vec![spc],
            actor: Actor::new(&caller, &Clock::system()),
            policy: Ok(()),
            policies: PolicyTrace::default(),
            deferred: None,
            renewal: None,
        };
        let audit_id = new_id(now);
        let order = MintOrder {
            ruled,
            jti: Jti::new(audit_id, [7; 12]),
            audit_id,
            keyed: None,
        };
        authority
            .store()
            .issue("bench", vec![order])
            .await
            .pop()
            .expect("an answer")
            .expect("a verdict")
            .expect("a grant")
    })
}
