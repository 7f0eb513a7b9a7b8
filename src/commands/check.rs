//! `check`: reports what would keep `serve` from starting.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use tn_authority::app::{self, AppError};
use tn_authority::authority::{of_key, refusal};
use tn_authority::config::Config;
use tn_authority::domain::Clock;
use tn_authority::domain::signing::distrust::Distrust;
use tn_authority::signer::Signer;
use tn_authority::store::Store;

use super::output::say;
use super::{Exit, Outcome, check_server};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also print what the database server says of itself: version, clock, standbys and settings.
    #[arg(long)]
    deep: bool,
}

/// The configuration itself has been read already; this checks what it refers to. Changes nothing.
pub fn run(args: &Args, config: &Config) -> Outcome {
    say!("ok      configuration");
    for warning in Config::environment_warnings() {
        say!("warning environment: {warning}");
    }
    for warning in config.warnings() {
        say!("warning configuration: {warning}");
    }
    let mut sound = true;
    let mut line = |what: &str, result: Result<String, Box<dyn Error>>| {
        match result {
            Ok(detail) => say!("ok      {what}{detail}"),
            Err(error) => {
                sound = false;
                say!("FAILED  {what}: {error}");
            }
        }
        io::Result::Ok(())
    };
    let (database, mut warnings) = database(config);
    let database_is_sound = database.is_ok();
    // Said if the connection fails too, since it is most likely why.
    warnings.extend(app::roots_warning(config));
    line("database and schema", database)?;
    for warning in warnings {
        say!("warning database: {warning}");
    }
    let server_is_sound = !database_is_sound || check_server::run(config, args.deep)?;
    line(
        "policies",
        app::open_policy(config)
            .map(|_| String::new())
            .map_err(Into::into),
    )?;
    let distrusts = if database_is_sound {
        app::distrusts(config)?
    } else {
        Vec::new()
    };
    let FoundSigners {
        lines: signers,
        warnings: chain_warnings,
        issuers_only,
    } = signers(config, &distrusts);
    for result in signers {
        line("signing key and chain", result)?;
    }
    for warning in chain_warnings {
        say!("warning signing key and chain: {warning}");
    }
    for file in issuers_only {
        say!(
            "ok      issuers: `{file}` has only certificates of CAs, which complete chains and sign nothing"
        );
    }
    let (secret, warnings) = match api_key_secret(config, database_is_sound) {
        Ok((detail, warnings)) => (Ok(detail), warnings),
        Err(error) => (Err(error.into()), Vec::new()),
    };
    line("API key secret", secret)?;
    for warning in warnings {
        say!("warning API key secret: {warning}");
    }
    for result in issuers(config) {
        line("access token issuers", result)?;
    }
    for (what, result) in app::check_gateways(config) {
        let result = result.map(|()| note(what)).map_err(Into::into);
        line("gateways", result)?;
    }
    line(
        "TLS",
        app::check_listener(config).map(note).map_err(Into::into),
    )?;
    for warning in app::tls_warnings(config, &Clock::system()) {
        say!("warning TLS: {warning}");
    }
    Ok(if sound && server_is_sound {
        Exit::SUCCESS
    } else {
        Exit::FAILURE
    })
}

/// Whether the database can be used, and warnings about settings that should be changed.
fn database(config: &Config) -> (Result<String, Box<dyn Error>>, Vec<String>) {
    let url = app::database_url(config);
    let checked = url
        .map_err(Into::into)
        .and_then(|url| Ok(Store::check(&url)?));
    match checked {
        Ok(warnings) => (Ok(String::new()), warnings),
        Err(error) => (Err(error), Vec::new()),
    }
}

type Checked = Result<String, Box<dyn Error>>;

/// What is said about the signing certificates.
#[derive(Default)]
struct FoundSigners {
    /// One for each chain that can sign, and for each file that is refused or whose key is
    /// distrusted.
    lines: Vec<Checked>,
    warnings: Vec<String>,
    /// The files that have only certificates of CAs.
    issuers_only: Vec<String>,
}

