//! Files become policies: parsed, named, held against the schema. Whatever is in doubt is refused, file by file.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::str::FromStr as _;
use std::thread;

use cedar_policy::{
    Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator,
};
use miette::Diagnostic;

use super::cache::TimeInputs;
use super::files::{Folder, TextFile};
use super::nesting;
use crate::authority::policy::error::{PolicyError, PolicyFault};
use crate::domain::Denial;

/// How many policies a set may have: as many as are loaded in seconds.
const MAX_POLICIES: usize = 10_000;
/// The stack of the thread that reads them: enough for the deepest policy that `shape` lets through.
const STACK: usize = 128 * 1024 * 1024;
/// How long an id and a code may be.
const MAX_WORD: usize = 64;
/// How long a message may be.
const MAX_MESSAGE: usize = 300;

pub(in crate::authority::policy) const SCHEMA: &str =
    include_str!("../../../../policies/tn-authority.cedarschema");

/// The policies of a folder, and what there is to say of them.
#[derive(Debug)]
pub(in crate::authority::policy) struct Loaded {
    /// In the order of their files.
    pub policies: Vec<Policy>,
    /// How many policies each file has.
    pub counts: Vec<(String, usize)>,
    pub schema: Schema,
    pub looks: TimeInputs,
    /// What is no fault and should be looked at.
    pub warnings: Vec<PolicyFault>,
}

/// Reads the policies of a folder.
///
/// # Errors
/// [`PolicyError`] with all faults of all files; what does not fit the schema is only told when all files can be read.
pub(in crate::authority::policy) fn load(folder: &Folder) -> Result<Loaded, PolicyError> {
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("policies".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || load_here(folder));
        let lost = || PolicyError::Schema("the reader of policies ended".to_owned());
        let reader = reader.map_err(|e| PolicyError::Schema(e.to_string()))?;
        reader.join().unwrap_or_else(|_| Err(lost()))
    })
}

fn load_here(folder: &Folder) -> Result<Loaded, PolicyError> {
    let mut reading = Reading::default();
    for file in &folder.policies {
        reading.file(file)?;
    }
    if !reading.faults.is_empty() {
        return Err(PolicyError::Faulty(reading.faults));
    }
    if reading.policies.is_empty() {
        return Err(PolicyError::None(folder.called.clone()));
    }
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|e| PolicyError::Schema(e.to_string()))?;
    reading.validate(folder, &schema)?;
    let copies = folder.schemas.iter().filter(|copy| copy.text != SCHEMA);
    reading.warnings.extend(copies.map(|copy| {
        PolicyFault::of(
            &copy.name,
            "differs from the service's own schema, which is the one that counts",
        )
    }));
    Ok(Loaded {
        looks: TimeInputs::of(&reading.policies),
        policies: reading.policies,
        counts: reading.counts,
        schema,
        warnings: reading.warnings,
    })
}

#[derive(Default)]
struct Reading {
    policies: Vec<Policy>,
    counts: Vec<(String, usize)>,
    /// Where each id was found.
    files: HashMap<String, String>,
    faults: Vec<PolicyFault>,
    warnings: Vec<PolicyFault>,
}

