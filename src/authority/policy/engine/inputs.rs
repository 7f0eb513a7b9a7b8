//! Which members of the context the policies of a set refer to. It decides what is part of a cache
//! key, which facts are loaded, and whether the set is asked before the queue or in the
//! transaction.

use cedar_policy::Policy;
use serde_json::Value;

use super::request::{hour_of, weekday_of};
use crate::domain::clock::Time;
use crate::domain::issuance::RowInputs;

/// The parts of the context that some policy refers to, and that differ from one request to the
/// next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::authority::policy) struct ContextInputs {
    pub time: TimeInputs,
    pub rows: RowInputs,
}

/// The parts of the time that some policy refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::authority::policy) struct TimeInputs {
    pub time: bool,
    pub hour: bool,
    pub weekday: bool,
}

impl ContextInputs {
    const ALL: Self = Self {
        time: TimeInputs {
            time: true,
            hour: true,
            weekday: true,
        },
        rows: RowInputs::ALL,
    };

    /// Recurses as deep as the policies are nested, so it has to run on the large stack of their
    /// loader.
    pub(in crate::authority::policy) fn of(policies: &[Policy]) -> Self {
        let mut inputs = Self::default();
        for policy in policies {
            match policy.to_json() {
                Ok(policy) => inputs.scan(&policy),
                // Assume the worst.
                Err(_) => return Self::ALL,
            }
        }
        inputs
    }

    /// Scans an expression in Cedar's JSON format. A policy refers either to a member of the
    /// context by name, or to the context as a whole, and then to all parts.
    fn scan(&mut self, expression: &Value) {
        match expression {
            Value::Array(parts) => parts.iter().for_each(|part| self.scan(part)),
            Value::Object(members) => {
                for (operator, operand) in members {
                    if operator == "Var" && operand == "context" {
                        *self = Self::ALL;
                    } else if let (true, Some(name)) =
                        (matches!(operator.as_str(), "." | "has"), member(operand))
                    {
                        self.add(name);
                    } else {
                        self.scan(operand);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn add(&mut self, member: &str) {
        match member {
            "time" => self.time.time = true,
            "hour" => self.time.hour = true,
            "weekday" => self.time.weekday = true,
            "control" => self.rows.control = true,
            "key_age" => self.rows.key_age = true,
            "delegation_age" => self.rows.delegation_age = true,
            "first" => self.rows.first = true,
            // The rest is part of every cache key.
            _ => {}
        }
    }
}

impl TimeInputs {
    /// The parts of an instant that the policies refer to; the other bytes are zero.
    pub(in crate::authority::policy) fn of_time(self, at: Time) -> [u8; 16] {
        let mut parts = [0; 16];
        let (time, rest) = parts.split_at_mut(8);
        let (hour, weekday) = rest.split_at_mut(4);
        if self.time {
            time.copy_from_slice(&at.timestamp().to_be_bytes());
        }
        if self.hour {
            hour.copy_from_slice(&hour_of(at).to_be_bytes());
        }
        if self.weekday {
            weekday.copy_from_slice(&weekday_of(at).to_be_bytes());
        }
        parts
    }
}

/// The name of a member of the context, if the operand refers to one.
fn member(operand: &Value) -> Option<&str> {
    let is_context = operand.get("left")?.get("Var")?.as_str()? == "context";
    // `has` can name a member of a member, and then lists all of them.
    let named = operand.get("attr").filter(|_| is_context)?;
    named.as_str().or_else(|| named.get(0)?.as_str())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn rows(condition: &str) -> RowInputs {
        let text = format!(
            "permit (principal, action == Action::\"mint\", resource) when {{ {condition} }};"
        );
        let set = cedar_policy::PolicySet::from_str(&text).expect(&text);
        let policies: Vec<Policy> = set.policies().cloned().collect();
        ContextInputs::of(&policies).rows
    }

    #[test]
    fn each_way_to_refer_to_rows_is_found() {
        let none = RowInputs::default();
        let control = RowInputs {
            control: true,
            ..none
        };
        for (condition, expected) in [
            ("context.numbers > 1 && context.renewal", none),
            ("principal has control", none),
            ("{control: 1}.control == 1", none),
            ("context.control.proven", control),
            ("context[\"control\"][\"age\"] < 60", control),
            ("context has control", control),
            ("context has control.age", control),
            ("context.control.methods.containsAny([\"sip\"])", control),
            ("if true then context.control.proven else false", control),
            ("{a: context.control}.a.proven", control),
            ("[context.control.age].contains(60)", control),
            (
                "context.key_age == 0",
                RowInputs {
                    key_age: true,
                    ..none
                },
            ),
            (
                "context.first || context.delegation_age < 60",
                RowInputs {
                    first: true,
                    delegation_age: true,
                    ..none
                },
            ),
            ("context == context", RowInputs::ALL),
            ("{a: context}.a.control.proven", RowInputs::ALL),
            ("(if true then context else context).first", RowInputs::ALL),
        ] {
            assert_eq!(rows(condition), expected, "{condition}");
        }
    }
}
