//! The programs that tests start by their names: a bare system has no others.

use std::collections::BTreeSet;

use super::sources;

/// Of packages that every Debian has (`bash`, `coreutils`, `util-linux`), that the build needs, or
/// that `tests/run` installs.
const KNOWN: [&str; 11] = [
    "bash",
    "cc",
    "cp",
    "curl",
    "id",
    "mkfifo",
    "openssl",
    "setpriv",
    "setsid",
    "sh",
    "softhsm2-util",
];

#[test]
fn tests_start_no_program_that_a_bare_system_lacks() {
    let mut unknown = BTreeSet::new();
    for (file, text) in sources("tests") {
        for rest in text.split("Command::new(\"").skip(1) {
            let program = rest.split('"').next().unwrap_or_default();
            if !KNOWN.contains(&program) && file != "it/architecture/programs.rs" {
                unknown.insert(format!("{program} in {file}"));
            }
        }
    }
    assert!(unknown.is_empty(), "not on every system: {unknown:?}");
}
