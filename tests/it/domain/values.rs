//! The published vectors, read and written by the domain.

use proptest::prelude::*;
use serde_json::{Value, json};
use tn_authority::domain::{Fingerprint, Spc, TnAuthList, TnEntry};

use crate::support::fixtures::{self, hex, items, member};

const VECTORS: &str = "vectors/tn_auth_list.json";

/// The entries of a vector, made from their texts.
fn entries(of: &Value) -> Vec<TnEntry> {
    let text = |entry: &Value| match (entry["spc"].as_str(), entry["one"].as_str()) {
        (Some(spc), _) => format!("spc:{spc}"),
        (_, Some(one)) => format!("one:{one}"),
        _ => format!(
            "range:{}+{}",
            member(&entry["range"], "start"),
            entry["range"]["count"]
        ),
    };
    let texts = items(of).iter().map(text);
    texts.map(|text| text.parse().expect(&text)).collect()
}

#[test]
fn every_good_vector_goes_both_ways_byte_for_byte() {
    let vectors = fixtures::json(VECTORS);
    let good = items(&vectors["positive"]);
    assert_eq!(good.len(), 15);
    for vector in good {
        let name = member(vector, "name");
        let der = hex(member(vector, "der_hex"));
        let read = TnAuthList::from_tkvalue(member(vector, "tkvalue")).expect(name);
        assert_eq!(read.as_der(), der, "{name}");
        assert_eq!(
            json!(read),
            json!({ "entries": vector["entries"] }),
            "{name}"
        );
        assert_eq!(TnAuthList::from_der(&der).as_ref(), Ok(&read), "{name}");
        assert_eq!(
            TnAuthList::from_legacy_tkvalue(member(vector, "legacy_base64")).as_ref(),
            Ok(&read),
            "{name}"
        );

        let made = TnAuthList::from_entries(entries(&vector["entries"])).expect(name);
        assert_eq!(made, read, "{name}");
        assert_eq!(made.to_tkvalue(), member(vector, "tkvalue"), "{name}");
    }
}

/// What the reason of each bad vector has to name.
const REASONS: [(&str, &[&str]); 35] = [
    ("empty list", &["at least one entry"]),
    (
        "implicit tag",
        &[
            "entry 1",
            "EXPLICIT tag",
            "CONTEXT-SPECIFIC [0] (primitive)",
        ],
    ),
    (
        "bare PrintableString, no [0] (seen in real certificates)",
        &["entry 1", "EXPLICIT tag", "PrintableString"],
    ),
    (
        "lost length octet (seen in real certificates)",
        &["length runs past the end"],
    ),
    (
        "not a sequence (seen in a test certificate)",
        &["expected a SEQUENCE", "IA5String"],
    ),
    ("count 1", &["entry 1", "2 numbers or more, not 1"]),
    ("count 0", &["2 numbers or more, not 0"]),
    ("count -5", &["2 numbers or more", "negative"]),
    ("count not minimal", &["shortest form"]),
    ("count of 2^64", &["overflows the number width"]),
    ("start+count reaches 10^D", &["below 10^2", "RFC 8226 §9"]),
    ("trailing bytes", &["trailing bytes after the list"]),
    ("length not minimal", &["shortest form"]),
    ("indefinite length", &["indefinite length"]),
    ("UTF8String spc", &["expected an IA5String", "UTF8String"]),
    (
        "PrintableString number",
        &["expected an IA5String", "PrintableString"],
    ),
    (
        "byte above 0x7f in spc",
        &["service provider code", "ASCII"],
    ),
    ("empty spc", &["service provider code is not empty"]),
    ("NUL in spc", &["service provider code", "printable"]),
    ("empty number", &["1 to 15 characters, not 0"]),
    ("16 digits", &["1 to 15 characters, not 16"]),
    ("plus sign", &["0x2b", "telephone number"]),
    ("letters", &["0x43", "telephone number"]),
    ("space", &["0x20", "telephone number"]),
    (
        "star in a range start",
        &["range starts with a number of digits only"],
    ),
    ("unknown tag [3]", &["[0] spc, [1] range or [2] one", "[3]"]),
    ("element after count", &["unknown element follows count"]),
    (
        "two strings in one tag",
        &["trailing bytes after the number"],
    ),
    ("nested list", &["EXPLICIT tag", "SEQUENCE"]),
    ("nothing at all", &["empty"]),
    ("padded base64url", &["padding"]),
    ("standard alphabet", &["0x2b", "offset 2", "alphabet"]),
    ("non-zero trailing bits", &["not zero"]),
    ("newline inside", &["0x0a", "alphabet"]),
    ("impossible length", &["length"]),
];

