//! Variables that look like settings and are none. `TN_AUTHORITY_LIMITS__X` would otherwise be
//! ignored silently, as a mistyped key would be in a file.

use std::ffi::OsString;

use super::ConfigError;
use crate::domain::text::printable::printable;

/// What starts the name of a setting. Names are compared without regard to case, as by the library.
const SETTING: &str = "TN_AUTHORITY__";
/// What starts the names of our other variables, and of mistyped ones.
const OURS: &str = "TN_AUTHORITY_";
/// What separates section and key.
const SEPARATOR: &str = "__";

/// The sections of the configuration, in upper case.
const SECTIONS: [&str; 20] = [
    "CARRIER",
    "SERVER",
    "OPERATIONS",
    "DATABASE",
    "WRITER",
    "SIGNER",
    "TOKENS",
    "AGING",
    "POLICY",
    "IMPORTS",
    "LIMITS",
    "API_KEYS",
    "OAUTH",
    "CLIENT_CERTIFICATES",
    "PROXY",
    "IDEMPOTENCY",
    "FACADE",
    "WEBHOOKS",
    "CONTROL",
    "LOG",
];

/// Other variables of ours, without [`OURS`]: of `redeem`, and of the plug-in for CAs.
const OTHERS: [&str; 1] = ["API_KEY"];
const KINDS_OF_OTHERS: [&str; 4] = ["TEST_", "BENCH_", "BARE_", "PLUGIN_"];

/// What ends the names of variables that Kubernetes sets for a service called `tn-authority` or
/// `tn-authority-..`.
const OF_KUBERNETES: [&str; 6] = [
    "SERVICE_HOST",
    "PORT",
    "_TCP",
    "_TCP_PROTO",
    "_TCP_PORT",
    "_TCP_ADDR",
];

/// Refuses a variable with the separator of settings, or with the name of a section, but without
/// the prefix of settings: the service would start with something else than was meant.
pub(super) fn refuse_mistyped<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), ConfigError> {
    let names = names.filter_map(|name| Some((name, beyond_prefix(name)?)));
    let mut mistyped = names.filter_map(|(name, rest)| Some((name, meant(&rest)?)));
    let Some((name, meant)) = mistyped.next() else {
        return Ok(());
    };
    Err(ConfigError::Variable {
        name: printable(name),
        instead: printable(&format!("{SETTING}{meant}")),
    })
}

/// What a variable without the prefix of settings was most likely meant to be.
fn meant(rest: &str) -> Option<String> {
    if rest.contains(SEPARATOR) {
        return Some(rest.to_owned());
    }
    if is_known(rest) {
        return None;
    }
    let of_section = |section: &&str| {
        let key = rest.strip_prefix(section)?.strip_prefix('_')?;
        Some(format!("{section}{SEPARATOR}{key}"))
    };
    SECTIONS.iter().find_map(of_section)
}

/// Warnings about variables that have our prefix and mean nothing.
pub(super) fn warnings(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let mut unknown: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| beyond_prefix(name).is_some_and(|rest| !is_known(&rest)))
        .collect();
    unknown.sort_unstable();
    let warning = |name: &String| {
        format!(
            "the environment variable `{}` is ignored; a setting is `{SETTING}SECTION{SEPARATOR}KEY`, such as \
             `{SETTING}SERVER{SEPARATOR}LISTEN`",
            printable(name)
        )
    };
    unknown.iter().map(warning).collect()
}

/// The name without the prefix, in upper case; `None` if it is a setting, or not ours.
fn beyond_prefix(name: &str) -> Option<String> {
    let name = name.to_ascii_uppercase();
    let rest = name.strip_prefix(OURS)?;
    (!name.starts_with(SETTING)).then(|| rest.to_owned())
}

fn is_known(rest: &str) -> bool {
    let of_a_port = |rest: &str| rest.contains("SERVICE_PORT");
    OTHERS.contains(&rest)
        || KINDS_OF_OTHERS.iter().any(|kind| rest.starts_with(kind))
        || OF_KUBERNETES.iter().any(|end| rest.ends_with(end))
        || of_a_port(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_setting_with_one_underscore_too_few_is_refused() {
        for (name, instead) in [
            (
                "TN_AUTHORITY_LIMITS__TOKEN_RATE",
                "`TN_AUTHORITY__LIMITS__TOKEN_RATE`",
            ),
            (
                "tn_authority_limits__token_rate",
                "`TN_AUTHORITY__LIMITS__TOKEN_RATE`",
            ),
            ("TN_AUTHORITY_DATABASE_URL", "`TN_AUTHORITY__DATABASE__URL`"),
            (
                "TN_AUTHORITY_API_KEYS_SECRET_FILE",
                "`TN_AUTHORITY__API_KEYS__SECRET_FILE`",
            ),
        ] {
            let why = refuse_mistyped([name].into_iter())
                .expect_err(name)
                .to_string();
            assert!(
                why.contains(&format!("`{name}`")) && why.contains(instead),
                "{why}"
            );
        }
        for name in [
            "TN_AUTHORITY__LIMITS__TOKEN_RATE",
            "TN_AUTHORITY_API_KEY",
            "TN_AUTHORITY_URL",
            // Of a Kubernetes service `tn-authority-server`.
            "TN_AUTHORITY_SERVER_SERVICE_HOST",
            "TN_AUTHORITY_SERVER_PORT_8443_TCP",
            "OTHER__X",
            "PATH",
        ] {
            assert!(refuse_mistyped([name].into_iter()).is_ok(), "{name}");
        }
    }

    #[test]
    fn all_sections_are_known() {
        let unknown = serde_json::json!({ "no-section": {} });
        let why = serde_json::from_value::<Config>(unknown)
            .expect_err("no such section")
            .to_string();
        let (_, listed) = why.split_once("expected one of ").expect("their names");
        let listed: Vec<String> = listed
            .split(", ")
            .map(|name| name.trim_matches('`').to_ascii_uppercase())
            .collect();
        assert_eq!(listed, SECTIONS);
    }

    #[test]
    fn a_variable_that_means_nothing_is_warned_of() {
        let names = |names: &[&str]| warnings(names.iter().map(OsString::from));
        let warned = names(&["TN_AUTHORITY_HOME", "TN_AUTHORITY_URL"]);
        assert_eq!(warned.len(), 2);
        assert!(
            warned[0].contains("`TN_AUTHORITY_HOME` is ignored"),
            "{warned:?}"
        );
        let fine = [
            "TN_AUTHORITY__SERVER__LISTEN",
            "TN_AUTHORITY_API_KEY",
            "TN_AUTHORITY_TEST_POSTGRES",
            "TN_AUTHORITY_PLUGIN_CONFIG",
            "TN_AUTHORITY_SERVICE_HOST",
            "TN_AUTHORITY_SERVICE_PORT_HTTPS",
            "TN_AUTHORITY_PORT_8443_TCP_ADDR",
            "TN_AUTHORITY_PORT",
            "TN_AUTHORITYX",
        ];
        assert_eq!(names(&fine), Vec::<String>::new());
    }
}
