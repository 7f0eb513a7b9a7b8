//! A type name is used once in the crate, so that a reader who searches for it finds one meaning.

use std::collections::BTreeMap;

use super::rust::words;
use super::sources;

/// Names that may be used more than once: rows of tables and arguments of commands, which are private to their files, and
/// sections of the configuration, which are named as what they configure.
const SHARED: [&str; 15] = [
    "ApiKeys",
    "Args",
    "Carrier",
    "CertificateCaller",
    "ClientCertificates",
    "Command",
    "Facade",
    "Gateway",
    "Idempotency",
    "Issuer",
    "Limits",
    "Pkcs11",
    "Row",
    "Signer",
    "Writer",
];

#[test]
fn a_type_name_has_one_meaning() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, source) in sources("src") {
        for name in types(&source) {
            defined.entry(name).or_default().push(file.clone());
        }
    }
    let repeated = defined.iter().filter(|(_, files)| files.len() > 1);
    let repeated: Vec<String> = repeated
        .filter(|(name, _)| !SHARED.contains(&name.as_str()))
        .map(|(name, files)| format!("`{name}`: {}", files.join(", ")))
        .collect();
    assert!(
        repeated.is_empty(),
        "give these types names of their own:\n{}",
        repeated.join("\n")
    );
    let unused = SHARED.iter().filter(|name| {
        let files = defined.get(**name);
        files.is_none_or(|files| files.len() < 2)
    });
    let unused: Vec<&&str> = unused.collect();
    assert!(unused.is_empty(), "no longer shared: {unused:?}");
}

#[test]
fn types_are_found_outside_of_tests_and_impls() {
    let source = "pub struct One; enum Two<T> { A(T) } trait Three { type Inner; } impl Three for One { type Inner = u8; } \
                  type Four = u8; fn f() { let type_of = 1; } #[cfg(test)] mod tests { struct Five; }";
    assert_eq!(types(source), ["One", "Two", "Three", "Four"]);
}

/// The types that a source defines, but for those of its tests and the associated types of its impls.
fn types(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod ").next().unwrap_or(source);
    let source = source.split("#[cfg(test)] mod ").next().unwrap_or(source);
    let words = words(source);
    let (mut types, mut depth) = (Vec::new(), 0);
    for pair in words.windows(2) {
        match pair[0].as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" | "union" if is_type(&pair[1]) => {
                types.push(pair[1].clone())
            }
            "type" if depth == 0 => types.push(pair[1].clone()),
            _ => {}
        }
    }
    types
}

fn is_type(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}
