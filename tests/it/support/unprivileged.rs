//! Servers that refuse to run as root, which the tests may be.

use std::path::Path;
use std::process::Command;

/// Runs a program as the user of the database server, if the tests run as root.
pub fn unprivileged(program: &Path) -> Command {
    let Some(user) = other_user() else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"])
        .arg(program)
        .current_dir("/");
    command
}

/// Gives a folder to that user.
pub fn give_away(folder: &Path) {
    if let Some(user) = other_user() {
        let user: u32 = user.parse().expect("a number");
        std::os::unix::fs::chown(folder, Some(user), None).expect("another owner");
    }
}

fn other_user() -> Option<String> {
    let id = |args: &[&str]| {
        let found = Command::new("id").args(args).output().expect("id");
        let number = String::from_utf8(found.stdout).expect("a number");
        found.status.success().then(|| number.trim().to_owned())
    };
    if id(&["-u"]).as_deref() != Some("0") {
        return None;
    }
    let found = id(&["-u", "postgres"]).or_else(|| id(&["-u", "nobody"]));
    Some(found.expect("a user other than root"))
}