impl Reading {
    fn file(&mut self, file: &TextFile) -> Result<(), PolicyError> {
        if let Err(fault) = nesting::look(file) {
            self.faults.push(fault);
            return Ok(());
        }
        let parsed = match PolicySet::from_str(&file.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                let faults = errors.iter().map(|error| located(file, error));
                self.faults.extend(faults);
                return Ok(());
            }
        };
        if parsed.templates().next().is_some() {
            let why = "templates are not used here (`?principal`, `?resource`)";
            let at = file.text.find("?principal");
            let at = at.or_else(|| file.text.find("?resource"));
            self.faults
                .push(PolicyFault::at(&file.name, &file.text, at, why));
        }
        let count = parsed.num_of_policies();
        if self.policies.len() + count > MAX_POLICIES {
            return Err(PolicyError::TooMany(format!(
                "a set has at most {MAX_POLICIES} policies, and with `{}` there are {}",
                file.name,
                self.policies.len() + count
            )));
        }
        // Cedar names them by their place in the file, from `policy0` on, and keeps no order.
        let mut policies: Vec<(usize, &Policy)> = parsed
            .policies()
            .map(|policy| (place(policy), policy))
            .collect();
        policies.sort_unstable_by_key(|(place, _)| *place);
        for (place, policy) in policies {
            self.policy(file, place, policy);
        }
        self.counts.push((file.name.clone(), count));
        Ok(())
    }

    fn policy(&mut self, file: &TextFile, place: usize, policy: &Policy) {
        let fault = |why: String| PolicyFault::of(&file.name, why);
        let id = match policy.annotation("id") {
            Some(id) if is_word(id, b"._-") => id.to_owned(),
            Some(id) => {
                self.faults.push(fault(format!(
                    "`@id(\"{}\")` is not 1 to {MAX_WORD} letters, digits, `.`, `_` and `-`",
                    id.escape_debug()
                )));
                return;
            }
            None => {
                let id = format!("{}:{}", file.name, place + 1);
                self.warnings.push(fault(format!(
                    "policy {} has no `@id`, so it is called `{id}`, which changes with its place",
                    place + 1
                )));
                id
            }
        };
        self.words(file, &id, policy);
        if let Some(other) = self.files.insert(id.clone(), file.name.clone()) {
            self.faults.push(fault(format!(
                "`@id(\"{id}\")` is that of another policy already, in `{other}`"
            )));
            return;
        }
        self.policies.push(policy.new_id(PolicyId::new(id)));
    }

    /// Checks the code and the message, which are shown to callers.
    fn words(&mut self, file: &TextFile, id: &str, policy: &Policy) {
        let fault = |why: String| PolicyFault::of(&file.name, format_args!("`{id}`: {why}"));
        let (code, message) = (policy.annotation("code"), policy.annotation("message"));
        if let Some(code) = code {
            let is_kebab = is_word(code, b"-")
                && !code.bytes().any(|b| b.is_ascii_uppercase())
                && !code.starts_with('-');
            if !is_kebab {
                self.faults.push(fault(format!(
                    "the `@code` is not 1 to {MAX_WORD} small letters, digits and `-`"
                )));
            } else if Denial::CODES_OF_RULES.contains(&code) {
                self.faults.push(fault(format!(
                    "the code `{code}` is that of a rule of the service"
                )));
            }
        }
        let is_shown = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        };
        if message.is_some_and(|text| text.len() > MAX_MESSAGE || !is_shown(text)) {
            self.faults.push(fault(format!(
                "the `@message` is not 1 to {MAX_MESSAGE} printable ASCII characters"
            )));
        }
        if policy.effect() == Effect::Permit && (code.is_some() || message.is_some()) {
            self.warnings.push(fault(
                "is a `permit`, whose `@code` and `@message` nobody is shown".to_owned(),
            ));
        }
    }

    fn validate(&mut self, folder: &Folder, schema: &Schema) -> Result<(), PolicyError> {
        let set = PolicySet::from_policies(self.policies.iter().cloned())
            .map_err(|e| PolicyError::Schema(e.to_string()))?;
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        let file_of = |id: &PolicyId| {
            let name = self.files.get(AsRef::<str>::as_ref(id));
            folder.policies.iter().find(|file| Some(&file.name) == name)
        };
        let found = |id: &PolicyId, error: &dyn Diagnostic| match file_of(id) {
            Some(file) => located(file, error),
            None => PolicyFault::of(&folder.called, error),
        };
        let mut faults: Vec<PolicyFault> = result
            .validation_errors()
            .map(|error| found(error.policy_id(), error))
            .collect();
        for warning in result.validation_warnings() {
            let told = found(warning.policy_id(), warning);
            match warning {
                ValidationWarning::ImpossiblePolicy(_)
                | ValidationWarning::InvalidActionApplication(_) => faults.push(told),
                // Signs that look like others, and whatever Cedar comes to warn of.
                _ => self.warnings.push(told),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
        Err(PolicyError::Faulty(faults))
    }
}

/// What Cedar says, and where it says so.
fn located(file: &TextFile, error: &(impl Diagnostic + ?Sized)) -> PolicyFault {
    let label = error.labels().and_then(|mut labels| labels.next());
    let mut why = error.to_string().replace('\n', " ");
    if let Some(help) = error.help() {
        let _ = write!(why, " ({})", help.to_string().replace('\n', " "));
    }
    PolicyFault::at(
        &file.name,
        &file.text,
        label.map(|label| label.offset()),
        why,
    )
}

/// `7` of `policy7`.
fn place(policy: &Policy) -> usize {
    let id: &str = policy.id().as_ref();
    let place = id.strip_prefix("policy").map(str::parse);
    place.and_then(Result::ok).unwrap_or_default()
}

fn is_word(text: &str, signs: &[u8]) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || signs.contains(&b);
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(plain)
}
