//! What takes numbers or accounts away ends their proofs, in the same transaction.

use tn_authority::authority::{ChangeError, Mistake, NewDisconnect};
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::proof::{ControlProof, ProofEnd, ProofState};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::{Role, Time};
use tn_authority::tables::Format;

use crate::authority::imports::{CONFIRMED, import};
use crate::support::control::tries_left;
use crate::support::{Kind, Setup, World, numbers, wait};

both!(
    a_port_out_ends_proofs_at_once,
    an_exclusion_ends_proofs_at_once_and_none_beside_it,
    a_suspension_ends_the_proofs_of_all_customers,
    a_return_ends_proofs_at_once,
    a_disconnect_ends_proofs_when_it_takes_effect,
    an_import_ends_proofs,
    what_is_planned_ends_proofs_then,
    what_was_planned_before_ends_a_later_proof_too,
    what_is_called_off_or_undone_revives_nothing,
    an_exclusion_that_an_undo_brings_back_ends_proofs,
    a_delegation_that_ends_takes_its_pending_proofs_with_it,
    a_suspension_between_the_code_and_its_return_is_noticed,
    no_code_is_sent_to_a_number_that_left,
);

const NUMBER: &str = "+12125551001";
const NEXT: &str = "+12125551002";

struct Proven {
    world: World,
    confirmed: ControlProof,
    pending: ControlProof,
    /// Of the next number.
    beside: ControlProof,
}

