//! Policies change while the service runs: all of a set or nothing, and not before the audit trail says so.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use tn_authority::authority::{PolicySet, PolicyWatch};
use tn_authority::domain::Caller;
use uuid::Uuid;

use super::policies::folder;
use crate::support::{Kind, Setup, World, code, wait};

both! {
    a_changed_set_is_in_force_when_two_looks_have_seen_it,
    a_faulty_set_changes_nothing_and_says_so_once,
    a_set_that_cannot_be_recorded_is_not_in_force,
    the_start_is_recorded,
}

const BASE: &str = r#"@id("provisioning") permit (principal, action in [Action::"manage", Action::"provision"], resource);
@id("own") permit (principal, action in [Action::"ask", Action::"mint"], resource);"#;
const SHORT: &str = r#"@id("short") @code("too-long") forbid (principal, action == Action::"mint", resource)
when { context.lifetime > 3600 };"#;
const CASE: &str = r#"
[[case]]
name = "an hour is enough"
caller = { role = "account", accounts = ["acme"] }
action = "mint"
account = "acme"
token = { lifetime = 3601 }
expect = "deny"
code = "too-long"
by = ["short"]
"#;

/// A carrier whose policies stand in a folder, and who watches it.
struct Watched {
    world: World,
    dir: TempDir,
    watch: PolicyWatch,
}

impl Watched {
    fn new(kind: Kind) -> Self {
        let dir = folder(&[
            ("base.cedar", BASE),
            ("short.cedar", SHORT),
            ("tests/short.toml", CASE),
        ]);
        let policy = PolicySet::from_dir(dir.path()).expect("policies");
        let world = World::new(
            kind,
            Setup {
                policy,
                ..Setup::default()
            },
        );
        world.carrier_holds("1.212.555.1XXX");
        world.lends("acme", "1.212.555.1XXX");
        let watch = PolicyWatch::new(dir.path().to_owned());
        let mut watched = Self { world, dir, watch };
        watched.looks(2);
        assert_eq!(watched.watch.fault(), None);
        watched
    }