#[test]
fn every_bad_vector_is_refused_for_what_is_wrong_with_it() {
    let vectors = fixtures::json(VECTORS);
    let bad = items(&vectors["negative"])
        .iter()
        .chain(items(&vectors["text_negative"]));
    let bad: Vec<&Value> = bad.collect();
    assert_eq!(bad.len(), REASONS.len());
    for vector in bad {
        let name = member(vector, "name");
        let (_, words) = REASONS.iter().find(|(of, _)| *of == name).expect(name);
        let mut reasons =
            vec![TnAuthList::from_tkvalue(member(vector, "tkvalue")).expect_err(name)];
        if let Some(der) = vector["der_hex"].as_str() {
            reasons.push(TnAuthList::from_der(&hex(der)).expect_err(name));
        }
        for reason in reasons {
            let reason = reason.to_string();
            for word in *words {
                assert!(
                    reason.contains(word),
                    "{name}: `{reason}` does not say `{word}`"
                );
            }
        }
    }
}

#[test]
fn the_value_of_the_author_of_the_module_is_read() {
    let der = fixtures::bytes("vectors/housley_rfc8226_tnal_pem_text.der");
    let list = TnAuthList::from_der(&der).expect("a list");
    let entries = json!([
        { "spc": "bogus" },
        { "range": { "start": "5715551212", "count": 788 } },
        { "one": "7035551212" },
    ]);
    assert_eq!(json!(list), json!({ "entries": entries }));
    assert_eq!(TnAuthList::from_entries(list.entries().to_vec()), Ok(list));
}

#[test]
fn the_wrong_base64_is_refused_in_both_spellings() {
    for tkvalue in [
        "MA-iDRYLMTIxMjU1NTE4MjQ=",
        "MA+iDRYLMTIxMjU1NTE4MjQ=",
        "MAigBhYEMTIzNA=",
        " MAigBhYEMTIzNA",
    ] {
        assert!(TnAuthList::from_tkvalue(tkvalue).is_err(), "{tkvalue}");
    }
    for legacy in [
        "MAigBhYEMTIzNA",
        "MAigBhYEMTIzNA=",
        "MA-iDRYLMTIxMjU1NTE4MjQ=",
        "MAigBhYEMTIzNB==",
        "",
    ] {
        assert!(TnAuthList::from_legacy_tkvalue(legacy).is_err(), "{legacy}");
    }
}

#[test]
fn what_is_not_e164_is_named_with_its_entry() {
    for (entry, word) in [
        ("one:*67", "`*`"),
        ("one:0301234", "country code"),
        ("range:0100+5", "country code"),
    ] {
        let entries = ["spc:1234", entry].map(|text| text.parse().expect(text));
        let list = TnAuthList::from_entries(entries.to_vec()).expect("a list");
        let reason = list.numbers().expect_err(entry).to_string();
        assert!(
            reason.contains("entry 2") && reason.contains(word),
            "{reason}"
        );
    }
}

#[test]
fn an_entry_that_is_written_wrong_is_refused() {
    for wrong in [
        "",
        "spc",
        "spc:",
        "spc:12 4",
        "one:",
        "one:+12125551001",
        "one:1234567890123456",
        "range:12125551000",
        "range:12125551000+1",
        "range:12125551000+-5",
        "range:12125551000++5",
        "range:+12125551000+5",
        "range:10+90",
        "range:*67+5",
        "range:12125551000+99999999999999999999",
        "two:12125551001",
        "SPC:1234",
    ] {
        assert!(wrong.parse::<TnEntry>().is_err(), "{wrong:?} was taken");
    }
}

pub const RFC7638_RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

#[test]
fn fingerprints_of_published_keys() {
    let vectors = fixtures::json("vectors/authority_tokens.json");
    let keys = items(&vectors["account_keys"]);
    let expected = |source: &str| {
        let key = keys
            .iter()
            .find(|key| key["source"] == source)
            .expect(source);
        member(key, "fingerprint")
    };
    let a1 = keys
        .iter()
        .find(|key| key["source"] == "RFC 7517 A.1")
        .expect("A.1");
    for (jwk, source) in [
        (vectors["signing_key"].to_string(), "RFC 7515 A.3"),
        (a1["jwk"].to_string(), "RFC 7517 A.1"),
        (RFC7638_RSA.to_owned(), "RFC 7638 3.1 (RSA)"),
    ] {
        let fingerprint = Fingerprint::of_jwk(&jwk).expect(source).to_string();
        assert_eq!(fingerprint, expected(source), "{source}");
        assert_eq!(
            fingerprint
                .parse::<Fingerprint>()
                .expect(source)
                .to_string(),
            fingerprint
        );
    }
}

