//! Tests of whole sets, among them that slices decide like the whole set.

use std::collections::BTreeSet;
use std::fs;

use cedar_policy::{AuthorizationError, Authorizer, Decision};
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;
use uuid::Uuid;

use super::engine::files::Folder;
use super::engine::index::{Evaluation, Slices};
use super::engine::load;
use super::engine::request::{EntityNames, PolicyRequest};
use super::*;
use crate::domain::clock::from_unix;
use crate::domain::control::facts::ControlFacts;
use crate::domain::control::proof::Method;
use crate::domain::issuance::{RowFacts, RowPolicies as _};
use crate::domain::{AccountId, Role, TkType};

#[test]
fn the_built_in_policies_are_sound_and_their_cases_cover_them() {
    let report = PolicyReport::on(None);
    let odd = report.lines.iter();
    let odd: Vec<&ReportLine> = odd
        .filter(|line| !matches!(line, ReportLine::Sound(_)))
        .collect();
    assert_eq!(odd, Vec::<&ReportLine>::new());
    assert!(report.policies >= 9 && report.cases >= 25, "{report:?}");
    let policy = PolicySet::built_in().expect("the built-in policies");
    assert_eq!(Some(policy.set()), report.set.as_deref());
}

fn caller(role: Role, accounts: &[&str]) -> Caller {
    let accounts = accounts.iter().map(|id| id.parse().expect("an id"));
    Caller {
        id: "key".to_owned(),
        role,
        accounts: accounts.collect(),
        ..Caller::the_service(Uuid::nil())
    }
}

fn context(account: &AccountId) -> MintContext<'_> {
    MintContext {
        account,
        is_carrier: false,
        token: TokenContext {
            tktype: TkType::TnAuthList,
            ca: false,
            lifetime: 3600,
            entries: 1,
            numbers: 1,
            largest: 1,
            spcs: 0,
            renewal: false,
            at: from_unix(1_767_225_600),
        },
        rows: None,
    }
}

#[test]
fn no_permit_widens_a_role() {
    let folder = Folder::of(
        "all",
        &[(
            "all.cedar",
            "@id(\"all\") permit (principal, action, resource);",
        )],
        &[],
    );
    let policy = PolicySet::tested(&folder).expect("a policy");
    let (acme, other) = (
        "acme".parse().expect("an id"),
        "other".parse().expect("an id"),
    );
    for role in Role::ALL {
        let own = caller(role, &["acme"]);
        assert!(
            policy.may_mint(&own, &context(&other)).verdict.is_err(),
            "{role}"
        );
        assert!(
            policy.may_ask(&own, &context(&other)).verdict.is_err(),
            "{role}"
        );
        let mints = matches!(role, Role::Admin | Role::Portal | Role::Account);
        assert_eq!(
            policy.may_mint(&own, &context(&acme)).verdict.is_ok(),
            mints
        );
        let none = caller(role, &[]);
        let everywhere = policy.may_mint(&none, &context(&acme)).verdict.is_ok();
        assert_eq!(everywhere, role == Role::Admin, "{role}");
        let may = |action| policy.may(&none, action).verdict.is_ok();
        let all = [Action::Read, Action::Manage, Action::Provision].map(may);
        assert_eq!(
            all,
            match role {
                Role::Admin | Role::Provisioner => [true; 3],
                Role::Auditor => [true, false, false],
                Role::Portal | Role::Account | Role::Renewer => [false; 3],
            },
            "{role}"
        );
    }
}

