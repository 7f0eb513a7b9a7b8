//! What scenarios of control share: a carrier that asks for it, and accounts that answer.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tn_authority::authority::{
    Confirmation, ControlSettings, IssueError, Issued, NewControlProofs, PolicySet,
};
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::proof::ControlProof;
use tn_authority::domain::{Fingerprint, Role, Tn, TnAuthList, TokenRequest};

use crate::authority::policies::folder;
use crate::support::{Kind, Setup, World, account, wait};

/// What permits; a policy that asks for control goes with it.
pub const PERMITS: &str = r#"
@id("inventory") permit (principal, action in [Action::"read", Action::"manage", Action::"provision"], resource);
@id("own") permit (principal, action in [Action::"ask", Action::"mint"], resource);
"#;

/// A policy that asks for proofs that are not older than this.
pub fn not_older_than(seconds: u64) -> String {
    format!(
        r#"@id("control") @code("control-not-proven") @message("control has to be proven")
        forbid (principal, action == Action::"mint", resource)
        unless {{ context.control.proven && context.control.age <= {seconds} }};"#
    )
}

/// The built-in policies, with the shipped example beside them.
pub fn example() -> PolicySet {
    let policies = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"));
    let dir = TempDir::new().expect("a folder");
    for name in ["inventory.cedar", "mint.cedar", "examples/control.cedar"] {
        let from = policies.join(name);
        let to = dir.path().join(from.file_name().expect("a name"));
        fs::copy(from, to).expect("a file");
    }
    PolicySet::from_dir(dir.path()).expect("policies")
}

pub fn set(policies: &str) -> PolicySet {
    let text = format!("{PERMITS}{policies}");
    PolicySet::from_dir(folder(&[("own.cedar", &text)]).path()).expect("policies")
}

/// A carrier with these policies, whose certificate lasts long.
pub fn setup(policy: PolicySet, sample: u32) -> Setup {
    let usual = Setup::default();
    Setup {
        policy,
        certificate_lasts: 1_000 * 86_400,
        control: ControlSettings {
            sample,
            ..usual.control
        },
        ..usual
    }
}

/// One that has lent a block of a thousand to `acme`.
pub fn lender(kind: Kind, policy: PolicySet) -> World {
    let world = World::new(kind, setup(policy, 0));
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    world
}

/// The numbers answer for the account. A number can be asked three times in an hour.
pub fn proves(world: &World, id: &str, numbers: &[Tn]) -> Vec<ControlProof> {
    proves_for(world, id, numbers, None)
}

/// The same, for tokens of one key.
pub fn proves_for(
    world: &World,
    id: &str,
    numbers: &[Tn],
    key: Option<Fingerprint>,
) -> Vec<ControlProof> {
    let caller = world.caller(Role::Account, &[id]);
    let mut confirmed = Vec::new();
    for numbers in numbers.chunks(NewControlProofs::MAX_NUMBERS) {
        let new = NewControlProofs {
            account: account(id),
            numbers: numbers.to_vec(),
            channel: Channel::Sms(key),
            renewal: None,
        };
        let started = wait(world.authority.start_control(&caller, new)).expect("proofs");
        for proof in started {
            let sent = world
                .authority
                .store()
                .read(|tx| tx.control_message(proof.id));
            let sent = sent.expect("the store").expect("a message").sealed;
            let code = world.codes.open(proof.id, &proof.gateway, &sent);
            let code = code.expect("a code");
            let confirmation = wait(world.authority.confirm_control(&caller, &proof, code));
            match confirmation.expect("an answer") {
                Confirmation::Confirmed(proof) => confirmed.push(proof),
                Confirmation::Refused(refused) => panic!("{refused}"),
            }
        }
    }
    confirmed
}

pub fn tn(text: &str) -> Tn {
    text.parse().expect("a number")
}

/// So many numbers, from this one on.
pub fn tns(first: &str, count: i64) -> Vec<Tn> {
    let first = tn(first).position();
    let all = (first..first + count).map(|position| Tn::from_position(position).expect("a number"));
    all.collect()
}

/// Mints by the account's own credentials, for an ACME account key.
pub fn mints_for_key(
    world: &World,
    id: &str,
    entries: &[&str],
    key: u8,
) -> Result<Issued, IssueError> {
    let entries = entries.iter().map(|text| text.parse().expect("an entry"));
    let list = TnAuthList::from_entries(entries.collect()).expect("a list");
    let key = Fingerprint::from([key; 32]);
    let request = TokenRequest::new(list, false, key, None).expect("E.164");
    world.mints_as(&world.caller(Role::Account, &[id]), id, request)
}
