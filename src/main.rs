//! The commands of `tn-authority`; nothing but argument parsing. What a command does stands in `commands/`.

mod commands;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use log::LevelFilter;

use commands::{
    account, allocation, api_key, audit, certificate, check, claim_constraints, delegation, demo,
    exclusion, explain, fingerprint, import, migrate, policy, redeem, serve, tn_auth_list, verify,
};
use tn_authority::config::Config;
use tn_authority::telemetry;

/// A Token Authority for telephone numbers (RFC 9447, RFC 9448).
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    /// Configuration file (TOML). Without it the defaults hold: an SQLite database in this folder. Every key can also be
    /// set as `TN_AUTHORITY__SECTION__KEY`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Tool(Tool),
    #[command(flatten)]
    ServiceCommand(ServiceCommand),
}

/// What needs no configuration.
#[derive(Debug, Subcommand)]
enum Tool {
    Demo(demo::Args),
    Verify(verify::Args),
    Redeem(Box<redeem::Args>),
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

/// What works with the configuration, and mostly with the database.
#[derive(Debug, Subcommand)]
enum ServiceCommand {
    /// Run the service until SIGTERM.
    Serve,
    /// Bring the database's schema up to date.
    Migrate,
    /// Check configuration, schema, key, chain, policies and TLS, and say what is wrong.
    Check,
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
    Explain(explain::Args),
    Import(import::Args),
    #[command(subcommand)]
    Audit(audit::Command),
}

fn main() {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Tool(tool) => run_tool(tool, cli.config.as_deref()),
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
        Tool::Fingerprint(args) => fingerprint::run(&args),
        Tool::TnAuthList(command) => tn_auth_list::run(&command),
        Tool::ClaimConstraints(command) => claim_constraints::run(command),
        Tool::Certificate(command) => certificate::run(&command, config),
        Tool::Policy(command) => policy::run(&command, config),
    }
}

fn configured(file: Option<&Path>, service: ServiceCommand) -> commands::Outcome {
    let config = Config::load(file)?;
    // A command speaks on standard output; a service has nothing but its log.
    let level = if matches!(service, ServiceCommand::Serve) {
        LevelFilter::Info
    } else {
        LevelFilter::Warn
    };
    telemetry::init(config.log.format, level)?;
    match service {
        ServiceCommand::Serve => serve::run(&config),
        ServiceCommand::Migrate => migrate::run(&config),
        ServiceCommand::Check => check::run(&config),
        ServiceCommand::Account(command) => account::run(command, &config),
        ServiceCommand::ApiKey(command) => api_key::run(command, &config),
        ServiceCommand::Allocation(command) => allocation::run(command, &config),
        ServiceCommand::Delegation(command) => delegation::run(command, &config),
        ServiceCommand::Exclusion(command) => exclusion::run(&command, &config),
        ServiceCommand::Explain(args) => explain::run(args, &config),
        ServiceCommand::Import(args) => import::run(args, &config),
        ServiceCommand::Audit(command) => audit::run(command, &config),
    }
}
