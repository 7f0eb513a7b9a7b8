//! Reads the files of a set of policies, all at once and within bounds. `load` and `cases` parse
//! them.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::authority::policy::error::{PolicyError, PolicyFault};
use crate::regular_file;

/// How many files a folder may have.
const MAX_FILES: usize = 10_000;
/// Maximum size of all files together.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Maximum length of a file name.
const MAX_NAME: usize = 64;
/// The folder of the cases, inside the folder of the policies.
pub(in crate::authority::policy) const TESTS: &str = "tests";

/// A text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authority::policy) struct TextFile {
    /// Relative to the folder, such as `tests/mint.toml`.
    pub name: String,
    pub text: String,
}

/// All files of a set, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authority::policy) struct Folder {
    /// The name of the folder in messages.
    pub called: String,
    pub policies: Vec<TextFile>,
    pub tests: Vec<TextFile>,
    /// Copies of the schema, which are not used.
    pub schemas: Vec<TextFile>,
    /// Files in `tests/` that are not cases and are ignored.
    pub left_out: Vec<String>,
}

impl Folder {
    /// A set from texts in memory.
    pub(in crate::authority::policy) fn of(
        called: &str,
        policies: &[(&str, &str)],
        tests: &[(&str, &str)],
    ) -> Self {
        let file = |(name, text): &(&str, &str)| TextFile {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        };
        let mut folder = Self {
            called: called.to_owned(),
            policies: policies.iter().map(file).collect(),
            tests: tests.iter().map(file).collect(),
            schemas: Vec::new(),
            left_out: Vec::new(),
        };
        folder.policies.sort_by(|a, b| a.name.cmp(&b.name));
        folder.tests.sort_by(|a, b| a.name.cmp(&b.name));
        folder
    }

    /// Reads a folder. Names that start with a dot are ignored: editors put temporary files there.
    ///
    /// # Errors
    /// [`PolicyError`] if a file cannot be read or is not UTF-8, or if a bound is exceeded.
    pub(in crate::authority::policy) fn read(dir: &Path) -> Result<Self, PolicyError> {
        let mut reader = FileReader::default();
        let mut folder = Self {
            called: dir.display().to_string(),
            policies: Vec::new(),
            tests: Vec::new(),
            schemas: Vec::new(),
            left_out: Vec::new(),
        };
        for path in entries(dir)? {
            match extension(&path) {
                "cedar" => folder.policies.extend(reader.read(&path, "")?),
                "cedarschema" => folder.schemas.extend(reader.read(&path, "")?),
                _ => {}
            }
        }
        let tests = dir.join(TESTS);
        if tests.is_dir() {
            for path in entries(&tests)? {
                match extension(&path) {
                    "toml" => folder.tests.extend(reader.read(&path, "tests/")?),
                    "md" => {}
                    _ => folder.left_out.push(name_of(&path)),
                }
            }
        }
        if !reader.faults.is_empty() {
            return Err(PolicyError::Faulty(reader.faults));
        }
        Ok(folder)
    }

    /// SHA-256 of the policies, in hex: the output of `sha256sum *.cedar | sha256sum` in the
    /// folder.
    pub(in crate::authority::policy) fn digest(&self) -> String {
        let mut lines = Sha256::new();
        for file in &self.policies {
            let digest = hex::encode(Sha256::digest(&file.text));
            lines.update(format!("{digest}  {}\n", file.name));
        }
        hex::encode(lines.finalize())
    }

    /// A digest of all policies and cases, to detect changes.
    pub(in crate::authority::policy) fn content(&self) -> [u8; 32] {
        let mut content = Sha256::new();
        for file in self.policies.iter().chain(&self.tests) {
            content.update(Sha256::digest(&file.name));
            content.update(Sha256::digest(&file.text));
        }
        content.finalize().into()
    }
}

/// Reads files, counts them against the bounds, and collects their faults.
#[derive(Default)]
struct FileReader {
    files: usize,
    bytes: u64,
    faults: Vec<PolicyFault>,
}

impl FileReader {
    fn read(&mut self, path: &Path, below: &str) -> Result<Option<TextFile>, PolicyError> {
        let name = format!("{below}{}", name_of(path));
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(PolicyError::TooMany(format!(
                "the folder has more than {MAX_FILES} files; put several policies into one"
            )));
        }
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !name_of(path).bytes().all(is_plain) || name_of(path).len() > MAX_NAME {
            self.faults.push(PolicyFault::of(
                &name.escape_default().to_string(),
                format_args!(
                    "a file name has at most {MAX_NAME} characters: letters, digits, `.`, `_` and `-`"
                ),
            ));
            return Ok(None);
        }
        let unreadable = |error| PolicyError::Read {
            path: path.display().to_string(),
            error,
        };
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            self.faults.push(PolicyFault::of(&name, "is not a file"));
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let left = MAX_BYTES.saturating_sub(self.bytes);
        let file = regular_file::open(path).map_err(unreadable)?;
        file.take(left + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_BYTES {
            return Err(PolicyError::TooMany(format!(
                "the files of the folder have more than {MAX_BYTES} bytes in total"
            )));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(TextFile { name, text })),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let valid = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
                self.faults
                    .push(PolicyFault::at(&name, &valid, Some(at), "is not UTF-8"));
                Ok(None)
            }
        }
    }
}

/// The files of a folder, sorted by name.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let unreadable = |error| PolicyError::Read {
        path: dir.display().to_string(),
        error,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !name_of(&path).starts_with('.') && !path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn extension(path: &Path) -> &str {
    let extension = path.extension().unwrap_or_default();
    extension.to_str().unwrap_or_default()
}
