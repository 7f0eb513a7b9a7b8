//! Whether a text for people has something that phones and mail programs show as a link.

use std::net::Ipv4Addr;

/// Characters that Unicode reads as the dot of a domain name (UTS #46 §2.3), or that look like it.
const DOTS: [char; 5] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}', '\u{2024}'];
/// What starts a link without a dot.
const STARTS: [&str; 6] = ["://", "www.", "mailto:", "tel:", "sms:", "//"];

/// Whether a text contains a URL, or a domain name or an address that could be part of one, such as
/// `evil.example`. When in doubt it does: `St.Gallen` looks like a domain, `St. Gallen` does not.
#[must_use]
pub fn has_link(text: &str) -> bool {
    let plain: String = text
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            '\u{ff0f}' => '/',
            '\u{ff1a}' => ':',
            c if DOTS.contains(&c) => '.',
            c => c,
        })
        .collect();
    if STARTS.iter().any(|start| plain.contains(start)) {
        return true;
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    plain.split(|c| !is_part(c)).any(is_host)
}

/// Whether a word, in lower case, is a domain name or an IPv4 address.
fn is_host(word: &str) -> bool {
    let word = word.trim_matches(['.', '-']);
    if word.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    // The last label of a domain has two characters at least, and is no number.
    let could_be_last =
        |label: &&str| label.chars().count() >= 2 && !label.chars().all(|c| c.is_ascii_digit());
    let labels: Vec<&str> = word.split('.').collect();
    let mut pairs = labels.windows(2);
    pairs.any(|pair| !pair[0].is_empty() && could_be_last(&pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_domains_are_found() {
        for text in [
            "Bank https://evil.example",
            "Bank HTTPS://EVIL",
            "Bank www.evil",
            "evil.example",
            "Go to evil.example/x now",
            "Bank (evil.co)",
            "EVIL.EXAMPLE",
            "evil\u{3002}example",
            "evil\u{ff0e}example",
            "https\u{ff1a}\u{ff0f}\u{ff0f}evil",
            "bücher.example",
            "a.b.example.",
            "me@evil.example",
            "192.0.2.1",
            "192.0.2.1:8080",
            "mailto:me",
            "tel:1900",
            "x.рф",
            "St.Gallen Telecom",
        ] {
            assert!(has_link(text), "{text}");
        }
    }

    #[test]
    fn names_of_companies_are_none() {
        for text in [
            "",
            "Acme, Inc.",
            "Acme, Inc. (Order #17)",
            "A.B. Corp",
            "St. Gallen Telecom",
            "Dr. Who & Sons",
            "Société Générale",
            "No. 1 Shop",
            "Studio 2.0",
            "24/7 Service",
            "Acme: phones",
            "日本電信電話株式会社",
            "acme-17_b~c",
        ] {
            assert!(!has_link(text), "{text}");
        }
    }
}
