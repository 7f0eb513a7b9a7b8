//! What `check` says of a PostgreSQL server: whether a commit outlives a failover, and, with
//! `--deep`, its version, clock, standbys and settings.

use std::io;

use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::domain::Clock;
use tn_authority::store::{ServerReport, Store, SynchronousStandbys};

use super::output::say;

/// Prints what the server says of itself. Returns whether the service can run on it.
pub fn run(config: &Config, deep: bool) -> io::Result<bool> {
    let url = match app::database_url(config) {
        Ok(url) => url,
        Err(error) => {
            say!("FAILED  database server: {error}");
            return Ok(false);
        }
    };
    let report = match Store::server_report(&url, &Clock::system()) {
        Ok(Some(report)) => report,
        Ok(None) => return Ok(true),
        Err(error) => {
            say!("FAILED  database server: {error}");
            return Ok(false);
        }
    };
    let is_sound = standbys(config, &report)? & storage(config, &report)? & tables(&report)?;
    if deep {
        details(config, &report)?;
    }
    Ok(is_sound)
}

/// Whether a synchronous standby exists, and has to.
fn standbys(config: &Config, report: &ServerReport) -> io::Result<bool> {
    let lost = "a failover can lose the grant of a released token";
    let (exists, text) = match report.state.synchronous_standbys {
        SynchronousStandbys::NotConfigured => (
            false,
            format!("none, since `synchronous_standby_names` is empty; {lost}"),
        ),
        SynchronousStandbys::Connected(0) => (
            false,
            "none is connected, so no commit succeeds until one is".to_owned(),
        ),
        SynchronousStandbys::Connected(number) => (true, number.to_string()),
        SynchronousStandbys::Hidden => (
            true,
            "configured; to see how many are connected, the role needs `pg_monitor`".to_owned(),
        ),
    };
    let is_sound = exists || !config.database.require_synchronous;
    if is_sound {
        say!("ok      synchronous standbys: {text}");
    } else {
        say!("FAILED  synchronous standbys: {text}; `database.require_synchronous` is set");
    }
    Ok(is_sound)
}

/// Whether the disk has what was committed.
fn storage(config: &Config, report: &ServerReport) -> io::Result<bool> {
    let fault = report.state.storage_fault();
    let fault = fault.filter(|_| !config.database.trust_storage);
    if let Some(fault) = &fault {
        say!("FAILED  durability: {fault}");
    }
    Ok(fault.is_none())
}

/// Whether the role of the service can use its tables.
fn tables(report: &ServerReport) -> io::Result<bool> {
    let fault = report.state.privilege_fault();
    if let Some(fault) = &fault {
        say!("FAILED  privileges: {fault}");
    }
    Ok(fault.is_none())
}

fn details(config: &Config, report: &ServerReport) -> io::Result<()> {
    let role = if report.in_recovery {
        "standby"
    } else {
        "primary"
    };
    if report.is_supported() {
        say!(
            "ok      database server: PostgreSQL {}, {role}",
            report.version
        );
    } else {
        let version = &report.version;
        say!(
            "warning database server: PostgreSQL {version}, {role}; versions 15 to 18 are supported"
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a difference of clocks")]
    let offset = report.state.clock_offset_micros as f64 / 1e6;
    let is_off = offset.abs() > f64::from(config.database.max_clock_offset);
    let outcome = if is_off { "warning" } else { "ok     " };
    say!("{outcome} clock of the database: {offset:+.3} s from that of this machine");
    for (name, state) in &report.standbys {
        say!("        standby `{name}`: {state}");
    }
    for (name, value) in &report.settings {
        let note = match (name.as_str(), value.as_str()) {
            ("synchronous_commit", "off" | "local" | "remote_write") => {
                "; the service raises it to `on`"
            }
            ("fsync" | "full_page_writes", "off") => "; a crash of the machine loses data",
            (_, _) => "",
        };
        say!("        `{name}` is `{value}`{note}");
    }
    Ok(())
}
