//! Which policies decided, in the form that a grant, a refusal and the audit trail record.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

/// The most ids that are recorded of one decision. The others are counted.
const MAX_IDS: usize = 16;

/// The ids of the policies that decided, and the policy set that they belong to. Its size is
/// bounded: at most `MAX_IDS` ids, and the length of an id is limited when policies are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyTrace {
    /// Shared, since rulings are cached.
    ids: Arc<[String]>,
    left_out: usize,
    set: Option<Arc<str>>,
    failed: bool,
}

impl PolicyTrace {
    /// A trace of the policies of one set. With `failed`, their evaluation failed, which makes the
    /// decision a refusal.
    #[must_use]
    pub fn new(set: &Arc<str>, mut ids: Vec<String>, failed: bool) -> Self {
        ids.sort_unstable();
        ids.dedup();
        let left_out = ids.len().saturating_sub(MAX_IDS);
        ids.truncate(MAX_IDS);
        Self {
            ids: ids.into(),
            left_out,
            set: Some(Arc::clone(set)),
            failed,
        }
    }

    /// The ids in order, at most `MAX_IDS`. Empty if no policy matched, which is a refusal, or if a
    /// built-in rule decided.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// How many more policies decided than `ids` lists.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// SHA-256 of the policy set, in hex; `None` for grants recorded before this was stored.
    #[must_use]
    pub fn set(&self) -> Option<&str> {
        self.set.as_deref()
    }

    /// Whether these policies could not be evaluated.
    #[must_use]
    pub const fn failed(&self) -> bool {
        self.failed
    }

    /// The ids as one database column stores them: `one two +3`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.ids.join(" ");
        if self.left_out > 0 {
            let _ = write!(text, " +{}", self.left_out);
        }
        text
    }

    /// Reads what [`Self::to_text`] wrote.
    #[must_use]
    pub fn from_text(text: &str, set: Option<&str>) -> Self {
        let (mut ids, mut left_out) = (Vec::new(), 0);
        for word in text.split_whitespace() {
            match word.strip_prefix('+') {
                Some(count) => left_out = count.parse().unwrap_or_default(),
                None => ids.push(word.to_owned()),
            }
        }
        Self {
            ids: ids.into(),
            left_out,
            set: set.map(Arc::from),
            failed: false,
        }
    }

    /// Adds the policies to the detail of an audit event, which must be an object.
    pub fn add_to(&self, detail: &mut Value) {
        let (Some(set), Some(members)) = (self.set(), detail.as_object_mut()) else {
            return;
        };
        members.insert("policies".to_owned(), json!(self.ids()));
        if self.left_out > 0 {
            members.insert("policies_left_out".to_owned(), json!(self.left_out));
        }
        if self.failed {
            members.insert("policies_failed".to_owned(), json!(true));
        }
        members.insert("policy_set".to_owned(), json!(set));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sorted_bounded_and_read_back() {
        let set: Arc<str> = "5e".repeat(32).into();
        let ids: Vec<String> = (0..40).rev().map(|n| format!("p{n:02}")).collect();
        let many = PolicyTrace::new(&set, ids, false);
        assert_eq!(
            (many.ids().len(), many.ids()[0].as_str(), many.left_out()),
            (16, "p00", 24)
        );
        assert_eq!(
            PolicyTrace::from_text(&many.to_text(), many.set()),
            many.clone()
        );
        let two = PolicyTrace::new(&set, vec!["b".into(), "a".into(), "b".into()], true);
        assert_eq!(two.to_text(), "a b");
        let mut detail = json!({ "reason": "x" });
        two.add_to(&mut detail);
        assert_eq!(
            detail,
            json!({ "reason": "x", "policies": ["a", "b"], "policies_failed": true, "policy_set": *set })
        );
        assert_eq!(PolicyTrace::from_text("", None), PolicyTrace::default());
    }
}
