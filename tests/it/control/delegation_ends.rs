//! The end of a delegation, in whatever way, ends the proofs under it: at once, and for ever.

use tn_authority::authority::{Mistake, NewDelegation};
use tn_authority::domain::Time;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::control::proof::{ControlProof, ProofEnd, ProofState};
use tn_authority::domain::inventory::Delegation;
use tn_authority::tables::Format;

use super::proven::{mints_for_key, not_older_than, set, setup};
use crate::authority::imports::{CONFIRMED, import};
use crate::support::{Kind, Setup, World, account, code, wait};

both!(
    the_end_of_a_delegation_ends_its_proofs,
    a_delegation_that_ends_in_its_first_second_leaves_no_proof,
    the_end_of_its_window_is_known_from_the_start,
    what_brings_a_delegation_back_brings_no_proof_back,
    a_delegation_that_never_should_have_been_leaves_no_proof,
    what_a_reseller_lends_on_it_no_longer_controls,
    proofs_end_down_the_tree,
);

const NUMBER: &str = "+12125551001";
const NEXT: &str = "+12125551002";
const DAY: i64 = 86_400;

fn carrier(kind: Kind, setup: Setup) -> World {
    let world = World::new(kind, setup);
    world.carrier_holds("1.212.555.1XXX");
    world
}

fn ended(world: &World, proof: &ControlProof, at: Time) {
    let end = Some((at, ProofEnd::DelegationEnded));
    assert_eq!(world.proof(proof).end, end);
    let state = if at > world.now() {
        ProofState::Confirmed
    } else {
        ProofState::Ended
    };
    assert_eq!(world.state(proof), state);
}

fn the_end_of_a_delegation_ends_its_proofs(kind: Kind) {
    let world = carrier(kind, Setup::default());
    let lent = world.lends("acme", NUMBER);
    let beside = world.lends("acme", NEXT);
    let (proof, other) = (world.proves("acme", NUMBER), world.proves("acme", NEXT));
    let pending = world.asks_one("acme", NUMBER);
    world.seconds_pass(60);
    world.ends(&lent, None);
    ended(&world, &proof, world.now());
    assert_eq!(world.state(&pending), ProofState::Failed);
    assert!(!world.has_code(&pending), "no stranger's phone rings");
    assert_eq!(world.proof(&other).end, None);
    // At a later time, it does so then.
    let later = world.in_seconds(3_600);
    world.ends(&beside, Some(later));
    ended(&world, &other, later);
    world.seconds_pass(3_600);
    ended(&world, &other, later);
}

fn a_delegation_that_ends_in_its_first_second_leaves_no_proof(kind: Kind) {
    let world = carrier(kind, Setup::default());
    let lent = world.lends("acme", NUMBER);
    let proof = world.proves("acme", NUMBER);
    world.ends(&lent, None);
    ended(&world, &proof, world.now());
}

fn the_end_of_its_window_is_known_from_the_start(kind: Kind) {
    let world = carrier(kind, Setup::default());
    let until = world.in_seconds(3_600);
    let loan = NewDelegation {
        valid_until: Some(until),
        ..world.loan("acme", NUMBER)
    };
    world.delegates(loan).expect("a delegation");
    let proof = world.proves("acme", NUMBER);
    ended(&world, &proof, until);
    world.seconds_pass(3_600);
    ended(&world, &proof, until);
}

fn what_brings_a_delegation_back_brings_no_proof_back(kind: Kind) {
    let world = carrier(kind, setup(set(&not_older_than(86_400)), 0));
    world.lends("acme", "1.212.555.10XX");
    let proof = world.proves("acme", NUMBER);
    let mint = || mints_for_key(&world, "acme", &["one:12125551001"], 0x5e);
    mint().expect("a token");
    let end = world.in_seconds(600);
    let table = format!(
        "start,count,account,valid_until\n+12125551000,100,acme,{}\n",
        rfc3339(&end)
    );
    let job = import(&world, Format::Delegations, &table, CONFIRMED).expect("an import");
    ended(&world, &proof, end);
    mint().expect("a token");
    world.seconds_pass(660);
    ended(&world, &proof, end);
    undoes(&world, job.job.expect("a job"));
    // The delegation counts again, the proof does not.
    ended(&world, &proof, end);
    assert_eq!(code(&mint()), "control-not-proven");
    world.proves("acme", NUMBER);
    mint().expect("a token");
}

