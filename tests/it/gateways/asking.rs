//! A carrier whose numbers are asked, and gateways that a test scripts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tn_authority::authority::{
    AssignedCode, AttemptResult, ChangeError, Confirmation, NewControlProofs,
};
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::codes::ControlCode;
use tn_authority::domain::control::proof::{ControlProof, ProofState};
use tn_authority::domain::control::sending::SendOutcome;
use tn_authority::domain::{AccountId, Caller, Role};
use tn_authority::gateways::{
    ConfiguredGateway, Gateway, GatewayThreads, Gateways, OutgoingCode, Template,
};
use uuid::Uuid;

use crate::support::{Kind, World, account, wait};

/// The gateway for text messages in the settings of a world.
pub const SMS: &str = "sms-gateway";
pub const MESSAGE: &str = "{code} is the code with which {account} shows that it uses {number}.";

/// A carrier that lends numbers to acme.
pub fn carrier(kind: Kind) -> World {
    let world = World::from(kind);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world
}

pub fn acme(world: &World) -> Caller {
    world.caller(Role::Account, &["acme"])
}

/// Acme asks so many of its numbers by text message.
pub fn asks(world: &World, count: usize) -> Vec<ControlProof> {
    let numbers = (0..count).map(|n| format!("+1212555{}", 1000 + n));
    let new = NewControlProofs {
        account: account("acme"),
        numbers: numbers
            .map(|number| number.parse().expect("a number"))
            .collect(),
        channel: Channel::Sms(None),
        renewal: None,
    };
    wait(world.authority.start_control(&acme(world), new)).expect("proofs")
}

pub fn proof(world: &World, id: Uuid) -> ControlProof {
    world
        .authority
        .control_proof(&acme(world), id)
        .expect("a proof")
}

pub fn state(world: &World, id: Uuid) -> ProofState {
    proof(world, id).state(world.now())
}

pub fn confirms(world: &World, id: Uuid, code: &str) -> Result<Confirmation, ChangeError> {
    let (authority, acme) = (&world.authority, acme(world));
    let proof = authority.proof_to_confirm(&acme, id)?;
    wait(authority.confirm_control(&acme, &proof, ControlCode::new(code)))
}

/// The codes that are still in the outbox.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method itself is for one lifetime alone"
)]
pub fn waiting(world: &World) -> i64 {
    let store = world.authority.store();
    store
        .read(|tx| tx.count_control_messages())
        .expect("a count")
}

/// Leases codes to a process.
pub fn takes(world: &World, process: Uuid, most: u16) -> Vec<AssignedCode> {
    let room: BTreeMap<String, u16> = [(SMS.to_owned(), most)].into();
    wait(world.authority.take_codes(process, &room)).expect("codes")
}

pub fn attempted(
    world: &World,
    process: Uuid,
    code: &AssignedCode,
    outcome: SendOutcome,
) -> AttemptResult {
    wait(world.authority.code_attempted(process, code, outcome)).expect("a record")
}

/// A code as the threads hand it to a gateway, for tests of one gateway alone.
pub fn outgoing(text: &str) -> OutgoingCode {
    let account: AccountId = account("acme");
    OutgoingCode {
        proof: Uuid::from_u128(7),
        account_name: account.to_string(),
        account,
        number: "+12125551001".parse().expect("a number"),
        code: ControlCode::new("123456"),
        text: text.to_owned(),
        minutes: 10,
        expires_at: crate::support::clock_starts(),
    }
}

/// A gateway that answers as it is told, and keeps what it was given.
#[derive(Debug, Default)]
pub struct Scripted {
    outcomes: Mutex<Vec<SendOutcome>>,
    pub sent: Mutex<Vec<OutgoingCode>>,
}

impl Scripted {
    /// The outcomes of the attempts in turn; after them, everything is accepted.
    pub fn with(outcomes: &[SendOutcome]) -> Arc<Self> {
        let outcomes = outcomes.iter().rev().copied().collect();
        Arc::new(Self {
            outcomes: Mutex::new(outcomes),
            ..Self::default()
        })
    }
}

/// Shared with the test that scripts it.
#[derive(Debug)]
struct SharedGateway(Arc<Scripted>);

impl Gateway for SharedGateway {
    fn send(&self, code: &OutgoingCode) -> SendOutcome {
        self.0.sent.lock().push(code.clone());
        self.0
            .outcomes
            .lock()
            .pop()
            .unwrap_or(SendOutcome::Accepted)
    }
}

/// The threads of a service whose text messages go over this gateway.
pub fn sends_over(world: &World, gateway: Box<dyn Gateway>) -> GatewayThreads {
    let gateways = Gateways {
        all: vec![ConfiguredGateway {
            name: SMS.to_owned(),
            gateway,
            concurrency: 4,
            timeout: Duration::from_secs(10),
        }],
        message: Template::parse(MESSAGE, tn_authority::gateways::IN_MESSAGES).expect("a template"),
    };
    GatewayThreads::start(&world.authority, &Arc::new(gateways)).expect("threads")
}

pub fn sends_scripted(world: &World, gateway: &Arc<Scripted>) -> GatewayThreads {
    sends_over(world, Box::new(SharedGateway(Arc::clone(gateway))))
}

/// Waits until something holds, which it must within a while.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The code in a text.
pub fn code_in(text: &str) -> String {
    text.chars().take_while(char::is_ascii_digit).collect()
}
