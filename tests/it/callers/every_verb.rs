//! Every verb that changes something, wanted by one caller, and how each of them was refused.

use std::io::Write as _;

use tn_authority::authority::import::{ImportError, ImportOptions};
use tn_authority::authority::{
    ChangeError, IssueError, Mistake, NewAccount, NewAllocation, NewDelegation, NewDisconnect,
    NewExclusion, StoreError,
};
use tn_authority::callers::{ApiKeyError, NewApiKey};
use tn_authority::domain::accounts::account::LifetimeMode;
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::inventory::{Basis, Reason};
use tn_authority::domain::{Caller, Denial, Dialect, Role};
use tn_authority::tables::{Format, TableRequest};
use uuid::Uuid;

use crate::authority::imports::{CONFIRMED, import};
use crate::support::service::Api;
use crate::support::{account, numbers, request, wait};

pub(super) fn command_line() -> Caller {
    Caller::at_the_command_line(Uuid::nil())
}

/// How a verb was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// As it should be.
    Ended,
    Done,
    Other(String),
}

pub(super) trait Tells {
    fn told(self) -> Told;
}

impl<T> Tells for Result<T, ChangeError> {
    fn told(self) -> Told {
        match self {
            Err(ChangeError::Store(StoreError::ProofEnded)) => Told::Ended,
            Err(other) => Told::Other(other.to_string()),
            Ok(_) => Told::Done,
        }
    }
}

impl<T> Tells for Result<T, IssueError> {
    fn told(self) -> Told {
        match self {
            Err(IssueError::Denied(Denial::ProofEnded(_))) => Told::Ended,
            Err(other) => Told::Other(other.to_string()),
            Ok(_) => Told::Done,
        }
    }
}

impl<T> Tells for Result<T, ApiKeyError> {
    fn told(self) -> Told {
        match self {
            Err(ApiKeyError::Store(StoreError::ProofEnded)) => Told::Ended,
            Err(other) => Told::Other(other.to_string()),
            Ok(_) => Told::Done,
        }
    }
}

impl<T> Tells for Result<T, ImportError> {
    fn told(self) -> Told {
        match self {
            Err(ImportError::Refused(refused)) => Err::<T, _>(refused).told(),
            Err(other) => Told::Other(other.to_string()),
            Ok(_) => Told::Done,
        }
    }
}

