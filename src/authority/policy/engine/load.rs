//! Turns files into policies: parses and names them, and validates them against the schema. What is
//! ambiguous is refused. Faults are reported for all files together.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::str::FromStr as _;
use std::thread;

use cedar_policy::{
    Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator,
};
use miette::Diagnostic;

use super::files::{Folder, TextFile};
use super::inputs::ContextInputs;
use super::nesting;
use crate::authority::policy::error::{PolicyError, PolicyFault};
use crate::domain::Denial;

/// How many policies a set may have; these load within seconds.
const MAX_POLICIES: usize = 10_000;
/// Stack size of the loading thread: enough for the deepest policy that `nesting` accepts.
const STACK: usize = 128 * 1024 * 1024;
/// Maximum length of an id and of a code.
const MAX_WORD: usize = 64;
/// Maximum length of a message.
const MAX_MESSAGE: usize = 300;

pub(in crate::authority::policy) const SCHEMA: &str =
    include_str!("../../../../policies/tn-authority.cedarschema");

/// The policies of a folder, and what was found out about them.
#[derive(Debug)]
pub(in crate::authority::policy) struct Loaded {
    /// In the order of the files.
    pub policies: Vec<Policy>,
    /// How many policies each file has.
    pub counts: Vec<(String, usize)>,
    pub schema: Schema,
    pub inputs: ContextInputs,
    /// What does not prevent the use of the set, but should be checked.
    pub warnings: Vec<PolicyFault>,
}

/// Loads the policies of a folder, on a thread with a large stack.
///
/// # Errors
/// [`PolicyError`] with all faults of all files. The schema is only checked once all files parse.
pub(in crate::authority::policy) fn load(folder: &Folder) -> Result<Loaded, PolicyError> {
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("policies".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || load_here(folder));
        let panicked = || PolicyError::Loader("the thread that loads them panicked".to_owned());
        let reader = reader.map_err(|e| PolicyError::Loader(format!("no thread: {e}")))?;
        reader.join().unwrap_or_else(|_| Err(panicked()))
    })
}

fn load_here(folder: &Folder) -> Result<Loaded, PolicyError> {
    let mut loader = Loader::default();
    for file in &folder.policies {
        loader.add_file(file)?;
    }
    if !loader.faults.is_empty() {
        return Err(PolicyError::Faulty(loader.faults));
    }
    if loader.policies.is_empty() {
        return Err(PolicyError::None(folder.called.clone()));
    }
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|e| PolicyError::Schema(e.to_string()))?;
    loader.validate(folder, &schema)?;
    let copies = folder.schemas.iter().filter(|copy| copy.text != SCHEMA);
    loader.warnings.extend(copies.map(|copy| {
        PolicyFault::of(
            &copy.name,
            "differs from the service's own schema, which is used instead",
        )
    }));
    Ok(Loaded {
        inputs: ContextInputs::of(&loader.policies),
        policies: loader.policies,
        counts: loader.counts,
        schema,
        warnings: loader.warnings,
    })
}

#[derive(Default)]
struct Loader {
    policies: Vec<Policy>,
    counts: Vec<(String, usize)>,
    /// The file of each id.
    files: HashMap<String, String>,
    faults: Vec<PolicyFault>,
    warnings: Vec<PolicyFault>,
}

impl Loader {
    fn add_file(&mut self, file: &TextFile) -> Result<(), PolicyError> {
        if let Err(fault) = nesting::check(file) {
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
            let why = "templates (`?principal`, `?resource`) are not supported";
            let at = file.text.find("?principal");
            let at = at.or_else(|| file.text.find("?resource"));
            self.faults
                .push(PolicyFault::at(&file.name, &file.text, at, why));
        }
        let count = parsed.num_of_policies();
        if self.policies.len() + count > MAX_POLICIES {
            return Err(PolicyError::TooMany(format!(
                "a set has at most {MAX_POLICIES} policies; with `{}` there are {}",
                file.name,
                self.policies.len() + count
            )));
        }
        // Cedar returns them in no order, but names them by their position: `policy0`, `policy1`,
        // ..
        let mut policies: Vec<(usize, &Policy)> = parsed
            .policies()
            .map(|policy| (position(policy), policy))
            .collect();
        policies.sort_unstable_by_key(|(position, _)| *position);
        for (position, policy) in policies {
            self.add_policy(file, position, policy);
        }
        self.counts.push((file.name.clone(), count));
        Ok(())
    }

