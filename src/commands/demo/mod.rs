//! `demo`: the whole flow, self-contained. It uses only the commands and HTTP calls that a carrier
//! would use; nothing here bypasses the service.

mod carrier;
mod client;

use std::error::Error;
use std::io;
use std::path::PathBuf;

use clap::Args as Arguments;
use log::LevelFilter;
use serde_json::{Value, json};
use tn_authority::domain::{Clock, Dialect, Fingerprint, TkType, TnAuthList, TnEntry};
use tn_authority::signer::development;
use tn_authority::telemetry;
use tn_authority::verifier::{self, Expectations, TrustList};

use super::{Exit, Outcome};
use crate::commands::output::say;
use carrier::Carrier;
use client::{Client, HttpAnswer};

/// Show the whole flow on throw-away data: delegate a number, issue a token, verify it as a CA
/// does.
///
/// A number outside the block is then refused. Needs no set-up: it creates its own CA, database and
/// TLS certificate, and deletes them at the end unless `--dir` or `--keep` is given.
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  tn-authority demo
  tn-authority demo --keep --dir /tmp/carrier    then: . /tmp/carrier/env")]
pub struct Args {
    /// Keep all files in this folder, which must be empty or absent. Default: a temporary folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep serving until Ctrl-C, and print the URL, the CA file and API keys for your own calls.
    #[arg(long)]
    keep: bool,
}

/// The number that the enterprise calls from.
const NUMBER: &str = "+12125551001";

pub fn run(args: &Args) -> Outcome {
    let carrier = Carrier::build(args.dir.clone(), args.keep)?;
    telemetry::init(carrier.config().log.format, LevelFilter::Error)?;
    step("A carrier with the service provider code 1234 starts its Token Authority")?;
    say(&format!(
        "development CA        {}",
        carrier.ca_file().display()
    ))?;
    say(&format!(
        "configuration         {}",
        carrier.config_file().display()
    ))?;
    let ignored = carrier.ignored();
    if !ignored.is_empty() {
        say(&format!(
            "ignored variables     {}: the demo has its own settings",
            ignored.join(", ")
        ))?;
    }
    let serving = carrier.serve()?;
    say(&format!("serving               {}", carrier.url()))?;

    let provisioner = carrier.api_key("provisioner", None)?;
    let provisioning = Client::new(carrier.url(), carrier.ca_pem(), &provisioner)?;

    step("The carrier holds 1.212.555.1XXX")?;
    let block = json!({ "spc": "1234", "block": "1.212.555.1XXX", "basis": "block" });
    expect_status(provisioning.post("/v1/allocations", &block)?, 201)?;

    step(&format!("It delegates {NUMBER} to the enterprise `acme`"))?;
    expect_status(
        provisioning.put("/v1/accounts/acme", &json!({ "name": "Acme, Inc." }))?,
        201,
    )?;
    let number = json!({ "start": NUMBER, "count": 1, "reference": "order 4711" });
    expect_status(
        provisioning.post("/v1/accounts/acme/delegations", &number)?,
        201,
    )?;

    step("The enterprise requests a token, bound to the key of its ACME account")?;
    let account_key = development::account_key()?;
    let fingerprint = Fingerprint::of_jwk(&account_key)?;
    let key = carrier.api_key("account", Some("acme"))?;
    let enterprise = Client::new(carrier.url(), carrier.ca_pem(), &key)?;
    let list = list_of("one:12125551001")?;
    let answer = expect_status(
        enterprise.post("/at/account/acme/token", &request(&list, fingerprint))?,
        200,
    )?;
    let token = answer["token"]
        .as_str()
        .ok_or("the answer has no token")?
        .to_owned();

    step("The contents of the token")?;
    let claims = verifier::lint(&token, Dialect::Strict)?;
    print_parts(&token)?;
    say(&format!(
        "tkvalue               {}",
        serde_json::to_string(claims.tkvalue.scope())?
    ))?;

    step("A CA verifies it (RFC 9448 section 6), with the certificate at its x5u")?;
    check(&carrier, &provisioning, &token, fingerprint, list.clone())?;

    step("The enterprise requests a token for +12125552001, which is outside the block")?;
    let outside = request(&list_of("one:12125552001")?, fingerprint);
    let refused = enterprise.post("/at/account/acme/token", &outside)?;
    say(&format!(
        "{} {}",
        refused.status,
        serde_json::to_string_pretty(&refused.body)?
    ))?;
    if refused.status != 403
        || refused.body["subproblems"][0]["identifier"]["start"] != "+12125552001"
    {
        return Err("the refusal does not name the number outside the block".into());
    }
    say("refused               +12125552001: it is not delegated to acme")?;

    if args.keep {
        let admin = carrier.api_key("admin", None)?;
        carrier.print_access(
            &[
                ("admin", &admin),
                ("provisioner", &provisioner),
                ("acme", &key),
            ],
            &account_key,
        )?;
        serving.wait()?;
    } else {
        serving.stop()?;
        step("Done. `tn-authority demo --keep` keeps serving, for your own calls")?;
    }
    Ok(Exit::SUCCESS)
}

