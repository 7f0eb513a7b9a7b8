//! Test cases of a set of policies: a request, and the expected decision. They are in
//! `tests/*.toml`, next to the policies. A set with a failing case is not used.

use std::collections::HashSet;

use serde::Deserialize;
use uuid::Uuid;

use super::case_rows::{ControlText, RowsText};
use super::engine::files::{Folder, TextFile};
use super::error::{PolicyError, PolicyFault};
use super::{Action, MintContext, PolicySet, Ruling, TokenContext};
use crate::domain::clock::parse_time;
use crate::domain::issuance::RowFacts;
use crate::domain::text::for_people::text_for_people;
use crate::domain::{AccountId, Caller, Denial, TkType};

/// How many cases a set can have.
const MAX_CASES: usize = 10_000;

/// One case.
#[derive(Debug)]
pub(super) struct PolicyCase {
    /// The name of its file.
    pub file: String,
    pub name: String,
    caller: Caller,
    request: CaseRequest,
    expected: Expected,
}

#[derive(Debug)]
enum CaseRequest {
    Ask(CaseAccount),
    Mint(CaseAccount),
    Do(Action),
}

#[derive(Debug)]
struct CaseAccount {
    id: AccountId,
    is_carrier: bool,
    token: TokenContext,
    rows: RowFacts,
}