/// Every kind of verb, wanted by this caller; each with the name that the trail gives it. All of them would be done, in each
/// round of a scenario.
pub(super) fn every_verb(api: &Api, by: &Caller, round: u32) -> Vec<(&'static str, Told)> {
    let (world, authority) = (&api.world, &api.world.authority);
    let spare = "+12125551900";
    let held = world.carrier_holds(&format!("1.646.55{round}.1XXX"));
    let lent = world.lends("other", &format!("+1212555195{round}"));
    let kept = world
        .excludes(&format!("+1212555196{round}"), Reason::Reserved, None)
        .row;
    let mistaken = world
        .excludes(&format!("+1212555199{round}"), Reason::Reserved, None)
        .row;
    let table = format!("start,reason\n+1212555198{round},reserved\n");
    let imported = import(world, Format::Exclusions, &table, CONFIRMED).expect("an import");
    let mistake = || Mistake {
        reason: "x".to_owned(),
    };
    let minted = world.mints("acme", &["one:12125551001"]).expect("a token");
    let keys = api.service.callers.api_keys();
    let new_key = || NewApiKey::new(Role::Admin, Vec::new());
    let otherwise = || NewAccount {
        name: Some("x".to_owned()),
        parent: None,
        dialect: Some(Dialect::Legacy),
    };
    let other_key = wait(keys.create(&command_line(), new_key())).expect("a key");
    let other_key = other_key.kept.id.as_str();
    let found = authority
        .look_for_signers(tn_authority::authority::ScanMode::Asked)
        .expect("signers");
    let one = || (account("acme"), request(&["one:12125551001"], false, None));
    let many = async { authority.issue_all(by, vec![one(), one()], None).await };
    let bulk = wait(many).expect("answers").into_iter().map(Tells::told);
    let bulk: Vec<_> = bulk.map(|told| ("issue", told)).collect();
    let asked = format!("+1212555110{round}");
    let proof = world.asks_one("acme", &format!("+1212555111{round}"));
    let other_proof = world.asks_one("acme", &format!("+1212555112{round}"));
    let mut told = vec![
        (
            "start-control-proof",
            world
                .asks_as(by, "acme", &[&asked], Channel::Sms(None))
                .told(),
        ),
        (
            "confirm-control-proof",
            world.confirms_as(by, &proof, "000000").told(),
        ),
        (
            "cancel-control-proof",
            wait(authority.cancel_control(by, other_proof.id)).told(),
        ),
        (
            "put-account",
            wait(authority.put_account(by, account("new"), None, None)).told(),
        ),
        (
            "put-account",
            wait(authority.put_account_as(by, account("acme"), otherwise())).told(),
        ),
        (
            "suspend",
            wait(authority.suspend(by, account("acme"))).told(),
        ),
        ("resume", wait(authority.resume(by, account("acme"))).told()),
        (
            "set-lifetime",
            wait(authority.set_lifetime_mode(by, account("acme"), LifetimeMode::GrantHorizon))
                .told(),
        ),
        (
            "allocate",
            wait(authority.allocate(
                by,
                NewAllocation {
                    spc: "1234".parse().expect("a code"),
                    numbers: numbers("1.917.555.1XXX"),
                    basis: Basis::Block,
                    valid_from: None,
                    valid_until: None,
                },
            ))
            .told(),
        ),
        (
            "return",
            wait(authority.return_allocation(by, held.row.id, None)).told(),
        ),
        (
            "delegate",
            wait(authority.delegate(
                by,
                NewDelegation {
                    numbers: numbers(spare),
                    ..world.loan("acme", spare)
                },
            ))
            .told(),
        ),
        (
            "end-delegation",
            wait(authority.end_delegation(by, lent.row.id, None)).told(),
        ),
        (
            "exclude",
            wait(authority.exclude(
                by,
                NewExclusion {
                    numbers: numbers(spare),
                    reason: Reason::PortedOut,
                    valid_from: None,
                    valid_until: None,
                    force: false,
                },
            ))
            .told(),
        ),
        (
            "end-exclusion",
            wait(authority.end_exclusion(by, kept.row.id, None)).told(),
        ),
        (
            "end-exclusion",
            wait(authority.undo_exclusion(by, mistaken.row.id, mistake())).told(),
        ),
        (
            "undo-return",
            wait(authority.undo_return(by, held.row.id, mistake())).told(),
        ),
        (
            "undo-import",
            wait(authority.undo_import(by, imported.job.expect("a job"), mistake())).told(),
        ),
        (
            "disconnect",
            wait(authority.disconnect(
                by,
                NewDisconnect {
                    numbers: numbers(spare),
                    class: "residential".into(),
                    at: None,
                },
            ))
            .told(),
        ),
        (
            "withdraw",
            wait(authority.withdraw(by, minted.jti.clone(), "x".into())).told(),
        ),
        (
            "agree-on-signers",
            wait(authority.reload_signers(by, found)).told(),
        ),
        (
            "submit-import",
            submit(api, by, "start,reason\n+12125551970,aging\n").told(),
        ),
        (
            "issue",
            wait(authority.issue(by, one().0, one().1, None)).told(),
        ),
        ("create-api-key", wait(keys.create(by, new_key())).told()),
        ("rotate-api-key", wait(keys.rotate(by, other_key, 9)).told()),
        (
            "expire-api-key",
            wait(keys.expire(by, other_key, world.in_seconds(60))).told(),
        ),
        ("revoke-api-key", wait(keys.revoke(by, other_key)).told()),
    ];
    told.extend(bulk);
    told
}

pub(super) fn submit(api: &Api, by: &Caller, table: &str) -> Result<Uuid, ImportError> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(table.as_bytes()).expect("written");
    std::io::Seek::rewind(&mut file).expect("at its start");
    let jobs = &api.service.jobs;
    let wanted = TableRequest {
        format: Format::Exclusions,
        ocns: std::collections::BTreeSet::new(),
        spc: None,
    };
    let consent = ImportOptions {
        dry_run: false,
        confirm: false,
        force: false,
        max_ended_ppm: 100_000,
    };
    let place = jobs.place().expect("a place");
    let submitted = jobs.submit(by, wanted, consent, (file, table.len() as u64), place);
    wait(submitted).map(|job| job.id)
}