    fn add_policy(&mut self, file: &TextFile, position: usize, policy: &Policy) {
        let fault = |why: String| PolicyFault::of(&file.name, why);
        let id = match policy.annotation("id") {
            Some(id) if is_word(id, b"._-") => id.to_owned(),
            Some(id) => {
                self.faults.push(fault(format!(
                    "`@id(\"{}\")` must be 1 to {MAX_WORD} letters, digits, `.`, `_` and `-`",
                    id.escape_debug()
                )));
                return;
            }
            None => {
                let id = format!("{}:{}", file.name, position + 1);
                self.warnings.push(fault(format!(
                    "policy {} has no `@id`, so it is named `{id}`, which changes when policies are moved",
                    position + 1
                )));
                id
            }
        };
        self.check_refusal_text(file, &id, policy);
        if let Some(other) = self.files.insert(id.clone(), file.name.clone()) {
            self.faults.push(fault(format!(
                "`@id(\"{id}\")` is already used by another policy, in `{other}`"
            )));
            return;
        }
        self.policies.push(policy.new_id(PolicyId::new(id)));
    }

    /// Checks `@code` and `@message`, which callers see.
    fn check_refusal_text(&mut self, file: &TextFile, id: &str, policy: &Policy) {
        let fault = |why: String| PolicyFault::of(&file.name, format_args!("`{id}`: {why}"));
        let (code, message) = (policy.annotation("code"), policy.annotation("message"));
        if let Some(code) = code {
            let is_kebab = is_word(code, b"-")
                && !code.bytes().any(|b| b.is_ascii_uppercase())
                && !code.starts_with('-');
            if !is_kebab {
                self.faults.push(fault(format!(
                    "the `@code` must be 1 to {MAX_WORD} lower-case letters, digits and `-`"
                )));
            } else if Denial::CODES_OF_RULES.contains(&code) {
                self.faults.push(fault(format!(
                    "the code `{code}` is reserved for a rule of the service"
                )));
            } else if code == Denial::CONTROL_NOT_PROVEN
                && !ContextInputs::of(std::slice::from_ref(policy)).rows.control
            {
                self.faults.push(fault(format!(
                    "the code `{code}` goes with a condition on `context.control`"
                )));
            }
        }
        let is_printable = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        };
        if message.is_some_and(|text| text.len() > MAX_MESSAGE || !is_printable(text)) {
            self.faults.push(fault(format!(
                "the `@message` must be 1 to {MAX_MESSAGE} printable ASCII characters"
            )));
        }
        if policy.effect() == Effect::Permit && (code.is_some() || message.is_some()) {
            self.warnings.push(fault(
                "a `permit` needs no `@code` or `@message`: they are never shown".to_owned(),
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
            let fault = found(warning.policy_id(), warning);
            match warning {
                ValidationWarning::ImpossiblePolicy(_)
                | ValidationWarning::InvalidActionApplication(_) => faults.push(fault),
                // Such as confusable characters. The enum is `non_exhaustive`.
                _ => self.warnings.push(fault),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
        Err(PolicyError::Faulty(faults))
    }
}

/// A fault with Cedar's message and its position.
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

/// `7` for `policy7`.
fn position(policy: &Policy) -> usize {
    let id: &str = policy.id().as_ref();
    let position = id.strip_prefix("policy").map(str::parse);
    position.and_then(Result::ok).unwrap_or_default()
}

fn is_word(text: &str, punctuation: &[u8]) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || punctuation.contains(&b);
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(is_allowed)
}
