//! Codes that come back: right ones, wrong ones, late ones, and those of somebody else's proof.

use std::sync::{Arc, Barrier};

use tn_authority::authority::{ChangeError, Confirmation, ControlSettings, ProofLimits};
use tn_authority::domain::Role;
use tn_authority::domain::control::proof::{ConfirmedProof, ProofEnd, ProofState};
use tn_authority::store::ProofProbes;

use crate::support::control::{control_settings, tries_left, wrong};
use crate::support::{Kind, Setup, World, account, fingerprint};

both!(
    five_wrong_codes_void_a_proof,
    a_late_code_is_not_accepted,
    a_confirmed_proof_is_confirmed_by_its_code_again,
    somebody_else_s_proof_is_not_there,
    callers_that_race_for_the_last_try_get_one,
    a_thousand_proofs_withstand_guesses_of_many_callers,
    the_previous_api_key_secret_still_works,
    a_clock_that_is_an_hour_off_fails_closed,
    a_mint_finds_the_newest_proofs_that_count,
);

const NUMBER: &str = "+12125551001";

fn lent(kind: Kind, setup: Setup) -> World {
    let world = World::new(kind, setup);
    world.carrier_holds("1.212.555.1XXX");
    world.carrier_holds("1.212.556.XXXX");
    world.lends("acme", "+12125551000+900");
    world.lends("acme", "1.212.556.XXXX");
    world
}

fn carrier(kind: Kind) -> World {
    lent(kind, Setup::default())
}

/// What is refused says the same, whatever the reason.
fn said(confirmation: &Confirmation) -> String {
    match confirmation {
        Confirmation::Refused(refused) => refused.to_string(),
        Confirmation::Confirmed(proof) => panic!("{} is confirmed", proof.id),
    }
}

const NO_MORE: &str = "the code is not accepted; start another proof";

fn five_wrong_codes_void_a_proof(kind: Kind) {
    let world = carrier(kind);
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    for left in [4, 3, 2, 1] {
        let refused = world.confirms("acme", &proof, &wrong(&code));
        assert_eq!(tries_left(&refused), left);
        assert_eq!(world.state(&proof), ProofState::Pending);
    }
    let last = world.confirms("acme", &proof, &wrong(&code));
    assert_eq!((tries_left(&last), said(&last).as_str()), (0, NO_MORE));
    assert_eq!(world.state(&proof), ProofState::Failed);
    assert!(
        !world.has_code(&proof),
        "nobody may get a code that is of no use"
    );
    let ended = world.proof(&proof).end.expect("an end");
    assert_eq!(ended, (world.now(), ProofEnd::WrongCodes));
    // Too late.
    assert_eq!(said(&world.confirms("acme", &proof, &code)), NO_MORE);
    assert_eq!(world.state(&proof), ProofState::Failed);

    let trail = world.trail(&proof.id.to_string());
    let refused: Vec<_> = trail
        .iter()
        .filter(|event| event.outcome == "code-not-accepted")
        .collect();
    assert_eq!(
        refused.len(),
        5,
        "what is over is not recorded again: {trail:?}"
    );
    assert!(
        refused
            .iter()
            .all(|event| event.account == Some(account("acme")))
    );
    assert_eq!(refused[4].detail["tries"], 5);
    assert_eq!(refused[4].detail["end"], "wrong-codes");
    let metrics = world.metrics.render().expect("metrics");
    for line in [
        "tn_authority_control_proofs_total{method=\"sms\",outcome=\"wrong-code\"} 5",
        "tn_authority_control_proofs_total{method=\"sms\",outcome=\"failed\"} 1",
    ] {
        assert!(
            metrics.lines().any(|known| known == line),
            "{line} is missing in:\n{metrics}"
        );
    }
    // The next one starts from the beginning.
    world.proves("acme", NUMBER);
}

fn a_late_code_is_not_accepted(kind: Kind) {
    let world = carrier(kind);
    let (early, late) = (
        world.asks_one("acme", NUMBER),
        world.asks_one("acme", "+12125551002"),
    );
    let codes = (world.code_of(&early), world.code_of(&late));
    world.seconds_pass(599);
    world.confirms("acme", &early, &codes.0);
    assert_eq!(world.state(&early), ProofState::Confirmed);
    world.seconds_pass(1);
    let refused = world.confirms("acme", &late, &codes.1);
    // Nothing tells it from a code that is wrong for the last time.
    assert_eq!(said(&refused), NO_MORE);
    assert_eq!(world.state(&late), ProofState::Expired);
}

fn a_confirmed_proof_is_confirmed_by_its_code_again(kind: Kind) {
    let world = carrier(kind);
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    let first = world.confirms("acme", &proof, &code);
    world.seconds_pass(3_600);
    // The answer was lost; the time of the proof stays.
    assert_eq!(world.confirms("acme", &proof, &code), first);
    assert_eq!(
        said(&world.confirms("acme", &proof, &wrong(&code))),
        NO_MORE
    );
    assert_eq!(world.state(&proof), ProofState::Confirmed);
    assert_eq!(world.proof(&proof).tries, 0);
}

