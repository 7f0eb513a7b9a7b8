//! What can be asked of a world: why something is decided as it is, the ledger, the audit trail and the metrics.

use tn_authority::authority::{ExplainRequest, Explained, IssueError, Issued, NumberHistory};
use tn_authority::domain::tokens::grant::Grant;
use tn_authority::domain::{AuditEvent, Role, Time};
use tn_authority::store::{EventFilter, GrantFilter, Page};

use super::{World, account, numbers};

impl World {
    /// What would be decided for the account.
    pub fn explains(&self, id: &str, texts: &[&str], ca: bool) -> Explained {
        let question = ExplainRequest {
            account: account(id),
            numbers: texts.iter().map(|text| numbers(text)).collect(),
            ca,
            lifetime: None,
            fingerprint: None,
        };
        self.authority
            .explain(&self.caller(Role::Auditor, &[]), &question)
            .expect("an explanation")
    }

    pub fn looks_up(&self, text: &str, at: Option<Time>) -> NumberHistory {
        let number = text.parse().expect("a number");
        self.authority
            .look_up(&self.caller(Role::Auditor, &[]), number, at)
            .expect("what is known")
    }

    /// The whole ledger.
    pub fn grants(&self) -> Vec<Grant> {
        let all = |page: &Page| {
            self.authority
                .store()
                .read(|tx| tx.list_grants(&GrantFilter::default(), page))
        };
        let (mut grants, mut cursor) = (Vec::new(), None);
        loop {
            let page = all(&Page::new(Page::MAX_LIMIT, cursor)).expect("grants");
            grants.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return grants,
            }
        }
    }

    pub fn grant_of(&self, issued: &Issued) -> Grant {
        let grant = self
            .authority
            .store()
            .read(|tx| tx.grant(&issued.jti))
            .expect("the ledger");
        grant.expect("a grant for each token")
    }

    /// What the audit trail says of something.
    pub fn trail(&self, subject: &str) -> Vec<AuditEvent> {
        let page = Page::new(Page::MAX_LIMIT, None);
        let filter = EventFilter {
            subject: Some(subject.to_owned()),
            ..EventFilter::default()
        };
        self.authority
            .store()
            .read(|tx| tx.list_audit_events(&filter, &page))
            .expect("the trail")
            .items
    }

    /// The value of a metric that counts.
    pub fn count(&self, name: &str) -> u64 {
        let value = self.metric(name);
        format!("{value}").parse().expect("a count")
    }

    /// The value of a metric, by its name and labels; 0 if it was never counted.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.render().expect("metrics");
        let line = text.lines().find_map(|line| {
            line.strip_prefix("tn_authority_")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        });
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

/// The code of the denial; a failure of any other kind is no denial.
pub fn code(outcome: &Result<Issued, IssueError>) -> String {
    match outcome {
        Err(IssueError::Denied(denial)) => denial.code().to_owned(),
        other => panic!("expected a denial, got {other:?}"),
    }
}

/// What exactly was refused, and why: `("+12125552000", "not-delegated")`.
pub fn outside(outcome: &Result<Issued, IssueError>) -> Vec<(String, String)> {
    match outcome {
        Err(IssueError::Denied(denial)) => denial
            .refusals()
            .iter()
            .map(|r| (r.subject.to_string(), r.cause.code().to_owned()))
            .collect(),
        other => panic!("expected a denial, got {other:?}"),
    }
}