/// Verifies the token as a CA does. It fetches `x5u` only because the URL is this authority's.
fn check(
    carrier: &Carrier,
    client: &Client,
    token: &str,
    fingerprint: Fingerprint,
    identifier: TnAuthList,
) -> Result<(), Box<dyn Error>> {
    let header = part(token, 0)?;
    let x5u = header["x5u"].as_str().ok_or("the token has no x5u")?;
    let path = x5u
        .strip_prefix(carrier.url())
        .ok_or("x5u names another authority")?;
    let chain = client.get_text(path)?;
    say(&format!("fetched               {x5u}"))?;
    let mut trust = TrustList::default();
    trust.trust_pem(carrier.ca_pem())?;
    trust.publish_pem(x5u, &chain)?;
    let expected = Expectations {
        trust,
        fingerprint,
        tktype: TkType::TnAuthList,
        dialect: Dialect::Strict,
        identifier: Some(identifier.into()),
        ca: Some(false),
        audience: None,
    };
    let report = verifier::verify(token, &expected, Clock::system().now());
    for line in report.to_string().lines() {
        say(line)?;
    }
    if report.accepted() {
        Ok(())
    } else {
        Err("the token was not accepted".into())
    }
}

fn list_of(entry: &str) -> Result<TnAuthList, Box<dyn Error>> {
    let entry: TnEntry = entry.parse()?;
    Ok(TnAuthList::from_entries(vec![entry])?)
}

fn request(list: &TnAuthList, fingerprint: Fingerprint) -> Value {
    json!({ "tktype": "TNAuthList", "tkvalue": list.to_tkvalue(), "ca": false, "fingerprint": fingerprint })
}

/// Prints an answer, and returns its body if the status is the expected one.
fn expect_status(answer: HttpAnswer, expected: u16) -> Result<Value, Box<dyn Error>> {
    say(&format!("{} {}", answer.status, answer.body))?;
    if answer.status == expected {
        Ok(answer.body)
    } else {
        Err(format!("expected status {expected}").into())
    }
}

fn print_parts(token: &str) -> Result<(), Box<dyn Error>> {
    for (name, index) in [("header", 0), ("payload", 1)] {
        say(&format!(
            "{name} {}",
            serde_json::to_string_pretty(&part(token, index)?)?
        ))?;
    }
    Ok(())
}

fn part(token: &str, index: usize) -> Result<Value, Box<dyn Error>> {
    use base64::Engine as _;
    let part = token
        .split('.')
        .nth(index)
        .ok_or("a token has three parts")?;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part)?;
    Ok(serde_json::from_slice(&json)?)
}

fn step(title: &str) -> io::Result<()> {
    say!("\n== {title}");
    Ok(())
}

fn say(text: &str) -> io::Result<()> {
    for line in text.lines() {
        say!("   {line}");
    }
    Ok(())
}
