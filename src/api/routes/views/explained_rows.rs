//! What policies refer to of proofs of control and earlier tokens, in an explanation.

use serde::Serialize;
use utoipa::ToSchema;

use crate::authority::Explained;
use crate::domain::decision::control_lack::ControlLack;
use crate::domain::decision::denial::Subject;

/// What policies refer to of rows; only what a policy refers to is present.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRows)]
pub(in crate::api) struct ExplainedRowsView {
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<ExplainedControlView>,
    /// Seconds since the account's first token for the ACME account key; 0 for a new key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, example = 86400)]
    key_age: Option<u64>,
    /// Seconds since the account has had delegations for all of the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, example = 2_592_000)]
    delegation_age: Option<u64>,
    /// Whether an entry of the list was not yet in a token of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<bool>,
}

/// What is known of control of the numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedControl)]
pub(in crate::api) struct ExplainedControlView {
    /// Whether each number that has to be proven has a proof that counts.
    proven: bool,
    /// Seconds since the oldest of these proofs, rounded up; null if not proven.
    #[schema(minimum = 0, example = 3600)]
    age: Option<u64>,
    /// How the numbers with a proof were reached.
    #[schema(example = json!(["sms"]))]
    methods: Vec<&'static str>,
    /// Seconds since the oldest of the proofs that name the ACME account key, rounded up; null if
    /// the numbers are not proven for this key.
    #[schema(minimum = 0, example = 3600)]
    for_key_age: Option<u64>,
    /// Whether a sample stands for the list. Without `numbers`, it is drawn when the token is
    /// requested.
    sample: bool,
    /// The numbers that have to be proven; empty if the list is too long for it.
    numbers: Vec<NumberControlView>,
    /// The numbers for which to start a proof, because the policies do not accept what there is.
    #[schema(example = json!(["+12125551001"]))]
    start: Vec<String>,
}

/// A number, and its newest proof that counts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NumberControl)]
pub(in crate::api) struct NumberControlView {
    #[schema(example = "+12125551001")]
    number: String,
    /// Seconds since the proof was confirmed, rounded up; null if there is none.
    #[schema(minimum = 0, example = 3600)]
    age: Option<u64>,
    /// How the number was reached.
    #[schema(example = "sms")]
    method: Option<&'static str>,
}

impl From<&Explained> for ExplainedRowsView {
    fn from(explained: &Explained) -> Self {
        let (asked, rows) = (explained.row_inputs, &explained.facts.rows);
        Self {
            control: asked.control.then(|| ExplainedControlView::from(explained)),
            key_age: asked.key_age.then_some(rows.key_age),
            delegation_age: asked.delegation_age.then_some(rows.delegation_age),
            first: asked.first.then_some(rows.first),
        }
    }
}

impl From<&Explained> for ExplainedControlView {
    fn from(explained: &Explained) -> Self {
        let control = &explained.facts.rows.control;
        let numbers = control.numbers.iter();
        Self {
            proven: control.proven,
            age: control.age,
            methods: control.methods.iter().map(|one| one.as_str()).collect(),
            for_key_age: control.for_key.age,
            sample: control.is_sample,
            numbers: numbers
                .map(|(number, proof)| NumberControlView {
                    number: number.to_string(),
                    age: proof.map(|proof| proof.age),
                    method: proof.map(|proof| proof.method.as_str()),
                })
                .collect(),
            start: explained.lack.as_deref().map(start).unwrap_or_default(),
        }
    }
}

fn start(lack: &ControlLack) -> Vec<String> {
    let refused = lack.refused.iter();
    let numbers = refused.filter_map(|part| match &part.subject {
        Subject::Numbers(numbers) => Some(numbers.first().to_string()),
        Subject::Spc(_) => None,
    });
    numbers.collect()
}
