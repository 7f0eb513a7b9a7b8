//! The report that `policy check` prints: a line for each file and each case, and warnings.

use std::collections::HashSet;
use std::path::Path;

use super::engine::files::Folder;
use super::engine::{index, load};
use super::error::{PolicyError, PolicyFault};
use super::{NO_CASES, PolicySet, built_in, cases};

/// The result of checking a folder.
#[derive(Debug, Default)]
pub struct PolicyReport {
    pub lines: Vec<ReportLine>,
    /// How many policies were loaded.
    pub policies: usize,
    /// How many cases were run.
    pub cases: usize,
    /// SHA-256 of the set, in hex. `None` if the folder could not be read.
    pub set: Option<String>,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportLine {
    Sound(String),
    /// Does not prevent the use of the set, but should be checked.
    Warning(String),
    /// The service would not use this set.
    Failed(String),
}

impl PolicyReport {
    /// Checks a folder, or the built-in policies.
    #[must_use]
    pub fn on(dir: Option<&Path>) -> Self {
        let mut report = Self::default();
        let folder = dir.map_or_else(|| Ok(built_in::folder()), Folder::read);
        match folder.and_then(|folder| report.check(&folder)) {
            Ok(()) => {}
            Err(error) if error.faults().is_empty() => {
                report.lines.push(ReportLine::Failed(error.to_string()));
            }
            Err(error) => report.fail(error.faults()),
        }
        report
    }

    /// Whether the service would use the set.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self
            .lines
            .iter()
            .any(|line| matches!(line, ReportLine::Failed(_)))
    }

    fn fail(&mut self, faults: &[PolicyFault]) {
        let faults = faults.iter();
        let faults = faults.map(|fault| ReportLine::Failed(fault.to_string()));
        self.lines.extend(faults);
    }

    fn check(&mut self, folder: &Folder) -> Result<(), PolicyError> {
        self.set = Some(folder.digest());
        let loaded = load::load(folder)?;
        for (file, count) in &loaded.counts {
            self.lines
                .push(ReportLine::Sound(format!("{file}: {}", policies(*count))));
        }
        self.policies = loaded.policies.len();
        let for_all = loaded.policies.iter();
        let for_all = for_all.filter(|policy| index::applies_to_all(policy));
        let for_all = for_all.count();
        if for_all < self.policies {
            self.lines.push(ReportLine::Sound(format!(
                "{} for one account or caller, {for_all} for all",
                policies(self.policies - for_all)
            )));
        }
        let warnings = loaded.warnings.iter();
        self.lines
            .extend(warnings.map(|fault| ReportLine::Warning(fault.to_string())));
        let left_out = folder.left_out.iter();
        self.lines.extend(left_out.map(|name| {
            ReportLine::Warning(format!("tests/{name}: ignored, since it is not `*.toml`"))
        }));
        let policy = PolicySet::of(folder, loaded)?;
        self.run(&policy, cases::read(folder)?);
        Ok(())
    }

    fn run(&mut self, policy: &PolicySet, cases: Vec<cases::PolicyCase>) {
        self.cases = cases.len();
        if cases.is_empty() {
            self.lines.push(ReportLine::Warning(NO_CASES.to_owned()));
            return;
        }
        let mut decided: HashSet<String> = HashSet::new();
        for case in cases {
            let (ruling, outcome) = case.run(policy);
            decided.extend(ruling.by.ids().iter().cloned());
            self.lines.push(match outcome {
                Ok(()) => ReportLine::Sound(format!("{}: {}", case.file, case.name)),
                Err(fault) => ReportLine::Failed(fault.to_string()),
            });
        }
        let untested = policy.ids().iter().filter(|id| !decided.contains(*id));
        self.lines.extend(
            untested.map(|id| ReportLine::Warning(format!("no case is decided by `{id}`"))),
        );
    }
}

fn policies(count: usize) -> String {
    let noun = if count == 1 { "policy" } else { "policies" };
    format!("{count} {noun}")
}