fn undoes(world: &World, job: uuid::Uuid) {
    let mistake = Mistake {
        reason: "the wrong table".to_owned(),
    };
    let by = world.provisioner();
    let undone = world.authority.undo_import(&by, job, mistake);
    wait(undone).expect("undone");
}

fn a_delegation_that_never_should_have_been_leaves_no_proof(kind: Kind) {
    let world = carrier(kind, Setup::default());
    world.knows("acme");
    let table = "start,count,account\n+12125551000,100,acme\n";
    let job = import(&world, Format::Delegations, table, CONFIRMED).expect("an import");
    let proof = world.proves("acme", NUMBER);
    world.seconds_pass(60);
    undoes(&world, job.job.expect("a job"));
    ended(&world, &proof, world.now());
}

/// `wholesale` has a hundred numbers, which it may lend to its customer, `shop`.
fn reseller(world: &World) -> Delegation {
    let by = world.provisioner();
    for (id, parent) in [("wholesale", None), ("shop", Some("wholesale"))] {
        let above = parent.map(account);
        let made = world.authority.put_account(&by, account(id), None, above);
        wait(made).expect("an account");
    }
    let wide = NewDelegation {
        lend_on: true,
        ..world.loan("wholesale", "+12125551000+100")
    };
    world.delegates(wide).expect("a delegation")
}

fn cut(world: &World, from: &Delegation, numbers: &str) -> NewDelegation {
    NewDelegation {
        parent: Some(from.row.id),
        ..world.loan("shop", numbers)
    }
}

fn what_a_reseller_lends_on_it_no_longer_controls(kind: Kind) {
    let world = carrier(kind, Setup::default());
    let wide = reseller(&world);
    let (lent, kept, own) = (NUMBER, NEXT, "+12125551003");
    let planned = "+12125551004";
    let proofs = [lent, kept, own, planned].map(|number| world.proves("wholesale", number));
    world.seconds_pass(60);
    let loan = world
        .delegates(cut(&world, &wide, lent))
        .expect("a delegation");
    let keeping = NewDelegation {
        lender_keeps: true,
        ..cut(&world, &wide, kept)
    };
    world.delegates(keeping).expect("a delegation");
    let later = world.in_seconds(DAY);
    let planning = NewDelegation {
        valid_from: Some(later),
        ..cut(&world, &wide, planned)
    };
    world.delegates(planning).expect("a delegation");
    ended(&world, &proofs[0], world.now());
    assert_eq!(world.proof(&proofs[1]).end, None);
    assert_eq!(world.proof(&proofs[2]).end, None);
    ended(&world, &proofs[3], later);
    // What is planned ends a later proof then, too.
    let again = world.proves("wholesale", planned);
    ended(&world, &again, later);
    // The number comes back to the reseller, the proof does not.
    world.seconds_pass(60);
    world.ends(&loan, None);
    assert_eq!(world.state(&proofs[0]), ProofState::Ended);
    world.proves("wholesale", lent);
}

fn proofs_end_down_the_tree(kind: Kind) {
    let world = carrier(kind, Setup::default());
    let wide = reseller(&world);
    world
        .delegates(cut(&world, &wide, NUMBER))
        .expect("a delegation");
    let (shop, own) = (
        world.proves("shop", NUMBER),
        world.proves("wholesale", NEXT),
    );
    world.seconds_pass(60);
    world.ends(&wide, None);
    for proof in [&shop, &own] {
        ended(&world, proof, world.now());
    }
}
