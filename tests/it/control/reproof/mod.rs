//! Rights to renew whose numbers the service proves again by itself, and agents that answer, or do not.

mod agent;
mod ages;
mod api;
mod ends;
mod failures;
mod gateways;
mod limits;

use tn_authority::authority::{
    ChangeError, Confirmation, IssueError, Issued, NewRenewal, NewReproofing, ReproofRun,
};
use tn_authority::domain::control::channel::SignedAnswer;
use tn_authority::domain::control::failure::FailedControl;
use tn_authority::domain::control::proof::{ControlProof, Method, ProofState};
use tn_authority::domain::inventory::Delegation;
use tn_authority::domain::tokens::renewal::Renewal;
use tn_authority::domain::{Fingerprint, Role};
use tn_authority::store::Page;
use uuid::Uuid;

use super::proven::{not_older_than, set, setup};
use crate::authority::renewals::{listed, renews_as};
use crate::support::{Kind, Setup, World, account, wait};

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 86_400;

/// The ACME account key of the enterprise.
pub fn key() -> Fingerprint {
    Fingerprint::from([0xac; 32])
}

/// A carrier that asks for proofs of the last day, and has lent a block of a thousand to `acme`.
pub fn asking_daily(kind: Kind) -> (World, Delegation) {
    lending(kind, setup(set(&not_older_than(86_400)), 0))
}

pub fn lending(kind: Kind, setup: Setup) -> (World, Delegation) {
    let world = World::new(kind, setup);
    world.carrier_holds("1.212.555.XXXX");
    let loan = world.lends("acme", "1.212.555.1XXX");
    (world, loan)
}

pub fn wanted(loan: &Delegation, entries: &[&str], max_age: i64) -> NewRenewal {
    NewRenewal {
        account: loan.account.clone(),
        delegation: loan.row.id,
        list: listed(entries),
        fingerprint: key(),
        lifetime: 600,
        not_after: None,
        caller: None,
        control: Some(NewReproofing {
            method: Method::Sip,
            max_age: u32::try_from(max_age).expect("a short time"),
        }),
    }
}

pub fn gives(world: &World, new: NewRenewal) -> Result<Renewal, ChangeError> {
    wait(world.authority.allow_renewal(&world.provisioner(), new))
}

/// A right for one number, whose proofs must not get a day old.
pub fn daily(world: &World, loan: &Delegation) -> Renewal {
    gives(world, wanted(loan, &["one:12125551001"], DAY)).expect("a right")
}

pub fn renews(world: &World, right: &Renewal) -> Result<Issued, IssueError> {
    let acme = world.caller(Role::Account, &["acme"]);
    renews_as(world, &acme, right.id, None)
}

/// The right as it is now.
pub fn now(world: &World, right: &Renewal) -> Renewal {
    let found = world.authority.renewal_to_use(right.id);
    found.expect("the store").expect("a right")
}

/// In how many seconds the right is due.
pub fn due_in(world: &World, right: &Renewal) -> Option<i64> {
    let control = now(world, right).control.expect("a method");
    control.due_at.map(|at| (at - world.now()).num_seconds())
}

pub fn one_run(world: &World) -> ReproofRun {
    wait(world.authority.reproof()).expect("a run")
}

/// What the periodic job does until it rests: how many numbers it asks.
pub fn works(world: &World) -> usize {
    while wait(world.authority.report_failures()).expect("a report") {}
    let mut asked = 0;
    for _ in 0..1_000 {
        let run = one_run(world);
        asked += run.asked;
        if run.rights == 0 {
            return asked;
        }
        // A second passes between what one transaction could not take.
        world.seconds_pass(1);
    }
    panic!("it does not rest");
}

/// All proofs of acme, oldest first.
pub fn proofs(world: &World) -> Vec<ControlProof> {
    let auditor = world.caller(Role::Auditor, &[]);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = Page::new(1_000, after);
        let found = world
            .authority
            .control_proofs(&auditor, &account("acme"), &page)
            .expect("a list");
        all.extend(found.items);
        after = found.next;
        if after.is_none() {
            return all;
        }
    }
}

/// The agent of the enterprise returns what reached its numbers. Returns how many.
pub fn answers(world: &World) -> usize {
    let pending = proofs(world).into_iter();
    let pending = pending.filter(|proof| proof.state(world.now()) == ProofState::Pending);
    pending
        .filter(|proof| answers_one(world, proof, key()))
        .count()
}

/// Whether the authority accepts the answer to a proof, signed with this key.
pub fn answers_one(world: &World, proof: &ControlProof, key: Fingerprint) -> bool {
    let store = world.authority.store();
    let sent = store.read(|tx| tx.control_message(proof.id));
    let Some(sent) = sent.expect("the store") else {
        return false;
    };
    let nonce = world
        .codes
        .open(proof.id, &sent.gateway, &sent.sealed)
        .expect("a nonce");
    let answer = SignedAnswer { key, nonce };
    let done = world
        .authority
        .confirm_control_signed(Uuid::from_u128(7), Some(proof), answer);
    match wait(done).expect("an answer") {
        Confirmation::Confirmed(_) => true,
        Confirmation::Refused(_) => false,
    }
}

/// The feed of failures, as the carrier sees it.
pub fn feed(world: &World) -> Vec<FailedControl> {
    let auditor = world.caller(Role::Auditor, &[]);
    let feed = world.authority.control_failures(&auditor, 0, 1_000);
    feed.expect("a feed").items
}
