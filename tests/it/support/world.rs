//! A carrier with everything that it needs to issue tokens, and the verbs of the field.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tempfile::TempDir;
use tn_authority::authority::{
    Authority, Carrier, ChangeError, ControlParts, IssueError, Issued, Lifetimes, NewAllocation,
    NewDelegation, NewExclusion, OutboxSignal, Parts, ReferenceClock, Rotation, ScanMode, Signers,
    Withdrawing,
};
use tn_authority::domain::Actor;
use tn_authority::domain::accounts::account::Account;
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::control::codes::Codes;
use tn_authority::domain::inventory::{Allocation, Basis, Delegation, Exclusion, Reason};
use tn_authority::domain::{Caller, Clock, Proof, Role, Spc, Time, TokenRequest};
use tn_authority::signer::development::{DevelopmentCa, SpcCertificate};
use tn_authority::signer::{SecretSource, Sources};
use tn_authority::store::{Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;
use uuid::Uuid;

use super::control::codes;
use super::keys::{no_hsm, write_private};
use super::setup::Setup;
use super::{Db, Kind, account, numbers, request, wait};

/// A carrier, its authority and its database; the clock stands until it is moved.
pub struct World {
    // Before the database, which cannot go while somebody uses it.
    pub authority: Arc<Authority>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub ca: DevelopmentCa,
    /// What draws, hashes and encrypts codes.
    pub codes: Arc<dyn Codes>,
    /// Holds `root.pem` of the CA, and the folder `signers` with `key.pem` and `chain.pem`.
    pub dir: TempDir,
    /// The folder of the signers.
    pub signers: PathBuf,
    pub db: Arc<Db>,
    /// How long a token request may wait for its transaction, in the API.
    pub max_wait: Option<Duration>,
}

impl From<Kind> for World {
    fn from(kind: Kind) -> Self {
        Self::new(kind, Setup::default())
    }
}

/// When every world starts.
pub fn clock_starts() -> Time {
    from_unix(1_767_225_600)
}

impl World {
    pub fn new(kind: Kind, setup: Setup) -> Self {
        Self::over(Arc::new(kind.into()), setup)
    }

    /// A world over a database that is there already: another replica, if there is a world over it.
    pub fn over(db: Arc<Db>, setup: Setup) -> Self {
        let (start, dir) = (clock_starts(), TempDir::new().expect("a folder"));
        let clock = Clock::fixed_at(start);
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let spcs: Vec<Spc> = setup
            .spcs
            .iter()
            .map(|spc| spc.parse().expect("a code"))
            .collect();
        let in_force =
            start - TimeDelta::days(1)..=start + TimeDelta::seconds(setup.certificate_lasts);
        let forever = start - TimeDelta::days(1)..=start + TimeDelta::days(3650);
        let ca = DevelopmentCa::new("Development CA", forever).expect("a CA");
        let root = ca.certificate_pem().expect("a certificate");
        std::fs::write(dir.path().join("root.pem"), root).expect("a file");
        let signers = setup.signers.unwrap_or_else(|| {
            let folder = dir.path().join("signers");
            std::fs::create_dir(&folder).expect("a folder");
            let wanted = SpcCertificate::new(spcs[0].clone(), in_force).expect("a certificate");
            let issued = ca.issue_spc_certificate(&wanted).expect("a certificate");
            write_private(&folder.join("key.pem"), &issued.key_pem);
            std::fs::write(folder.join("chain.pem"), &issued.chain_pem).expect("a file");
            folder
        });
        let sources = Sources {
            key_file: None,
            key_uri: None,
            keys: setup.keys,
            chain_file: None,
            dir: Some(signers.clone()),
            passphrase: Some(SecretSource::Given("open sesame".into())),
            pkcs11: no_hsm(),
            public_url: "https://authority.example".to_owned(),
            x5c: setup.x5c,
            spcs: spcs.clone(),
        };
        let rotation = Rotation {
            publication_delay: setup.publication_delay,
        };
        let settings = Settings {
            url: setup.database.unwrap_or_else(|| db.url()),
            purpose: Purpose::Command,
            pool_size: 4,
            migrate: false,
            queue: setup.queue,
            batch: setup.batch,
            postgres: setup.postgres,
        };
        let codes = codes(setup.code_secrets);
        let store = Store::open(&settings, Arc::clone(&metrics)).expect("a store");
        let authority = Arc::new(Authority::new(Parts {
            store: Arc::new(store),
            policy: setup.policy.into(),
            signers: setup
                .signs
                .then(|| Arc::new(Signers::new(sources, rotation))),
            clock: clock.clone(),
            carrier: Carrier {
                spcs,
                account: Some(account("carrier")),
            },
            lifetimes: Lifetimes {
                default: 3600,
                minimum: 300,
                maximum: 2 * 86_400,
                horizon: setup.horizon,
            },
            limits: setup.limits,
            aging: [("residential".to_owned(), 90), ("business".to_owned(), 365)].into(),
            claim_constraints: setup.claim_constraints,
            control: ControlParts {
                settings: setup.control,
                codes: codes.clone(),
                signal: OutboxSignal::default(),
                reference: setup
                    .reference
                    .unwrap_or_else(|| ReferenceClock::Given(clock.clone())),
            },
            readiness: setup.readiness,
            metrics: Arc::clone(&metrics),
        }));
        let world = Self {
            authority,
            clock,
            metrics,
            ca,
            codes,
            dir,
            signers,
            db,
            max_wait: setup.max_wait,
        };
        if setup.signs {
            world.looks_for_signers(ScanMode::Asked);
        }
        world
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// So many seconds from now.
    pub fn in_seconds(&self, seconds: i64) -> Time {
        self.now() + TimeDelta::seconds(seconds)
    }

    /// Lets time pass.
    pub fn seconds_pass(&self, seconds: i64) {
        self.clock.set(self.in_seconds(seconds));
    }

    /// Somebody with this role, who speaks for these accounts.
    pub fn caller(&self, role: Role, accounts: &[&str]) -> Caller {
        Caller {
            id: format!("key-of-{role}"),
            proof: Proof::Presence,
            role,
            accounts: accounts.iter().map(|id| account(id)).collect(),
            expires: None,
            request_id: Uuid::from_u128(0x5eed),
        }
    }

    /// Whoever changes something behind the back of the authority.
    pub fn acting(&self) -> Actor {
        Actor::new(&self.provisioner(), &self.clock)
    }

    pub fn provisioner(&self) -> Caller {
        self.caller(Role::Provisioner, &[])
    }

    pub fn knows(&self, id: &str) -> Account {
        wait(
            self.authority
                .put_account(&self.provisioner(), account(id), None, None),
        )
        .expect("an account")
        .0
    }

    pub fn allocates(&self, new: NewAllocation) -> Result<Allocation, ChangeError> {
        wait(self.authority.allocate(&self.provisioner(), new))
    }

    /// The carrier holds a block, from now on.
    pub fn carrier_holds(&self, text: &str) -> Allocation {
        self.allocates(NewAllocation {
            spc: self.authority.carrier().spcs[0].clone(),
            numbers: numbers(text),
            basis: Basis::Block,
            valid_from: None,
            valid_until: None,
        })
        .expect("an allocation")
    }

    pub fn delegates(&self, new: NewDelegation) -> Result<Delegation, ChangeError> {
        wait(self.authority.delegate(&self.provisioner(), new))
    }

    /// A loan from now on, without an end and without `ca`, of an account that exists from now on if it did not before.
    pub fn loan(&self, to: &str, text: &str) -> NewDelegation {
        self.knows(to);
        NewDelegation {
            account: account(to),
            numbers: numbers(text),
            ca: false,
            parent: None,
            lend_on: false,
            lender_keeps: false,
            valid_from: None,
            valid_until: None,
            reference: None,
        }
    }

    /// The carrier lends numbers to an account.
    pub fn lends(&self, to: &str, text: &str) -> Delegation {
        self.delegates(self.loan(to, text)).expect("a delegation")
    }

    pub fn ends(&self, delegation: &Delegation, at: Option<Time>) -> Withdrawing<Delegation> {
        wait(
            self.authority
                .end_delegation(&self.provisioner(), delegation.row.id, at),
        )
        .expect("an ended delegation")
    }

    pub fn returns(&self, allocation: &Allocation, at: Option<Time>) -> Withdrawing<Allocation> {
        wait(
            self.authority
                .return_allocation(&self.provisioner(), allocation.row.id, at),
        )
        .expect("a return")
    }

    /// Numbers are excluded, from now on unless it says otherwise.
    pub fn excludes(
        &self,
        text: &str,
        reason: Reason,
        valid_from: Option<Time>,
    ) -> Withdrawing<Exclusion> {
        let new = NewExclusion {
            numbers: numbers(text),
            reason,
            valid_from,
            valid_until: None,
            force: false,
        };
        let done = wait(self.authority.exclude(&self.provisioner(), new)).expect("an exclusion");
        Withdrawing {
            row: done.row.exclusion,
            outstanding_grants: done.outstanding_grants,
            ended_delegations: done.ended_delegations,
        }
    }

    pub fn ends_exclusion(&self, exclusion: &Exclusion, at: Option<Time>) -> Exclusion {
        wait(
            self.authority
                .end_exclusion(&self.provisioner(), exclusion.row.id, at),
        )
        .expect("an ended exclusion")
        .row
    }

    pub fn suspends(&self, id: &str) -> Withdrawing<Account> {
        wait(self.authority.suspend(&self.provisioner(), account(id))).expect("a suspended account")
    }

    pub fn resumes(&self, id: &str) -> Account {
        wait(self.authority.resume(&self.provisioner(), account(id))).expect("a resumed account")
    }

    /// The account asks for a token of these entries, such as `one:12125551001`.
    pub fn mints(&self, id: &str, entries: &[&str]) -> Result<Issued, IssueError> {
        self.mints_as(
            &self.caller(Role::Account, &[id]),
            id,
            request(entries, false, None),
        )
    }

    pub fn mints_ca(&self, id: &str, entries: &[&str]) -> Result<Issued, IssueError> {
        self.mints_as(
            &self.caller(Role::Account, &[id]),
            id,
            request(entries, true, None),
        )
    }

    pub fn mints_for(
        &self,
        id: &str,
        entries: &[&str],
        lifetime: u32,
    ) -> Result<Issued, IssueError> {
        self.mints_as(
            &self.caller(Role::Account, &[id]),
            id,
            request(entries, false, Some(lifetime)),
        )
    }

    pub fn mints_as(
        &self,
        caller: &Caller,
        id: &str,
        request: TokenRequest,
    ) -> Result<Issued, IssueError> {
        wait(self.authority.issue(caller, account(id), request, None))
    }
}
