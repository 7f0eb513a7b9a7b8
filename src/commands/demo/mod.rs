//! `demo`: the main job on embedded defaults, self-contained. What a carrier would do, by the commands and calls that a
//! carrier would use: nothing here reaches around the service.

mod carrier;
mod client;

use std::error::Error;
use std::io;
use std::path::PathBuf;

use clap::Args as Arguments;
use serde_json::{Value, json};
use tn_authority::domain::{Clock, Dialect, Fingerprint, TkType, TnAuthList, TnEntry};
use tn_authority::signer::development;
use tn_authority::verifier::{self, Expectations, TrustList};

use super::{Exit, Outcome};
use crate::commands::output::say;
use carrier::House;
use client::{Client, HttpAnswer};

/// Show the whole idea: a carrier lends a number, the enterprise gets a token, a CA's check accepts it, and a number
/// outside the block is refused. Needs nothing: makes its own CA, database and TLS, and takes them away again.
#[derive(Debug, Arguments)]
pub struct Args {
    /// Keep everything in this folder, which must be empty or absent. Without it, a folder of its own, removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Go on serving, and print URL, CA file and API keys.
    #[arg(long)]
    keep: bool,
}

/// The number that the enterprise calls from.
const NUMBER: &str = "+12125551001";

pub fn run(args: &Args) -> Outcome {
    let house = House::build(args.dir.clone(), args.keep)?;
    step("A carrier with the service provider code 1234 starts its Token Authority")?;
    say(&format!(
        "development CA        {}",
        house.ca_file().display()
    ))?;
    say(&format!(
        "configuration         {}",
        house.config_file().display()
    ))?;
    let serving = house.serve()?;
    say(&format!("serving               {}", house.url()))?;

    let provisioner = house.api_key("provisioner", None)?;
    let provisioning = Client::new(house.url(), house.ca_pem(), &provisioner)?;

    step("The carrier holds 1.212.555.1XXX")?;
    let block = json!({ "spc": "1234", "block": "1.212.555.1XXX", "basis": "block" });
    done(provisioning.post("/v1/allocations", &block)?, 201)?;

    step(&format!("It lends {NUMBER} to the enterprise `acme`"))?;
    done(
        provisioning.put("/v1/accounts/acme", &json!({ "name": "Acme, Inc." }))?,
        201,
    )?;
    let number = json!({ "start": NUMBER, "count": 1, "reference": "order 4711" });
    done(
        provisioning.post("/v1/accounts/acme/delegations", &number)?,
        201,
    )?;

    step("The enterprise asks for a token, bound to the key of its ACME account")?;
    let account_key = development::account_key()?;
    let fingerprint = Fingerprint::of_jwk(&account_key)?;
    let key = house.api_key("account", Some("acme"))?;
    let enterprise = Client::new(house.url(), house.ca_pem(), &key)?;
    let list = list_of("one:12125551001")?;
    let answer = done(
        enterprise.post("/at/account/acme/token", &request(&list, fingerprint))?,
        200,
    )?;
    let token = answer["token"]
        .as_str()
        .ok_or("the answer has no token")?
        .to_owned();

    step("What the token says")?;
    let claims = verifier::lint(&token, Dialect::Strict)?;
    print_parts(&token)?;
    say(&format!(
        "tkvalue               {}",
        serde_json::to_string(claims.tkvalue.scope())?
    ))?;

    step("A CA checks it (RFC 9448 section 6), with the certificate that x5u names")?;
    check(&house, &provisioning, &token, fingerprint, list.clone())?;

    step("The enterprise asks for +12125552001, which is outside the block")?;
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
        return Err("the number outside the block was not refused by name".into());
    }
    say("refused               +12125552001: it was never lent to acme")?;

    if args.keep {
        let admin = house.api_key("admin", None)?;
        house.introduce(
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
        step("Done. `tn-authority demo --keep` goes on serving, for your own calls")?;
    }
    Ok(Exit::SUCCESS)
}

/// Verifies the token as a CA does. The CA fetches `x5u` only because it expects this authority there.
fn check(
    house: &House,
    client: &Client,
    token: &str,
    fingerprint: Fingerprint,
    identifier: TnAuthList,
) -> Result<(), Box<dyn Error>> {
    let header = part(token, 0)?;
    let x5u = header["x5u"].as_str().ok_or("the token has no x5u")?;
    let path = x5u
        .strip_prefix(house.url())
        .ok_or("x5u names another authority")?;
    let chain = client.get_text(path)?;
    say(&format!("fetched               {x5u}"))?;
    let mut trust = TrustList::default();
    trust.trust_pem(house.ca_pem())?;
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

/// Prints an answer, which must have the status that the step is for.
fn done(answer: HttpAnswer, expected: u16) -> Result<Value, Box<dyn Error>> {
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