/// A carrier that has lent numbers to `acme`, which has proven one, twice, and its neighbour.
fn proven(kind: Kind) -> Proven {
    let world = World::new(kind, Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+900");
    let confirmed = world.proves("acme", NUMBER);
    Proven {
        pending: world.asks_one("acme", NUMBER),
        beside: world.proves("acme", NEXT),
        confirmed,
        world,
    }
}

impl Proven {
    fn ended(&self, at: Time, reason: ProofEnd) {
        for proof in [&self.confirmed, &self.pending] {
            assert_eq!(self.world.proof(proof).end, Some((at, reason)));
        }
        let states = [&self.confirmed, &self.pending].map(|proof| self.world.state(proof));
        if at <= self.world.now() {
            assert_eq!(states, [ProofState::Ended, ProofState::Failed]);
        } else {
            assert_eq!(states, [ProofState::Confirmed, ProofState::Pending]);
        }
        assert_eq!(
            self.world.proof(&self.beside).end,
            None,
            "the next number is not concerned"
        );
    }
}

fn a_port_out_ends_proofs_at_once(kind: Kind) {
    let known = proven(kind);
    let code = known.world.code_of(&known.pending);
    known.world.seconds_pass(5);
    known.world.excludes(NUMBER, Reason::PortedOut, None);
    known.ended(known.world.now(), ProofEnd::NumberExcluded);
    let refused = known.world.confirms("acme", &known.pending, &code);
    assert_eq!(tries_left(&refused), 0);
    assert_eq!(known.world.state(&known.pending), ProofState::Failed);
}

fn an_exclusion_ends_proofs_at_once_and_none_beside_it(kind: Kind) {
    let known = proven(kind);
    let far = known.world.proves("acme", "+12125551500");
    known
        .world
        .excludes("+12125551400+200", Reason::Reserved, None);
    assert_eq!(known.world.state(&far), ProofState::Ended);
    known.world.excludes("+12125551001", Reason::Reserved, None);
    known.ended(known.world.now(), ProofEnd::NumberExcluded);
}

fn a_suspension_ends_the_proofs_of_all_customers(kind: Kind) {
    let world = World::new(kind, Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    let by = world.provisioner();
    for (id, parent) in [
        ("wholesale", None),
        ("shop", Some("wholesale")),
        ("wholesalers", None),
    ] {
        let parent = parent.map(crate::support::account);
        let made = world
            .authority
            .put_account(&by, crate::support::account(id), None, parent);
        wait(made).expect("an account");
    }
    let mut wide = world.loan("wholesale", "+12125551000+100");
    wide.lend_on = true;
    let wide = world.delegates(wide).expect("a delegation");
    let mut cut = world.loan("shop", NUMBER);
    cut.parent = Some(wide.row.id);
    world.delegates(cut).expect("a delegation");
    world.lends("wholesalers", "+12125551200");
    let shop = world.proves("shop", NUMBER);
    let reseller = world.proves("wholesale", NEXT);
    let other = world.proves("wholesalers", "+12125551200");
    let pending = world.asks_one("shop", NUMBER);
    world.suspends("wholesale");
    for (proof, state) in [
        (&shop, ProofState::Ended),
        (&reseller, ProofState::Ended),
        (&pending, ProofState::Failed),
        (&other, ProofState::Confirmed),
    ] {
        assert_eq!(world.state(proof), state, "{proof:?}");
    }
    let end = world.proof(&shop).end;
    assert_eq!(end, Some((world.now(), ProofEnd::AccountSuspended)));
    assert!(!world.has_code(&pending));
    // Whoever is back has to prove anew.
    world.resumes("wholesale");
    assert_eq!(world.state(&shop), ProofState::Ended);
    world.seconds_pass(3_600);
    world.proves("shop", NUMBER);
}

fn a_return_ends_proofs_at_once(kind: Kind) {
    let world = World::new(kind, Setup::default());
    let held = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+900");
    let proof = world.proves("acme", NUMBER);
    world.returns(&held, None);
    assert_eq!(
        world.proof(&proof).end,
        Some((world.now(), ProofEnd::NumberLeft))
    );
    assert_eq!(world.state(&proof), ProofState::Ended);
}

fn a_disconnect_ends_proofs_when_it_takes_effect(kind: Kind) {
    let known = proven(kind);
    let (by, at) = (known.world.provisioner(), known.world.in_seconds(3_600));
    let new = NewDisconnect {
        numbers: numbers(NUMBER),
        class: "residential".to_owned(),
        at: Some(at),
    };
    let done = known.world.authority.disconnect(&by, new);
    wait(done).expect("a disconnect");
    let (end, _) = known.world.proof(&known.confirmed).end.expect("an end");
    assert_eq!(end, at);
    known.world.seconds_pass(3_600);
    assert_eq!(known.world.state(&known.confirmed), ProofState::Ended);
}

fn an_import_ends_proofs(kind: Kind) {
    let known = proven(kind);
    let table = format!(
        "start,reason\n{NUMBER},ported-out\n+12125551700,reserved\n+12125551701,reserved\n"
    );
    import(&known.world, Format::Exclusions, &table, CONFIRMED).expect("an import");
    known.ended(known.world.now(), ProofEnd::NumberLeft);
}

fn what_is_planned_ends_proofs_then(kind: Kind) {
    let known = proven(kind);
    let (later, sooner) = (known.world.in_seconds(86_400), known.world.in_seconds(300));
    known.world.excludes(NUMBER, Reason::PortedOut, Some(later));
    known.ended(later, ProofEnd::NumberExcluded);
    assert!(
        known.world.has_code(&known.pending),
        "until then it can answer"
    );
    known.world.excludes(NUMBER, Reason::Reserved, Some(sooner));
    known.ended(sooner, ProofEnd::NumberExcluded);
    known.world.seconds_pass(299);
    assert_eq!(known.world.state(&known.confirmed), ProofState::Confirmed);
    known.world.seconds_pass(1);
    known.ended(sooner, ProofEnd::NumberExcluded);
}

fn what_was_planned_before_ends_a_later_proof_too(kind: Kind) {
    let world = World::new(kind, Setup::default());
    let held = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+900");
    let (soon, later) = (world.in_seconds(3_600), world.in_seconds(7_200));
    world.excludes(NUMBER, Reason::PortedOut, Some(soon));
    world.returns(&held, Some(later));
    let proof = world.proves("acme", NUMBER);
    assert_eq!(
        world.proof(&proof).end,
        Some((soon, ProofEnd::NumberExcluded))
    );
    let other = world.proves("acme", NEXT);
    assert_eq!(world.proof(&other).end, Some((later, ProofEnd::NumberLeft)));
    world.seconds_pass(3_600);
    assert_eq!(
        [&proof, &other].map(|one| world.state(one)),
        [ProofState::Ended, ProofState::Confirmed]
    );
}

fn what_is_called_off_or_undone_revives_nothing(kind: Kind) {
    let known = proven(kind);
    let planned = known
        .world
        .excludes(NUMBER, Reason::PortedOut, Some(known.world.in_seconds(60)));
    known.world.ends_exclusion(&planned.row, None);
    known.world.seconds_pass(60);
    assert_eq!(known.world.state(&known.confirmed), ProofState::Ended);
    let mistake = Mistake {
        reason: "the wrong number".to_owned(),
    };
    let excluded = known.world.excludes(NEXT, Reason::PortedOut, None);
    let (by, id) = (known.world.provisioner(), excluded.row.row.id);
    let undone = known.world.authority.undo_exclusion(&by, id, mistake);
    wait(undone).expect("undone");
    assert_eq!(known.world.state(&known.beside), ProofState::Ended);
    known
        .world
        .mints("acme", &["one:12125551002"])
        .expect("but the delegation counts again");
    known.world.proves("acme", NEXT);
}

fn an_exclusion_that_an_undo_brings_back_ends_proofs(kind: Kind) {
    let world = World::new(kind, Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551000+900");
    world.excludes(NUMBER, Reason::Reserved, None);
    let end = rfc3339(&world.in_seconds(60));
    let table = format!("start,count,reason,valid_until\n{NUMBER},1,reserved,{end}\n");
    let ended = import(&world, Format::Exclusions, &table, CONFIRMED).expect("an import");
    world.seconds_pass(60);
    let proof = world.proves("acme", NUMBER);
    world.seconds_pass(10);
    let mistake = Mistake {
        reason: "the wrong end".to_owned(),
    };
    let job = ended.job.expect("a job");
    wait(
        world
            .authority
            .undo_import(&world.provisioner(), job, mistake),
    )
    .expect("undone");
    assert_eq!(
        world.proof(&proof).end,
        Some((world.now(), ProofEnd::NumberExcluded))
    );
}

fn a_delegation_that_ends_takes_its_pending_proofs_with_it(kind: Kind) {
    let world = World::new(kind, Setup::default());
    world.carrier_holds("1.212.555.1XXX");
    let lent = world.lends("acme", NUMBER);
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    world.seconds_pass(5);
    world.ends(&lent, None);
    let refused = world.confirms("acme", &proof, &code);
    assert_eq!(tries_left(&refused), 0);
    assert_eq!(
        world.proof(&proof).end,
        Some((world.now(), ProofEnd::DelegationEnded))
    );
    // A new one is another one: what was asked under the first does not count for it.
    let lent = world.lends("acme", NUMBER);
    let proof = world.asks_one("acme", NUMBER);
    let code = world.code_of(&proof);
    world.seconds_pass(5);
    world.ends(&lent, None);
    world.lends("acme", NUMBER);
    assert_eq!(tries_left(&world.confirms("acme", &proof, &code)), 0);
    assert_eq!(world.state(&proof), ProofState::Failed);
}

fn a_suspension_between_the_code_and_its_return_is_noticed(kind: Kind) {
    let known = proven(kind);
    let code = known.world.code_of(&known.pending);
    known.world.suspends("acme");
    known.world.resumes("acme");
    // The suspension was lifted, but the proof was ended.
    let refused = known.world.confirms("acme", &known.pending, &code);
    assert_eq!(tries_left(&refused), 0);
    let end = known.world.proof(&known.pending).end;
    assert_eq!(end, Some((known.world.now(), ProofEnd::AccountSuspended)));
    known.world.suspends("acme");
    let carrier = known.world.caller(Role::Provisioner, &[]);
    let refused = known
        .world
        .asks_as(&carrier, "acme", &[NUMBER], Channel::Sms(None));
    assert_eq!(refused, Err(ChangeError::Forbidden));
}

fn no_code_is_sent_to_a_number_that_left(kind: Kind) {
    let known = proven(kind);
    let beside = known.world.asks_one("acme", NEXT);
    assert!(known.world.has_code(&known.pending));
    known.world.excludes(NUMBER, Reason::PortedOut, None);
    assert!(!known.world.has_code(&known.pending));
    assert!(known.world.has_code(&beside));
}