    fn looks(&mut self, times: usize) {
        let caller = Caller::the_service(Uuid::from_u128(0x10ad));
        for _ in 0..times {
            wait(self.watch.poll(&self.world.authority, &caller));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn writes(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn set(&self) -> String {
        self.world.authority.policies().in_force().set().to_owned()
    }

    /// What asking for two hours is answered.
    fn two_hours(&self) -> String {
        let outcome = self.world.mints_for("acme", &["one:12125551001"], 7200);
        outcome.map_or_else(|_| String::new(), |_| "granted".to_owned())
    }
}

fn a_changed_set_is_in_force_when_two_looks_have_seen_it(kind: Kind) {
    let mut watched = Watched::new(kind);
    let old = watched.set();
    assert_eq!(watched.world.trail(&old), [], "nothing has changed");
    assert_ne!(watched.two_hours(), "granted");

    // The rule and its case change together; who edits is not judged in the midst of it.
    watched.writes("short.cedar", &SHORT.replace("3600", "7200"));
    watched.looks(1);
    watched.writes("tests/short.toml", &CASE.replace("3601", "7201"));
    watched.looks(1);
    assert_eq!((watched.set(), watched.watch.fault()), (old.clone(), None));
    assert_ne!(watched.two_hours(), "granted");
    watched.looks(1);
    let new = watched.set();
    assert_ne!(new, old);
    assert_eq!(watched.two_hours(), "granted");

    let events = watched.world.trail(&new);
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(
        (
            event.action.as_str(),
            event.caller.as_str(),
            event.outcome.as_str()
        ),
        ("policy-reload", "service", "done")
    );
    assert_eq!(
        event.detail,
        json!({ "sha256": new, "before": old, "policies": ["own", "provisioning", "short"] })
    );
    let told = format!("policy_set_info{{sha256=\"{new}\"}}");
    assert_eq!(watched.world.count(&told), 1);
    assert_eq!(
        watched
            .world
            .count(&format!("policy_set_info{{sha256=\"{old}\"}}")),
        0
    );
    let grants = watched.world.grants();
    assert_eq!(grants[0].policies.set(), Some(new.as_str()));
    assert_eq!(grants[0].policies.ids(), ["own"]);
    // Cases alone change nothing.
    watched.writes("tests/more.toml", &CASE.replace("3601", "9999"));
    watched.looks(3);
    assert_eq!(watched.world.trail(&new).len(), 1);
}

fn a_faulty_set_changes_nothing_and_says_so_once(kind: Kind) {
    let mut watched = Watched::new(kind);
    let old = watched.set();
    let refused = |watched: &mut Watched, why: &str| {
        watched.looks(3);
        let fault = watched.watch.fault().expect(why).to_owned();
        assert!(fault.contains(why), "{fault}");
        assert_eq!(watched.set(), old, "{why}");
        assert_eq!(watched.world.count("policy_reload_failed"), 1);
        let denied = watched.world.mints_for("acme", &["one:12125551001"], 7200);
        assert_eq!(code(&denied), "too-long", "{why}");
        assert!(watched.world.mints("acme", &["one:12125551001"]).is_ok());
        assert!(watched.world.authority.readiness().is_ready());
    };
    let mended = |watched: &mut Watched| {
        watched.looks(2);
        assert_eq!(watched.watch.fault(), None);
        assert_eq!(watched.world.count("policy_reload_failed"), 0);
        assert_eq!(watched.set(), old);
    };

    watched.writes("short.cedar", "forbid (principal");
    refused(&mut watched, "short.cedar:1:");
    watched.writes("short.cedar", &SHORT.replace("lifetime", "colour"));
    refused(&mut watched, "short.cedar:2:");
    // A rule that is left out is what cases are for.
    fs::remove_file(watched.path("short.cedar")).expect("a file");
    refused(
        &mut watched,
        "tests/short.toml: `an hour is enough`: expected deny with `too-long` by `short`, but the decision is allow by `own`",
    );
    watched.writes("short.cedar", SHORT);
    mended(&mut watched);

    watched.writes("tests/short.toml", "[[case]]\nnaem = \"x\"\n");
    refused(&mut watched, "tests/short.toml:");
    watched.writes("tests/short.toml", CASE);
    mended(&mut watched);

    for name in ["base.cedar", "short.cedar"] {
        fs::rename(watched.path(name), watched.path(&format!("{name}.off"))).expect("a file");
    }
    refused(&mut watched, "no policy in");
    for name in ["base.cedar", "short.cedar"] {
        fs::rename(watched.path(&format!("{name}.off")), watched.path(name)).expect("a file");
    }
    mended(&mut watched);

    let elsewhere = TempDir::new().expect("a folder");
    let away = elsewhere.path().join("away");
    let home: PathBuf = watched.dir.path().into();
    fs::rename(&home, &away).expect("a folder");
    refused(&mut watched, "cannot read policies from");
    fs::rename(&away, &home).expect("a folder");
    mended(&mut watched);
    assert_eq!(
        watched.world.trail(&old),
        [],
        "nothing was ever in force but this"
    );
}

fn a_set_that_cannot_be_recorded_is_not_in_force(kind: Kind) {
    let mut watched = Watched::new(kind);
    let old = watched.set();
    watched.writes("short.cedar", &SHORT.replace("@code", "@note(\"x\") @code"));
    watched
        .world
        .db
        .execute("ALTER TABLE audit_events RENAME TO gone");
    watched.looks(3);
    let fault = watched.watch.fault().expect("a fault");
    assert!(fault.contains("cannot write the audit trail"), "{fault}");
    assert_eq!(watched.set(), old);
    assert_eq!(watched.world.count("policy_reload_failed"), 1);
    watched
        .world
        .db
        .execute("ALTER TABLE gone RENAME TO audit_events");
    watched.looks(1);
    assert_eq!(watched.watch.fault(), None);
    let new = watched.set();
    assert_ne!(new, old);
    assert_eq!(watched.world.trail(&new).len(), 1);
}

fn the_start_is_recorded(kind: Kind) {
    let watched = Watched::new(kind);
    let caller = Caller::the_service(Uuid::from_u128(0x10ad));
    wait(watched.world.authority.record_policies(&caller)).expect("a record");
    let set = watched.set();
    let events = watched.world.trail(&set);
    assert_eq!(
        (events.len(), events[0].action.as_str()),
        (1, "policy-load")
    );
    assert_eq!(
        events[0].detail["policies"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(
        watched
            .world
            .count(&format!("policy_set_info{{sha256=\"{set}\"}}")),
        1
    );
    watched
        .world
        .db
        .execute("ALTER TABLE audit_events RENAME TO gone");
    assert!(wait(watched.world.authority.record_policies(&caller)).is_err());
    watched
        .world
        .db
        .execute("ALTER TABLE gone RENAME TO audit_events");
}