#[test]
fn the_digest_equals_the_output_of_sha256sum() {
    let dir = TempDir::new().expect("a folder");
    for (name, text) in [("b.cedar", "// b\n"), ("a.cedar", "// a\n")] {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    let output = std::process::Command::new("sh")
        .args(["-c", "LC_ALL=C; sha256sum *.cedar | sha256sum"])
        .current_dir(dir.path())
        .output()
        .expect("sha256sum");
    let printed = String::from_utf8(output.stdout).expect("text");
    let digest = Folder::read(dir.path()).expect("a folder").digest();
    assert_eq!(printed.split(' ').next(), Some(digest.as_str()));
}

const TENANTS: [&str; 4] = ["acme", "other", "third", "carrier"];
const CALLERS: [&str; 3] = ["key", "another", "third"];

/// A tenant's policy with any scope, and a condition that is true, is false or fails.
fn random_policy() -> impl Strategy<Value = String> {
    let effect = select(vec!["permit", "forbid", "forbid"]);
    let principal = prop_oneof![
        3 => Just("principal".to_owned()),
        1 => Just("principal is Caller".to_owned()),
        2 => select(&CALLERS[..]).prop_map(|id| format!("principal == Caller::\"{id}\"")),
        1 => select(&CALLERS[..]).prop_map(|id| format!("principal in Caller::\"{id}\"")),
        1 => select(&CALLERS[..]).prop_map(|id| format!("principal is Caller in Caller::\"{id}\"")),
    ];
    let action = prop_oneof![
        1 => Just("action".to_owned()),
        3 => Just("action == Action::\"mint\"".to_owned()),
        1 => Just("action == Action::\"ask\"".to_owned()),
        1 => Just("action in [Action::\"ask\", Action::\"mint\"]".to_owned()),
    ];
    let resource = prop_oneof![
        2 => Just("resource".to_owned()),
        1 => Just("resource is Account".to_owned()),
        4 => select(&TENANTS[..]).prop_map(|id| format!("resource == Account::\"{id}\"")),
        1 => select(&TENANTS[..]).prop_map(|id| format!("resource in Account::\"{id}\"")),
        1 => select(&TENANTS[..]).prop_map(|id| format!("resource is Account in Account::\"{id}\"")),
    ];
    let condition = select(vec![
        "",
        "when { principal.role == \"account\" }",
        "when { context.lifetime > 3600 }",
        "unless { context.numbers < 5 }",
        "when { principal.accounts.contains(resource) }",
        "when { context.lifetime * 9223372036854775807 > 0 }",
        "unless { Account::\"nobody\".carrier }",
        "when { resource.carrier && context.lifetime * 9223372036854775807 > 0 }",
    ]);
    (effect, principal, action, resource, condition).prop_map(|(e, p, a, r, c)| {
        // The validator only accepts a condition if it fits every resource type of the actions.
        let a = if a == "action" && !c.is_empty() {
            "action == Action::\"mint\"".to_owned()
        } else if a == "action" && (r != "resource" || p != "principal") {
            "action in [Action::\"mint\", Action::\"ask\"]".to_owned()
        } else {
            a
        };
        format!("{e} ({p}, {a}, {r}) {c};")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Compares decision, reasons and errors of the slices with those of Cedar for the whole set.
    #[test]
    fn slices_decide_like_the_whole_set(
        policies in proptest::collection::vec(random_policy(), 1..40),
        role in select(Role::ALL.to_vec()),
        id in select(&CALLERS[..]),
        own in proptest::sample::subsequence(TENANTS.to_vec(), 0..=3),
        account in select(&TENANTS[..]),
        is_carrier in any::<bool>(),
        lifetime in select(vec![1_u32, 3600, 90_000]),
        numbers in select(vec![1_u64, 5, 1000]),
        mints in any::<bool>(),
    ) {
        let text = policies.join("\n");
        let folder = Folder::of("random", &[("random.cedar", &text)], &[]);
        let loaded = load::load(&folder).expect(&text);
        let names = EntityNames::new().expect("names");
        let slices = Slices::new(&loaded.policies, &names.actions()).expect("slices");
        let whole = cedar_policy::PolicySet::from_policies(loaded.policies.iter().cloned()).expect("a set");

        let mut caller = caller(role, &own);
        caller.id = id.to_owned();
        let account = account.parse().expect("an id");
        let mut context = context(&account);
        context.is_carrier = is_carrier;
        context.token = TokenContext { lifetime, numbers, ..context.token };
        let request = if mints { PolicyRequest::Mint(&context) } else { PolicyRequest::Ask(&context) };
        let (request, entities) = names.cedar_request(&caller, request).expect("a request");

        let response = Authorizer::new().is_authorized(&request, &whole, &entities);
        let failed: BTreeSet<String> = response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id().to_string())
            .collect();
        let reasons: BTreeSet<String> =
            response.diagnostics().reason().map(ToString::to_string).collect();
        let ids = if failed.is_empty() { &reasons } else { &failed };
        let expected = Evaluation {
            allowed: response.decision() == Decision::Allow && failed.is_empty(),
            failed: !failed.is_empty(),
            ids: ids.iter().cloned().collect(),
        };
        prop_assert_eq!(slices.decide(&request, &entities), expected);
    }
}

/// Requests that differ in everything that a policy can refer to, among them several instants.
fn differing_requests(account: &AccountId) -> Vec<(Caller, MintContext<'_>)> {
    let first = context(account);
    let with = |change: &dyn Fn(&mut MintContext<'_>)| {
        let mut other = first;
        change(&mut other);
        (caller(Role::Portal, &["acme", "zeta"]), other)
    };
    let later = |seconds: i64| with(&|a| a.token.at += chrono::TimeDelta::seconds(seconds));
    let mut other_caller = caller(Role::Portal, &["acme", "zeta"]);
    other_caller.id = "another".to_owned();
    vec![
        (caller(Role::Portal, &["acme", "zeta"]), first),
        (caller(Role::Portal, &["acme"]), first),
        (caller(Role::Admin, &["acme", "zeta"]), first),
        (other_caller, first),
        with(&|a| a.is_carrier = true),
        with(&|a| a.token.ca = true),
        with(&|a| a.token.renewal = true),
        with(&|a| a.token.lifetime = 1),
        with(&|a| a.token.entries = 9),
        with(&|a| a.token.numbers = 9),
        with(&|a| a.token.largest = 9),
        with(&|a| a.token.spcs = 9),
        later(1),
        later(3600),
        later(86_400),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In any order, and with any repetitions.
    #[test]
    fn cached_decisions_equal_fresh_ones(
        conditions in proptest::collection::vec(select(vec![
            "context.hour >= 1",
            "context has hour && context.hour >= 1",
            "context.weekday == 5",
            "context[\"time\"] > 1767225600",
            "context.time == 1767225600 && context.hour == 0",
            "context == context",
            "{c: context}.c.time > 1767225600",
            "context.lifetime == 1",
            "context.renewal",
            "context.ca || context.entries + context.numbers + context.largest + context.spcs > 5",
            "principal.role == \"admin\"",
            "principal == Caller::\"another\"",
            "principal.accounts.contains(Account::\"zeta\")",
            "resource.carrier",
        ]), 1..3),
        order in Just((0..30).map(|n| n % 15).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let forbids: Vec<String> = conditions
            .iter()
            .map(|condition| format!("forbid (principal, action == Action::\"mint\", resource) when {{ {condition} }};"))
            .collect();
        let text = format!("permit (principal, action, resource);\n{}", forbids.join("\n"));
        let policy = PolicySet::tested(&Folder::of("time", &[("time.cedar", &text)], &[])).expect(&text);
        let account = "acme".parse().expect("an id");
        let requests = differing_requests(&account);
        for n in order {
            let (caller, context) = &requests[n];
            prop_assert_eq!(policy.may_mint(caller, context), policy.decide_mint(caller, context), "{}", n);
        }
    }
}

fn random_rows() -> impl Strategy<Value = RowFacts> {
    let age = || select(vec![0_u64, 60, 86_400, 90_000, 7_776_000]);
    let methods = proptest::sample::subsequence(Method::ALL.to_vec(), 0..=3);
    let control = (any::<bool>(), age(), methods).prop_map(|(proven, age, methods)| ControlFacts {
        proven,
        age: proven.then_some(age),
        methods: methods.into_iter().collect(),
        ..ControlFacts::default()
    });
    (control, age(), age(), any::<bool>()).prop_map(|(control, key_age, delegation_age, first)| {
        RowFacts {
            control,
            key_age,
            delegation_age,
            first,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In any order and with any repetitions: a set that is asked in the transaction rules as a
    /// direct evaluation of the same context does, so no decision outlives the facts it was made
    /// on.
    #[test]
    fn rulings_in_the_transaction_equal_evaluations_of_the_same_context(
        conditions in proptest::collection::vec(select(vec![
            "context.control.proven",
            "context.control.age <= 86400",
            "context.control.methods.contains(\"sip\")",
            "context.control.methods.containsAll([\"sms\", \"voice\"])",
            "context has control && context.control.proven && context.renewal",
            "context.control.age + context.key_age > 86400",
            "context.key_age == 0",
            "context.delegation_age < 90000 && context.first",
            "context.first",
            "context.hour >= 1 && !context.first",
            "{a: context.control}.a.proven",
            "context == context && context.first",
            "context.control == context.control && context.lifetime == 1",
        ]), 1..4),
        rows in proptest::collection::vec(random_rows(), 1..6),
        order in proptest::collection::vec((0..15_usize, 0..6_usize), 1..40),
    ) {
        let forbids: Vec<String> = conditions
            .iter()
            .map(|condition| format!("forbid (principal, action == Action::\"mint\", resource) when {{ {condition} }};"))
            .collect();
        let text = format!("permit (principal, action, resource);\n{}", forbids.join("\n"));
        let folder = Folder::of("rows", &[("rows.cedar", &text)], &[]);
        let policy = Arc::new(PolicySet::tested(&folder).expect(&text));
        prop_assert!(policy.row_inputs().any());
        let account = "acme".parse().expect("an id");
        let requests = differing_requests(&account);
        for (n, m) in order {
            let ((caller, context), rows) = (&requests[n], &rows[m % rows.len()]);
            let asked = RulingInTransaction::new(Arc::clone(&policy), caller, context);
            let direct = MintContext { rows: Some(rows), ..*context };
            let direct = policy.decide_mint(caller, &direct);
            prop_assert_eq!(asked.rule(rows), direct, "{} {:?}", n, rows);
        }
    }
}

#[test]
fn policies_of_other_tenants_are_not_evaluated() {
    let text: Vec<String> = (0..50)
        .map(|n| {
            format!(
                "@id(\"t{n}\") forbid (principal, action == Action::\"mint\", resource == Account::\"t{n}\") \
                 when {{ context.lifetime * 9223372036854775807 > 0 }};"
            )
        })
        .collect();
    let text = format!(
        "@id(\"all\") permit (principal, action, resource);\n{}",
        text.join("\n")
    );
    let folder = Folder::of("tenants", &[("tenants.cedar", &text)], &[]);
    let policy = PolicySet::tested(&folder).expect("policies");
    let admin = caller(Role::Admin, &[]);
    let free = "acme".parse().expect("an id");
    assert_eq!(policy.may_mint(&admin, &context(&free)).by.ids(), ["all"]);
    let bound = "t7".parse().expect("an id");
    let ruling = policy.may_mint(&admin, &context(&bound));
    assert_eq!(
        (ruling.by.ids(), ruling.by.failed()),
        (&["t7".to_owned()][..], true)
    );
}