fn somebody_else_s_proof_is_not_there(kind: Kind) {
    let world = carrier(kind);
    world.knows("other");
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    let other = world.caller(Role::Account, &["other"]);
    let refused = world.confirms_as(&other, &proof, &code);
    assert_eq!(refused, Err(ChangeError::NotFound("control proof")));
    // Nor does it use up a try.
    assert_eq!(world.proof(&proof).tries, 0);
    let mine = world.asks_one("acme", "+12125551002");
    let refused = world.confirms("acme", &mine, &code);
    if code != world.code_of(&mine) {
        assert_eq!(
            tries_left(&refused),
            4,
            "the code of another proof is a wrong one"
        );
    }
}

fn callers_that_race_for_the_last_try_get_one(kind: Kind) {
    let world = Arc::new(carrier(kind));
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    for _ in 0..4 {
        world.confirms("acme", &proof, &wrong(&code));
    }
    let (count, together) = (8, Arc::new(Barrier::new(8)));
    let racing = (0..count).map(|n| {
        let (world, together, proof) = (Arc::clone(&world), Arc::clone(&together), proof.clone());
        // One of them has the right code.
        let code = if n == 0 { code.clone() } else { wrong(&code) };
        std::thread::spawn(move || {
            together.wait();
            world.confirms("acme", &proof, &code)
        })
    });
    let racing: Vec<_> = racing.collect();
    let answers: Vec<_> = racing
        .into_iter()
        .map(|one| one.join().expect("a thread"))
        .collect();
    let confirmed = |answer: &Confirmation| matches!(answer, Confirmation::Confirmed(_));
    let won = answers.iter().filter(|answer| confirmed(answer)).count();
    let proof = world.proof(&proof);
    match world.state(&proof) {
        ProofState::Confirmed => assert_eq!((won, proof.tries), (1, 4)),
        ProofState::Failed => assert_eq!((won, proof.tries), (0, 5)),
        other => panic!("{other}"),
    }
    let counted = world.trail(&proof.id.to_string());
    let wrong = counted.iter().filter(|event| event.detail["tries"] == 5);
    assert!(wrong.count() <= 1 + usize::from(won == 0) * 7);
}

/// How many codes are tried for each proof, `TN_AUTHORITY_TEST_GUESSES` or a few: enough for each caller to come late.
fn guesses() -> u32 {
    let given = std::env::var("TN_AUTHORITY_TEST_GUESSES").ok();
    given.map_or(7, |text| text.parse().expect("a number of guesses"))
}