#[test]
fn keys_without_a_thumbprint_are_refused() {
    for wrong in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"kty":"oct","k":"AQAB"}"#,
        r#"{"kty":"EC","crv":"P-256","x":"AA"}"#,
        r#"{"kty":"RSA","n":"AA","e":65537}"#,
        r#"{"kty":"RSA","n":"AA","e":""}"#,
        r#"{"kty":"RSA","n":"A\"A","e":"AQAB"}"#,
        r#"{"kty":"RSA","n":"AA","n":"AB","e":"AQAB"}"#,
    ] {
        assert!(Fingerprint::of_jwk(wrong).is_err(), "{wrong} was taken");
    }
}

#[test]
fn a_fingerprint_has_one_spelling() {
    let good = format!("SHA256 {}", ["5E"; 32].join(":"));
    assert!(good.parse::<Fingerprint>().is_ok());
    let wrong = [
        String::new(),
        good.to_lowercase(),
        good.replace("SHA256 ", "SHA256"),
        good.replace("SHA256 ", "SHA256  "),
        good.replace("SHA256", "SHA512"),
        good.replace("SHA256", "sha256"),
        good.replace("5E", "5e"),
        good.replace(':', ""),
        good.replace(':', " "),
        good.replacen("5E:", "", 1),
        format!("{good}:5E"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        good.replacen("5E", "5", 1),
        good.replacen("5E", "05E", 1),
        good.replacen("5E", "+E", 1),
        "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U".into(),
        good.replacen("5E", "５E", 1),
    ];
    for wrong in wrong {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong:?} was taken");
    }
}

/// The texts of valid entries.
fn entry() -> impl Strategy<Value = String> {
    let range = (1_u32..=15).prop_flat_map(|digits| {
        let limit = 10_u64.pow(digits);
        let start = 0..limit.saturating_sub(2).max(1);
        start.prop_flat_map(move |start| {
            let most = (limit - start - 1).max(2);
            (2..=most).prop_map(move |count| (digits, start, count))
        })
    });
    prop_oneof![
        "[!-~]{1,12}".prop_map(|spc| format!("spc:{spc}")),
        "[0-9#*]{1,15}".prop_map(|one| format!("one:{one}")),
        range.prop_map(|(digits, start, count)| {
            format!("range:{start:0width$}+{count}", width = digits as usize)
        }),
    ]
}

proptest! {
    #[test]
    fn every_list_goes_both_ways(texts in prop::collection::vec(entry(), 1..40)) {
        let entries: Vec<TnEntry> = texts.iter().map(|text| text.parse().expect(text)).collect();
        let made = TnAuthList::from_entries(entries).expect("a list");
        let read = TnAuthList::from_tkvalue(&made.to_tkvalue()).expect("its own value");
        prop_assert_eq!(&read, &made);
        let spcs: Vec<Spc> = texts.iter().filter_map(|t| t.strip_prefix("spc:")).map(|t| t.parse().expect(t)).collect();
        prop_assert_eq!(read.spcs().cloned().collect::<Vec<_>>(), spcs);
    }

    #[test]
    fn no_bytes_make_the_reader_fall(der in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(list) = TnAuthList::from_der(&der) {
            prop_assert_eq!(list.as_der(), der);
        }
    }
}

/// There is no second spelling: a changed byte makes another list, which is written with that byte, or no list.
#[test]
fn a_changed_byte_is_refused_or_is_another_list() {
    let vectors = fixtures::json(VECTORS);
    for vector in items(&vectors["positive"]) {
        let der = hex(member(vector, "der_hex"));
        for (place, change) in
            (0..der.len()).flat_map(|place| (1..=255).map(move |change| (place, change)))
        {
            let mut changed = der.clone();
            changed[place] ^= change;
            if let Ok(list) = TnAuthList::from_der(&changed) {
                let again = TnAuthList::from_entries(list.entries().to_vec())
                    .expect("entries that were read");
                assert_eq!(again.as_der(), changed, "byte {place} ^ {change:#04x}");
            }
        }
    }
}
