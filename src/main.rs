//! The command line of `tn-authority`: argument parsing only. `commands/` does the work.

mod commands;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use log::LevelFilter;

use commands::{
    account, allocation, api_key, audit, backup, certificate, check, claim_constraints, control,
    control_agent, delegation, demo, exclusion, explain, fingerprint, import, migrate, policy,
    redeem, serve, signer, tn_auth_list, verify,
};
use tn_authority::app::Signals;
use tn_authority::config::Config;
use tn_authority::telemetry;

const AFTER_HELP: &str = "\
Examples:
  tn-authority demo                         issue, verify and refuse a token, on throw-away data
  tn-authority --config ta.toml check       check everything that `serve` needs
  tn-authority --config ta.toml serve       run the service
  tn-authority explain acme +12125551001    would `acme` get a token for this number?
  tn-authority backup saved.sqlite          copy the SQLite database, beside the running service

The commands from `demo` to `claim-constraints` need no configuration and no database.
Exit codes: 0 success, 1 failure, 2 wrong arguments; `serve`, `verify` and `redeem` have more.
The variable RUST_LOG sets the log level: `RUST_LOG=debug`.";

/// A Token Authority for telephone numbers (RFC 9447, RFC 9448).
///
/// It records which numbers a carrier holds and to whom they are delegated, and issues authority
/// tokens for them. An enterprise uses such a token to get a certificate for its numbers from a CA.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Configuration file (TOML). Without it: the built-in defaults, and the SQLite database
    /// `./tn-authority.sqlite`. Environment variables `TN_AUTHORITY__SECTION__KEY` override it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Tool(Tool),
    /// Run the service until SIGTERM or SIGINT.
    ///
    /// It serves the API at `server.listen`, and metrics and health at `operations.listen`. On
    /// SIGTERM it accepts no more requests and finishes those in progress. SIGHUP makes it read
    /// its certificates again immediately: those for signing, those of TLS, and the client CAs.
    ///
    /// Exits with 77 if it cannot start because a hardware security module refuses the PIN. It must
    /// not be started again then, since each start is another try. Exits with 78 if it cannot start
    /// because of its configuration, which another start does not change.
    Serve,
    #[command(flatten)]
    ServiceCommand(ServiceCommand),
}

/// Commands that run without the service's configuration, or read only a part of it.
#[derive(Debug, Subcommand)]
enum Tool {
    Demo(demo::Args),
    Verify(verify::Args),
    Redeem(Box<redeem::Args>),
    ControlAgent(control_agent::Args),
    Fingerprint(fingerprint::Args),
    #[command(subcommand)]
    TnAuthList(tn_auth_list::Command),
    #[command(subcommand)]
    ClaimConstraints(claim_constraints::Command),
    #[command(subcommand)]
    Certificate(certificate::Command),
    #[command(subcommand)]
    Policy(policy::Command),
}

/// Commands that need the configuration, and most of them the database.
#[derive(Debug, Subcommand)]
enum ServiceCommand {
    /// Apply the migrations that the database does not have yet.
    ///
    /// `serve` does the same at its start, unless `database.migrate` is `false`.
    Migrate,
    /// Check all that `serve` needs: configuration, database, policies, keys, TLS.
    ///
    /// Prints `ok`, `warning` or `FAILED` for each item, changes nothing, and exits with 1 if
    /// anything failed.
    Check(check::Args),
    #[command(subcommand)]
    Account(account::Command),
    #[command(subcommand)]
    ApiKey(api_key::Command),
    #[command(subcommand)]
    Allocation(allocation::Command),
    #[command(subcommand)]
    Delegation(delegation::Command),
    #[command(subcommand)]
    Exclusion(exclusion::Command),
    #[command(subcommand)]
    Control(control::Command),
    #[command(subcommand)]
    Signer(signer::Command),
    Explain(explain::Args),
    Import(import::Args),
    Backup(backup::Args),
    #[command(subcommand)]
    Audit(audit::Command),
}

fn main() {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Tool(tool) => run_tool(tool, cli.config.as_deref()),
        Command::Serve => run_service(cli.config.as_deref()),
        Command::ServiceCommand(service) => configured(cli.config.as_deref(), service),
    };
    let exit = outcome.unwrap_or_else(|error| commands::report(&*error));
    exit.leave()
}

fn run_tool(tool: Tool, config: Option<&Path>) -> commands::Outcome {
    match tool {
        Tool::Demo(args) => demo::run(&args),
        Tool::Verify(args) => verify::run(&args),
        Tool::Redeem(args) => redeem::run(&args),
        Tool::ControlAgent(args) => control_agent::run(&args),
        Tool::Fingerprint(args) => fingerprint::run(&args),
        Tool::TnAuthList(command) => tn_auth_list::run(&command),
        Tool::ClaimConstraints(command) => claim_constraints::run(command),
        Tool::Certificate(command) => certificate::run(&command, config),
        Tool::Policy(command) => policy::run(&command, config),
    }
}

fn run_service(file: Option<&Path>) -> commands::Outcome {
    // First of all: until then, SIGHUP ends the process.
    let signals = Signals::watch()?;
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            commands::report(&error);
            return Ok(commands::Exit::CONFIGURATION);
        }
    };
    // A command prints its results to standard output; the log is all that a service prints.
    telemetry::init(config.log.format, LevelFilter::Info)?;
    serve::run(&config, &signals)
}

fn configured(file: Option<&Path>, service: ServiceCommand) -> commands::Outcome {
    let config = Config::load(file)?;
    telemetry::init(config.log.format, LevelFilter::Warn)?;
    match service {
        ServiceCommand::Migrate => migrate::run(&config),
        ServiceCommand::Check(args) => check::run(&args, &config),
        ServiceCommand::Account(command) => account::run(command, &config),
        ServiceCommand::ApiKey(command) => api_key::run(command, &config),
        ServiceCommand::Allocation(command) => allocation::run(command, &config),
        ServiceCommand::Delegation(command) => delegation::run(command, &config),
        ServiceCommand::Exclusion(command) => exclusion::run(&command, &config),
        ServiceCommand::Control(command) => control::run(command, &config),
        ServiceCommand::Signer(command) => signer::run(command, &config),
        ServiceCommand::Explain(args) => explain::run(args, &config),
        ServiceCommand::Backup(args) => backup::run(&args, &config),
        ServiceCommand::Import(args) => import::run(args, &config),
        ServiceCommand::Audit(command) => audit::run(command, &config),
    }
}
