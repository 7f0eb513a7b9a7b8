//! The commands that look at lists and certificates, run as a user runs them.

use serde_json::{Value, json};

use super::inspection::{Files, lines, run};
use crate::support::fixtures::{self, items, member};
use crate::support::tokens::{Made, authority};

#[test]
fn lists_are_decoded_and_encoded() {
    let vectors = fixtures::json("vectors/tn_auth_list.json");
    for vector in items(&vectors["positive"]) {
        let expected = json!({ "entries": vector["entries"] });
        for args in [
            &["decode", member(vector, "tkvalue")][..],
            &["decode", "--legacy", member(vector, "legacy_base64")],
            &["decode", member(vector, "legacy_base64"), "--legacy"],
        ] {
            let ran = run(&[&["tn-auth-list"], args].concat(), b"");
            assert_eq!(
                (ran.code, lines(&ran.out)),
                (Some(0), vec![expected.clone()]),
                "{}",
                ran.err
            );
        }
    }
    let entries = ["spc:1234", "range:12125551500+100", "one:12125551824"];
    let ran = run(&[&["tn-auth-list", "encode"], &entries[..]].concat(), b"");
    assert_eq!(
        ran.out,
        "MCugBhYEMTIzNKESMBAWCzEyMTI1NTUxNTAwAgFkog0WCzEyMTI1NTUxODI0\n"
    );
    for wrong in ["spc:", "one:", "range:1+1", "x", "-x", ""] {
        let ran = run(&["tn-auth-list", "encode", "spc:1234", wrong], b"");
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(1), ""),
            "{wrong:?}: {}",
            ran.err
        );
    }
}

#[test]
fn malformed_lists_are_refused_one_by_one_and_in_bulk() {
    let vectors = fixtures::json("vectors/tn_auth_list.json");
    let bad = items(&vectors["negative"])
        .iter()
        .chain(items(&vectors["text_negative"]));
    let bad: Vec<&str> = bad.map(|vector| member(vector, "tkvalue")).collect();
    for tkvalue in bad.iter().chain(&["-MAA", "--", "%"]) {
        let ran = run(&["tn-auth-list", "decode", "--", tkvalue], b"");
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(1), ""),
            "{tkvalue:?}: {}",
            ran.err
        );
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
    }
    let one_line: Vec<&str> = bad
        .into_iter()
        .filter(|tkvalue| !tkvalue.contains('\n'))
        .collect();
    let mut stdin = one_line.join("\n").into_bytes();
    stdin.extend(b"\nMAigBhYEMTIzNA\r\n\xff\nMAigBhYEMTIzNA");
    let ran = run(&["tn-auth-list", "decode", "-"], &stdin);
    let answers = lines(&ran.out);
    assert_eq!(
        (ran.code, answers.len()),
        (Some(0), one_line.len() + 3),
        "{}",
        ran.err
    );
    let good = json!({ "entries": [{ "spc": "1234" }] });
    for (place, answer) in answers.iter().enumerate() {
        let is_good = place == one_line.len() || place == one_line.len() + 2;
        assert_eq!(*answer == good, is_good, "{answer}");
        assert_eq!(answer["error"].is_string(), !is_good, "{answer}");
    }
    let ran = run(&["tn-auth-list", "encode", "-"], b"spc:1234\nspc:\n\n");
    let answers = lines(&ran.out);
    assert_eq!((ran.code, answers.len()), (Some(0), 3));
    assert_eq!(answers[0], json!({ "tkvalue": "MAigBhYEMTIzNA" }));
    assert!(answers[1]["error"].is_string() && answers[2]["error"].is_string());
}

#[test]
fn certificates_are_described() {
    let manifest = fixtures::json("certs/manifest.json");
    let paths: Vec<String> = items(&manifest)
        .iter()
        .map(|entry| {
            fixtures::path("certs")
                .join(member(entry, "file"))
                .to_str()
                .expect("UTF-8")
                .to_owned()
        })
        .collect();
    let args: Vec<&str> = ["certificate", "inspect"]
        .into_iter()
        .chain(paths.iter().map(String::as_str))
        .collect();
    let ran = run(&args, b"");
    let answers = lines(&ran.out);
    assert_eq!(
        (ran.code, answers.len()),
        (Some(0), paths.len()),
        "{}",
        ran.err
    );
    for (entry, answer) in items(&manifest).iter().zip(&answers) {
        assert!(member(answer, "file").ends_with(member(entry, "file")));
        assert_eq!(
            member(answer, "not_after").get(..10),
            member(entry, "not_after").get(..10),
            "{answer}"
        );
        assert_eq!(
            answer["tn_auth_list"].is_null(),
            answer["tn_auth_list_error"].is_string(),
            "{answer}"
        );
        assert_eq!(
            answer["tn_auth_list"].is_null(),
            entry["tn"].is_null(),
            "{answer}"
        );
        assert_eq!(
            answer["usable_for_signing"] == true,
            items(&answer["reasons"]).is_empty(),
            "{answer}"
        );
    }
    // A carrier's certificate that follows the profile, and one that does not.
    let warnings = |name: &str| {
        let of = |answer: &&Value| member(answer, "file").contains(name);
        let answer = answers.iter().find(of).expect(name);
        let all = items(&answer["warnings"]).iter().map(Value::to_string);
        all.filter(|one| !one.contains("only the signing certificate"))
            .collect::<Vec<String>>()
    };
    assert_eq!(warnings("Telnyx_LCC"), [""; 0]);
    let google = warnings("Google_Voice");
    for words in [
        "`SHAKEN 969H` in it",
        "2.16.840.1.114569.1.1.1",
        "no `cRLIssuer` (ATIS-1000080 §6.4.1)",
    ] {
        assert!(google.iter().any(|one| one.contains(words)), "{google:?}");
    }
    let files = Files::new();
    files.write("none.pem", "x");
    let der = files.path("authority.der");
    std::fs::write(&der, authority_with_spc()).expect("DER");
    let ran = run(
        &["certificate", "inspect", &files.path("none.pem"), "/", &der],
        b"",
    );
    let answers = lines(&ran.out);
    assert_eq!((ran.code, answers.len()), (Some(1), 3), "{}", ran.err);
    assert!(answers[0]["error"].is_string() && answers[1]["error"].is_string());
    assert_eq!(answers[2]["tn_auth_list"], json!([{ "spc": "1234" }]));
    assert_eq!(
        (&answers[2]["key"], &answers[2]["usable_for_signing"]),
        (&json!("EC P-256"), &json!(true))
    );
}

/// A certificate that can sign now and for years.
fn authority_with_spc() -> Vec<u8> {
    let key = authority();
    let made = Made {
        days: (-10, 36_500),
        tn_auth_list: Some(&fixtures::hex("3008a006160431323334")),
        ..Made::new("authority", &key)
    };
    made.make().to_der().expect("DER")
}
