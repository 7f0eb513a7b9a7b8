//! The look at a folder of policies that `policy check` prints: a line a file, a line a case, and what to look at.

use std::collections::HashSet;
use std::path::Path;

use super::engine::files::Folder;
use super::engine::{index, load};
use super::error::{PolicyError, PolicyFault};
use super::{PolicySet, built_in, cases};

/// What was found.
#[derive(Debug, Default)]
pub struct PolicyReport {
    pub lines: Vec<ReportLine>,
    /// Policies that are sound.
    pub policies: usize,
    /// Cases that were run.
    pub cases: usize,
    /// SHA-256 of the set, in hex; none if it could not be read.
    pub set: Option<String>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportLine {
    Sound(String),
    /// Nothing is wrong, and somebody should look.
    Warning(String),
    /// The service would not take such policies.
    Failed(String),
}

impl PolicyReport {
    /// Looks at a folder, or at the built-in policies.
    #[must_use]
    pub fn on(dir: Option<&Path>) -> Self {
        let mut report = Self::default();
        let folder = dir.map_or_else(|| Ok(built_in::folder()), Folder::read);
        match folder.and_then(|folder| report.look(&folder)) {
            Ok(()) => {}
            Err(error) if error.faults().is_empty() => {
                report.lines.push(ReportLine::Failed(error.to_string()));
            }
            Err(error) => report.fail(error.faults()),
        }
        report
    }

    /// Whether the service would take them.
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

    fn look(&mut self, folder: &Folder) -> Result<(), PolicyError> {
        self.set = Some(folder.digest());
        let loaded = load::load(folder)?;
        for (file, count) in &loaded.counts {
            self.lines
                .push(ReportLine::Sound(format!("{file}: {}", policies(*count))));
        }
        self.policies = loaded.policies.len();
        let everywhere = loaded.policies.iter();
        let everywhere = everywhere.filter(|policy| index::holds_everywhere(policy));
        let everywhere = everywhere.count();
        if everywhere < self.policies {
            self.lines.push(ReportLine::Sound(format!(
                "{} for one account or caller, {everywhere} for all",
                policies(self.policies - everywhere)
            )));
        }
        let warnings = loaded.warnings.iter();
        self.lines
            .extend(warnings.map(|fault| ReportLine::Warning(fault.to_string())));
        let left_out = folder.left_out.iter();
        self.lines.extend(left_out.map(|name| {
            ReportLine::Warning(format!(
                "tests/{name}: is no `*.toml`, and is not looked at"
            ))
        }));
        let policy = PolicySet::of(folder, loaded)?;
        self.run(&policy, cases::read(folder)?);
        Ok(())
    }

    fn run(&mut self, policy: &PolicySet, cases: Vec<cases::PolicyCase>) {
        self.cases = cases.len();
        if cases.is_empty() {
            let why = "there is no case in `tests/*.toml`, so nothing shows what the policies do";
            self.lines.push(ReportLine::Warning(why.to_owned()));
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
        let unseen = policy.ids().iter().filter(|id| !decided.contains(*id));
        self.lines
            .extend(unseen.map(|id| ReportLine::Warning(format!("`{id}` decides in no case"))));
    }
}

fn policies(count: usize) -> String {
    let noun = if count == 1 { "policy" } else { "policies" };
    format!("{count} {noun}")
}