/// Many callers, in turn over many proofs, as a guesser would who hopes for luck.
fn a_thousand_proofs_withstand_guesses_of_many_callers(kind: Kind) {
    const CALLERS: u32 = 7;
    let unlimited = ProofLimits {
        per_account_hour: 10_000,
        wrong_codes_per_account_day: 10_000,
        ..control_settings().limits
    };
    let control = ControlSettings {
        limits: unlimited,
        ..control_settings()
    };
    let world = Arc::new(lent(
        kind,
        Setup {
            control,
            ..Setup::default()
        },
    ));
    let numbers: Vec<String> = (0..1_000).map(|n| format!("+1212556{n:04}")).collect();
    let mut proofs = Vec::new();
    for chunk in numbers.chunks(100) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        proofs.extend(world.asks("acme", &chunk).expect("proofs"));
    }
    let codes: Vec<u32> = proofs
        .iter()
        .map(|proof| world.code_of(proof).parse().expect("digits"))
        .collect();
    let proofs = Arc::new(proofs.into_iter().zip(codes).collect::<Vec<_>>());
    let guesses = guesses();
    let started = std::time::Instant::now();
    let guessing = (0..CALLERS).map(|caller| {
        let (world, proofs) = (Arc::clone(&world), Arc::clone(&proofs));
        std::thread::spawn(move || {
            let mut by = world.caller(Role::Account, &["acme"]);
            by.id = format!("guesser-{caller}");
            let (mut tried, mut accepted) = (0_u64, 0_u64);
            for guess in (caller..guesses).step_by(CALLERS as usize) {
                for (proof, code) in proofs.iter() {
                    // Another one each time, and never the right one.
                    let code = format!("{:06}", (code + 1 + guess) % 1_000_000);
                    // On a busy machine, some wait for too long.
                    let answer = loop {
                        match world.confirms_as(&by, proof, &code) {
                            Ok(answer) => break answer,
                            Err(ChangeError::Store(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    };
                    tried += 1;
                    accepted += u64::from(matches!(answer, Confirmation::Confirmed(_)));
                }
            }
            (tried, accepted)
        })
    });
    let guessing: Vec<_> = guessing.collect();
    let ended = guessing
        .into_iter()
        .map(|one| one.join().expect("a thread"));
    let (tried, accepted) = ended.fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert_eq!((tried, accepted), (u64::from(guesses) * 1_000, 0));
    println!(
        "{tried} wrong codes in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    for (proof, code) in proofs.iter().step_by(50) {
        assert_eq!(world.proof(proof).tries, 5, "and no more were compared");
        let right = format!("{code:06}");
        assert_eq!(said(&world.confirms("acme", proof, &right)), NO_MORE);
    }
    let metrics = world.metrics.render().expect("metrics");
    let counted = "tn_authority_control_proofs_total{method=\"sms\",outcome=\"failed\"} 1000";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

fn the_previous_api_key_secret_still_works(kind: Kind) {
    let world = carrier(kind);
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    let with = |code_secrets| {
        let setup = Setup {
            code_secrets,
            ..Setup::default()
        };
        World::over(Arc::clone(&world.db), setup)
    };
    let without = with((0x5f, None));
    assert_eq!(tries_left(&without.confirms("acme", &proof, &code)), 4);
    let changing = with((0x5f, Some(0x5e)));
    assert_eq!(changing.code_of(&proof), code, "it can still be sent");
    changing.confirms("acme", &proof, &code);
    assert_eq!(changing.state(&proof), ProofState::Confirmed);
}

fn a_clock_that_is_an_hour_off_fails_closed(kind: Kind) {
    let world = carrier(kind);
    world.seconds_pass(7_200);
    let [ahead, behind] = [10_800, 3_600].map(|seconds| {
        let setup = Setup {
            signs: false,
            ..Setup::default()
        };
        let world = World::over(Arc::clone(&world.db), setup);
        world.seconds_pass(seconds);
        world
    });
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    assert_eq!(
        said(&behind.confirms("acme", &proof, &code)),
        NO_MORE,
        "started in its future"
    );
    assert_eq!(
        said(&ahead.confirms("acme", &proof, &code)),
        NO_MORE,
        "expired for it"
    );
    assert_eq!(world.proof(&proof).tries, 0);
    world.confirms("acme", &proof, &code);
    assert_eq!(world.state(&proof), ProofState::Confirmed);

    // What the fast clock confirms counts for it, and not for the others until their time comes.
    let fast = ahead.proves("acme", "+12125551002");
    assert_eq!(counting(&ahead, &["+12125551002"]).len(), 1);
    assert_eq!(counting(&world, &["+12125551002"]), []);
    assert_eq!(counting(&behind, &["+12125551002"]), []);
    world.seconds_pass(3_540);
    let found = counting(&world, &["+12125551002"]);
    assert_eq!(found[0].at, fast.confirmed.expect("confirmed").at);
    assert_eq!(found[0].age(world.now()), 0);
    // A replica that lags counts what was asked in its future, so it asks no number too often.
    let asked = ["+12125551003"; 3].map(|number| world.proves("acme", number));
    assert_eq!(asked.len(), 3);
    let refused = behind.asks("acme", &["+12125551003"]).map_err(|e| e.code());
    assert_eq!(refused.expect_err("three an hour"), "too-many-proofs");
}

/// The proofs of these numbers of `acme` that a mint would find now.
fn counting(world: &World, numbers: &[&str]) -> Vec<ConfirmedProof> {
    let mut probes = ProofProbes::default();
    for number in numbers {
        let number = number.parse().expect("a number");
        probes.add(7, (&account("acme"), fingerprint()), number, world.now());
    }
    let store = world.authority.store();
    let found = store
        .read(|tx| tx.confirmed_control_proofs(&probes))
        .expect("proofs");
    assert!(found.iter().all(|(request, _)| *request == 7));
    let mut found: Vec<_> = found.into_iter().map(|(_, proof)| proof).collect();
    found.sort_unstable_by_key(|proof| proof.number);
    found
}

fn a_mint_finds_the_newest_proofs_that_count(kind: Kind) {
    let world = carrier(kind);
    assert_eq!(counting(&world, &[]), []);
    world.proves("acme", NUMBER);
    world.seconds_pass(3_600);
    let newest = world.proves("acme", NUMBER);
    let other = world.proves("acme", "+12125551002");
    world.asks_one("acme", "+12125551003");
    let numbers = [NUMBER, "+12125551002", "+12125551003", "+12125551004"];
    let found = counting(&world, &numbers);
    let expected = [&newest, &other].map(|proof| ConfirmedProof {
        number: proof.number,
        delegation: proof.delegation,
        method: proof.method,
        is_for_key: false,
        at: proof.confirmed.as_ref().expect("confirmed").at,
    });
    assert_eq!(found, expected);
    world.excludes(
        NUMBER,
        tn_authority::domain::inventory::Reason::Reserved,
        None,
    );
    assert_eq!(counting(&world, &numbers), expected[1..]);
    let mut probes = ProofProbes::default();
    let other_account = account("other");
    probes.add(
        0,
        (&other_account, fingerprint()),
        other.number,
        world.now(),
    );
    let store = world.authority.store();
    let found = store.read(|tx| tx.confirmed_control_proofs(&probes));
    assert_eq!(found.expect("proofs"), [], "of another account");
}
