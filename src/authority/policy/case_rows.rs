//! What a test case says of rows. By default, nothing is remarkable: all numbers are proven, and
//! the account has had its numbers and its key for a year.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::domain::control::facts::{ControlFacts, KeyControl, coarse_down, coarse_up};
use crate::domain::control::proof::Method;
use crate::domain::issuance::RowFacts;

/// A year, in seconds.
const LONG_AGO: u64 = 365 * 86_400;

/// The members of a case that describe rows.
pub(super) struct RowsText {
    pub(super) control: Option<ControlText>,
    pub(super) key_age: Option<u64>,
    pub(super) delegation_age: Option<u64>,
    pub(super) first: Option<bool>,
}

/// `control = { proven = false }`, or `control = { age = 3600, methods = ["sip"] }`. By default the
/// proofs name the key of the request; with `for_key = false` or another `for_key_age` they do not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlText {
    proven: Option<bool>,
    age: Option<u64>,
    methods: Option<Vec<String>>,
    for_key: Option<bool>,
    for_key_age: Option<u64>,
}

impl RowsText {
    /// Whether the case says anything of rows.
    pub(super) const fn is_given(&self) -> bool {
        self.control.is_some()
            || self.key_age.is_some()
            || self.delegation_age.is_some()
            || self.first.is_some()
    }

    /// Ages are rounded as the service rounds them.
    pub(super) fn parse(self) -> Result<RowFacts, String> {
        let age = |age: Option<u64>| coarse_down(age.unwrap_or(LONG_AGO));
        let control = self
            .control
            .map_or_else(|| Ok(proven(0)), ControlText::parse);
        Ok(RowFacts {
            control: control?,
            key_age: age(self.key_age),
            delegation_age: age(self.delegation_age),
            first: self.first.unwrap_or(false),
        })
    }
}

impl ControlText {
    fn parse(self) -> Result<ControlFacts, String> {
        let methods = self.methods.map(|methods| {
            let methods = methods.iter().map(|method| {
                let method = method.parse::<Method>();
                method.map_err(|e| format!("`control.methods`: {e}"))
            });
            methods.collect::<Result<BTreeSet<Method>, String>>()
        });
        let methods = methods.transpose()?;
        match (self.proven.unwrap_or(self.age.is_some()), self.age) {
            (false, Some(_)) => Err("`control.age` goes with `proven = true`".to_owned()),
            (false, None) if self.for_key == Some(true) || self.for_key_age.is_some() => {
                Err("what is not proven is not proven for the key, either".to_owned())
            }
            (true, age)
                if self.for_key_age.is_some_and(|for_key| {
                    self.for_key == Some(false) || for_key < age.unwrap_or_default()
                }) =>
            {
                Err(
                    "`control.for_key_age` is that of a proof, so at least `control.age`"
                        .to_owned(),
                )
            }
            (true, _) if methods.as_ref().is_some_and(BTreeSet::is_empty) => {
                Err("`control` is impossible: what is proven has a method".to_owned())
            }
            (false, None) => Ok(ControlFacts {
                methods: methods.unwrap_or_default(),
                ..ControlFacts::default()
            }),
            (true, age) => {
                let facts = proven(age.unwrap_or_default());
                let methods = methods.unwrap_or_else(|| facts.methods.clone());
                let for_key = KeyControl {
                    proven: true,
                    age: self.for_key_age.map(coarse_up).or(facts.age),
                    methods: methods.clone(),
                };
                Ok(ControlFacts {
                    for_key: if self.for_key.unwrap_or(true) {
                        for_key
                    } else {
                        KeyControl::default()
                    },
                    methods,
                    ..facts
                })
            }
        }
    }
}

fn proven(age: u64) -> ControlFacts {
    ControlFacts {
        proven: true,
        age: Some(coarse_up(age)),
        methods: BTreeSet::from([Method::Sms]),
        for_key: KeyControl {
            proven: true,
            age: Some(coarse_up(age)),
            methods: BTreeSet::from([Method::Sms]),
        },
        ..ControlFacts::default()
    }
}