fn signers(config: &Config, distrusts: &[Distrust]) -> FoundSigners {
    let found = match app::scan_signers(config, &Clock::system()) {
        Ok(found) => found,
        Err(error) => {
            return FoundSigners {
                lines: vec![Err(error.into())],
                ..FoundSigners::default()
            };
        }
    };
    let sound = found.signers.iter().map(|signer| {
        let subject = signer.certificate().subject();
        match of_key(distrusts, signer.chain()) {
            Some(distrust) => Err(format!("`{subject}`: {}", refusal(distrust)).into()),
            None => Ok(note(format!(
                "`{subject}`, valid until {}",
                signer.authority_ends()
            ))),
        }
    });
    let refused = found.refused.iter();
    let refused = refused.map(|one| Err(format!("`{}`: {}", one.file, one.reason).into()));
    let mut lines: Vec<Checked> = sound.chain(refused).collect();
    if lines.is_empty() {
        lines.push(Err("no certificate found".into()));
    }
    FoundSigners {
        lines,
        warnings: found.signers.iter().flat_map(chain_warnings).collect(),
        issuers_only: found.issuers,
    }
}

/// What CAs may object to in the chain of a signer. The rules of SHAKEN count only for a
/// certificate that claims its policy: an authority of another country has another profile.
fn chain_warnings(signer: &Arc<Signer>) -> Vec<String> {
    let chain = signer.chain();
    let is_shaken = chain.leaf().claims_shaken_policy();
    let faults = chain.profile_faults();
    let faults = faults.filter(|(_, fault)| is_shaken || !fault.is_of_shaken());
    let faults = faults.map(|(number, fault)| format!("certificate {number}: {fault}"));
    let subject = chain.leaf().subject();
    let all = chain.warnings().into_iter().chain(faults);
    all.map(|warning| format!("`{subject}`: {warning}"))
        .collect()
}

/// Whether the API key secret can be used, what is still made with the previous one, and warnings
/// about what is made with neither.
fn api_key_secret(
    config: &Config,
    database_is_sound: bool,
) -> Result<(String, Vec<String>), AppError> {
    app::check_secret(config)?;
    let usage = if database_is_sound {
        app::api_key_secret_use(config, &Clock::system())?
    } else {
        None
    };
    let Some(usage) = usage else {
        return Ok((String::new(), Vec::new()));
    };
    let total = usage.keys.total;
    let lost = usage.lost_keys();
    if usage.is_of_another_database() {
        return Err(AppError::OtherSecret { keys: total });
    }
    let mut warnings = Vec::new();
    if lost > 0 {
        warnings.push(format!(
            "{lost} of {total} API keys in use are hashed with another secret and do not work; name it as \
             `api_keys.previous_secret_file`, or create these keys anew"
        ));
    }
    let webhooks = usage.lost_webhooks;
    if webhooks > 0 {
        warnings.push(format!(
            "{webhooks} webhooks have a secret that comes from another API key secret, so their owners refuse what is \
             signed now; name it as `api_keys.previous_secret_file`, or have these webhooks rotated"
        ));
    }
    let detail = match (usage.has_previous, usage.waiting_keys(), usage.webhooks) {
        (false, ..) => String::new(),
        (true, 0, 0) => {
            note("nothing needs the previous one; remove `api_keys.previous_secret_file`")
        }
        (true, keys, webhooks) => note(format!(
            "{keys} of {total} API keys in use are hashed with the previous one until they are used, and {webhooks} \
             webhooks have a secret from it until they are rotated"
        )),
    };
    Ok((detail, warnings))
}

/// A line for each issuer of access tokens, whose keys are read or fetched; a single line if there
/// is none.
fn issuers(config: &Config) -> Vec<Result<String, Box<dyn Error>>> {
    let checked = match app::check_issuers(config, &Clock::system()) {
        Ok(checked) => checked,
        Err(error) => return vec![Err(error.into())],
    };
    let mut lines = vec![Ok(String::new())];
    for one in checked {
        let name = one.name;
        match one.keys {
            Ok((keys, faults)) => {
                // A key that cannot be used here is not an error of the issuer, but an operator who
                // misses it should see why.
                let left_out = faults.iter().map(|fault| format!("; ignored: {fault}"));
                let left_out: String = left_out.collect();
                lines.push(Ok(note(format!("`{name}`, usable keys: {keys}{left_out}"))));
            }
            Err(error) => lines.push(Err(format!("`{name}`: {error}").into())),
        }
    }
    lines
}

fn note(text: impl Display) -> String {
    format!(": {text}")
}