#[derive(Debug)]
struct Expected {
    /// The code of the refusal. `None` if the request is allowed.
    code: Option<String>,
    /// The policies that decide, if the case names them.
    by: Option<Vec<String>>,
}

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    case: Vec<toml::Spanned<CaseText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: String,
    caller: CallerText,
    action: ActionText,
    account: Option<String>,
    #[serde(default)]
    carrier: bool,
    token: Option<TokenText>,
    /// The time of the request. By default a Monday at noon.
    at: Option<String>,
    /// What is known of rows.
    control: Option<ControlText>,
    key_age: Option<u64>,
    delegation_age: Option<u64>,
    first: Option<bool>,
    expect: Expectation,
    code: Option<String>,
    by: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallerText {
    #[serde(default = "default_id")]
    id: String,
    role: String,
    #[serde(default)]
    accounts: Vec<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum ActionText {
    Ask,
    Mint,
    MintClaimConstraints,
    Read,
    Manage,
    Provision,
}

/// The token of a request. By default, one entry with one number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TokenText {
    ca: bool,
    lifetime: u32,
    entries: u64,
    numbers: u64,
    /// By default, all numbers are in one range.
    largest: Option<u64>,
    spcs: u64,
    /// Whether the request uses a renewal right.
    renewal: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Expectation {
    Allow,
    Deny,
}

impl Default for TokenText {
    fn default() -> Self {
        Self {
            ca: false,
            lifetime: 3600,
            entries: 1,
            numbers: 1,
            largest: None,
            spcs: 0,
            renewal: false,
        }
    }
}

fn default_id() -> String {
    "somebody".to_owned()
}

/// Reads the cases of a folder. The error has all faults of all files.
pub(super) fn read(folder: &Folder) -> Result<Vec<PolicyCase>, PolicyError> {
    let (mut cases, mut faults) = (Vec::new(), Vec::new());
    for file in &folder.tests {
        match read_file(file) {
            Ok(found) => cases.extend(found),
            Err(found) => faults.extend(found),
        }
        if cases.len() > MAX_CASES {
            return Err(PolicyError::TooMany(format!("more than {MAX_CASES} cases")));
        }
    }
    if faults.is_empty() {
        Ok(cases)
    } else {
        Err(PolicyError::Faulty(faults))
    }
}

fn read_file(file: &TextFile) -> Result<Vec<PolicyCase>, Vec<PolicyFault>> {
    let at = |byte, why: &dyn std::fmt::Display| PolicyFault::at(&file.name, &file.text, byte, why);
    let text: FileText = toml::from_str(&file.text)
        .map_err(|e| vec![at(e.span().map(|span| span.start), &e.message())])?;
    let (mut cases, mut faults) = (Vec::new(), Vec::new());
    let mut names = HashSet::new();
    for case in text.case {
        let start = case.span().start;
        let case = case.into_inner();
        let name = case.name.clone();
        let is_new = names.insert(name.clone());
        match case.parse(&file.name) {
            Ok(_) if !is_new => faults.push(at(
                Some(start),
                &format_args!("another case is named `{name}`"),
            )),
            Ok(case) => cases.push(case),
            Err(why) => faults.push(at(Some(start), &format_args!("`{name}`: {why}"))),
        }
    }
    if faults.is_empty() {
        Ok(cases)
    } else {
        Err(faults)
    }
}

impl CaseText {
    fn parse(self, file: &str) -> Result<PolicyCase, String> {
        if self.name.is_empty() || text_for_people(&self.name).is_err() {
            return Err("`name` must say what the case shows, in one line".to_owned());
        }
        let expected = match (self.expect, self.code) {
            (Expectation::Allow, Some(_)) => {
                return Err("`code` goes with `expect = \"deny\"`".to_owned());
            }
            (Expectation::Deny, None) => {
                return Err("`code` is missing: the code of the refusal".to_owned());
            }
            (Expectation::Allow, None) => None,
            (Expectation::Deny, Some(code)) => Some(code),
        };
        let accounts = self.caller.accounts.iter().map(|id| account(id));
        let caller = Caller {
            id: self.caller.id,
            role: self.caller.role.parse().map_err(|e| format!("{e}"))?,
            accounts: accounts.collect::<Result<_, _>>()?,
            ..Caller::the_service(Uuid::nil())
        };
        let has_token_members =
            self.account.is_some() || self.carrier || self.token.is_some() || self.at.is_some();
        let rows = RowsText {
            control: self.control,
            key_age: self.key_age,
            delegation_age: self.delegation_age,
            first: self.first,
        };
        let has_rows = rows.is_given();
        let tktype = match self.action {
            ActionText::MintClaimConstraints => TkType::JwtClaimConstraints,
            ActionText::Ask
            | ActionText::Mint
            | ActionText::Read
            | ActionText::Manage
            | ActionText::Provision => TkType::TnAuthList,
        };
        let parse_account = || {
            let id = self.account.as_deref().ok_or("`account` is missing")?;
            Ok::<_, String>(CaseAccount {
                id: account(id)?,
                is_carrier: self.carrier,
                token: self
                    .token
                    .unwrap_or_default()
                    .parse(tktype, self.at.as_deref())?,
                rows: rows.parse()?,
            })
        };
        let request = match self.action {
            ActionText::Ask => CaseRequest::Ask(parse_account()?),
            ActionText::Mint | ActionText::MintClaimConstraints => {
                CaseRequest::Mint(parse_account()?)
            }
            ActionText::Read => CaseRequest::Do(Action::Read),
            ActionText::Manage => CaseRequest::Do(Action::Manage),
            ActionText::Provision => CaseRequest::Do(Action::Provision),
        };
        if has_token_members && matches!(request, CaseRequest::Do(_)) {
            let why = "`account`, `carrier`, `token` and `at` only go with `ask`, `mint` and `mint-claim-constraints`";
            return Err(why.to_owned());
        }
        if has_rows && !matches!(request, CaseRequest::Mint(_)) {
            let why = "`control`, `key_age`, `delegation_age` and `first` only go with `mint` and `mint-claim-constraints`";
            return Err(why.to_owned());
        }
        Ok(PolicyCase {
            file: file.to_owned(),
            name: self.name,
            caller,
            request,
            expected: Expected {
                code: expected,
                by: self.by,
            },
        })
    }
}

impl TokenText {
    fn parse(self, tktype: TkType, at: Option<&str>) -> Result<TokenContext, String> {
        let largest = self.largest.unwrap_or(self.numbers);
        if largest > self.numbers || self.spcs > self.entries {
            return Err(
                "`token` is impossible: `largest` is at most `numbers`, and `spcs` at most `entries`"
                    .to_owned(),
            );
        }
        Ok(TokenContext {
            tktype,
            ca: self.ca,
            lifetime: self.lifetime,
            entries: self.entries,
            numbers: self.numbers,
            largest,
            spcs: self.spcs,
            renewal: self.renewal,
            at: parse_time(at.unwrap_or("2026-01-05T12:00:00Z"))
                .map_err(|e| format!("`at`: {e}"))?,
        })
    }
}

fn account(id: &str) -> Result<AccountId, String> {
    id.parse()
        .map_err(|e| format!("`{}`: {e}", id.escape_debug()))
}

impl PolicyCase {
    /// Evaluates the request. The fault says how the decision differs from the expected one.
    pub(super) fn run(&self, policy: &PolicySet) -> (Ruling, Result<(), PolicyFault>) {
        let ruling = match &self.request {
            CaseRequest::Ask(account) => policy.may_ask(&self.caller, &account.context()),
            CaseRequest::Mint(account) => policy.may_mint(&self.caller, &account.context()),
            CaseRequest::Do(action) => policy.may(&self.caller, *action),
        };
        let code = ruling.verdict.as_ref().err().map(Denial::code);
        let by = self.expected.by.as_ref().map(|by| {
            let mut by = by.clone();
            by.sort_unstable();
            by
        });
        let as_expected = code == self.expected.code.as_deref()
            && by.as_ref().is_none_or(|by| by == ruling.by.ids());
        let outcome = if as_expected {
            Ok(())
        } else {
            let expected = described(self.expected.code.as_deref(), by.as_deref());
            let actual = described(code, Some(ruling.by.ids()));
            let why = format!(
                "`{}`: expected {expected}, but the decision is {actual}",
                self.name
            );
            Err(PolicyFault::of(&self.file, why))
        };
        (ruling, outcome)
    }
}

impl CaseAccount {
    fn context(&self) -> MintContext<'_> {
        MintContext {
            account: &self.id,
            is_carrier: self.is_carrier,
            token: self.token,
            rows: Some(&self.rows),
        }
    }
}

fn described(code: Option<&str>, by: Option<&[String]>) -> String {
    let decision = code.map_or_else(|| "allow".to_owned(), |code| format!("deny with `{code}`"));
    match by {
        None => decision,
        Some([]) => format!("{decision} by no policy"),
        Some(by) => format!("{decision} by `{}`", by.join("`, `")),
    }
}
