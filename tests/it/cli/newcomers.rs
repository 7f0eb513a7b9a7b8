//! What the commands say to somebody who gets it wrong the first time.

use std::fs;

use super::import_blocks::Carrier;

fn told(carrier: &Carrier, args: &[&str]) -> String {
    let output = carrier.run(args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).expect("text")
        + &String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_mistake_says_what_to_do() {
    let carrier = Carrier::new();
    let config = carrier.0.path().join("ta.toml");
    fs::write(&config, "[carrier]\nspcs = [\"1234]\n").expect("a file");
    let ten = "numbers under +1 have 10 digits after the 1";
    for (args, why) in [
        (
            &["allocation", "add", "1.212.556.1XX", "--spc", "1234"][..],
            ten,
        ),
        (
            &["allocation", "add", "1.2125.556.1XXX", "--spc", "1234"],
            ten,
        ),
        (
            &["allocation", "add", "1.212.556.1xxx", "--spc", "1234"],
            "upper-case `X`",
        ),
        (&["delegation", "add", "acme", "+1212555101"], ten),
        (
            &[
                "exclusion",
                "add",
                "+121255510010",
                "--reason",
                "ported-out",
            ],
            ten,
        ),
        (
            &["exclusion", "add", "+12125551001", "--reason", "ported-out"],
            "the carrier holds none of these numbers, now or later, so nothing would change: +12125551001",
        ),
        (
            &["exclusion", "add", "+12125551001", "--reason", "reserved"],
            "`--force`",
        ),
        (
            &["delegation", "add", "nobody", "+12125551001"],
            "create it first",
        ),
        (
            &["explain", "nobody", "+12125551001"],
            "there is no account `nobody`",
        ),
        (&["import", "x.csv", "--format", "nanp-blocks"], "`--ocn`"),
        (
            &["import", "x.csv", "--format", "nanp-blocks", "--ocn", "1"],
            "`--spc`",
        ),
        (
            &["import", "x.csv", "--format", "delegations", "--force"],
            "takes no `force`",
        ),
        (
            &["tn-auth-list", "encode", "one:+12125551001"],
            "without `+`",
        ),
        (
            &["tn-auth-list", "encode", "range:+12125551000+10"],
            "without `+`",
        ),
        (
            &["tn-auth-list", "decode", "xxxx"],
            "not a TNAuthList in base64url",
        ),
        (
            &["--config", config.to_str().expect("a path"), "check"],
            "quotation marks",
        ),
    ] {
        let told = told(&carrier, args);
        assert!(told.contains(why), "{args:?}: {told}");
    }
}

#[test]
fn a_code_that_nothing_checks_is_warned_of() {
    let carrier = Carrier::new();
    let config = carrier.0.path().join("ta.toml");
    fs::write(&config, "[carrier]\nspcs = [\"1234\"]\n").expect("a file");
    let config = config.to_str().expect("a path");
    let add = |args: &[&str]| {
        let output = carrier.run(&[args, &["--basis", "block"]].concat());
        let told = String::from_utf8(output.stderr).expect("text");
        (output.status.success(), told)
    };
    let (done, told) = add(&["allocation", "add", "1.212.555.1XXX", "--spc", "9999"]);
    assert!(
        done && told.contains("warning: `9999` is not checked"),
        "{told}"
    );
    let (done, told) = add(&[
        "--config",
        config,
        "allocation",
        "add",
        "1.212.555.2XXX",
        "--spc",
        "1234",
    ]);
    assert!(done && told.is_empty(), "{told}");
    let (done, told) = add(&[
        "--config",
        config,
        "allocation",
        "add",
        "1.212.555.3XXX",
        "--spc",
        "9999",
    ]);
    assert!(!done && told.contains("not one of the carrier's"), "{told}");
}

#[test]
fn a_port_out_says_what_it_met() {
    let carrier = Carrier::new();
    carrier.does(&["allocation", "add", "1.212.555.1XXX", "--spc", "1234"]);
    let ports = |numbers: &str, more: &[&str]| {
        let args = ["exclusion", "add", numbers, "--reason", "ported-out"];
        carrier.does(&[&args, more].concat())
    };
    let whole = ports("+12125551001", &[]);
    assert!(!whole.contains("the carrier holds"), "{whole}");
    let part = ports("+12125551990+20", &[]);
    assert!(
        part.contains("the carrier holds +12125551990 to +12125551999 of them"),
        "{part}"
    );
    let forced = ports("+13125551001", &["--force"]);
    assert!(
        forced.contains("the carrier holds none of them"),
        "{forced}"
    );
}
