//! Whether a text for people has something that phones and mail programs show as a link, or offer
//! to call.

use std::net::Ipv4Addr;

use unicode_normalization::UnicodeNormalization as _;

/// Characters that domain names have dots for (UTS #46 §2.3), besides those that NFKC makes dots.
const DOTS: [char; 2] = ['.', '\u{3002}'];
/// What starts a link without a dot.
const STARTS: [&str; 6] = ["://", "www.", "mailto:", "tel:", "sms:", "//"];
/// The most digits of a text that is not a telephone number, nor a code: both are longer.
const MAX_DIGITS: usize = 4;

/// Ideographs that are digits in a number that is written out.
const IDEOGRAPHS: &str = "〇零一二三四五六七八九壹贰貳叁參肆伍陆陸柒捌玖";
/// The digits of an area code, and the fewest letters after it that are dialled as digits.
const AREA_CODE: usize = 3;
const MIN_LETTERS: usize = 4;

/// Whether a text contains a URL, or a domain name or an address that could be part of one, such as
/// `evil.example`. When in doubt it does: `St.Gallen` looks like a domain, `St. Gallen` does not.
/// Characters that are compatible with others are those (NFKC, Unicode Standard Annex #15). Labels
/// can have any that is not ASCII: some registries take emoji.
#[must_use]
pub fn has_link(text: &str) -> bool {
    let plain: String = text
        .nfkc()
        .flat_map(char::to_lowercase)
        .map(|c| if DOTS.contains(&c) { '.' } else { c })
        .collect();
    if STARTS.iter().any(|start| plain.contains(start)) {
        return true;
    }
    let is_part = |c: char| {
        c.is_alphanumeric() || c == '-' || c == '.' || !(c.is_ascii() || c.is_whitespace())
    };
    plain.split(|c| !is_part(c)).any(is_host)
}

/// Whether a text has so many digits that they could be a telephone number or a code, whatever is
/// between them, or one whose end is written in letters (ITU-T E.161), such as `1-800-FLOWERS`.
#[must_use]
pub fn has_number(text: &str) -> bool {
    let plain: String = text.nfkc().flat_map(char::to_uppercase).collect();
    plain.chars().filter(|c| is_digit(*c)).count() > MAX_DIGITS || has_vanity_number(&plain)
}

/// Whether the digits end with the area code of calls that are free or cost more, 8xx or 9xx, and
/// letters follow.
fn has_vanity_number(plain: &str) -> bool {
    // Whatever is between the digits, they belong together, and so do the letters.
    let dialled: String = plain.chars().filter(|c| c.is_alphanumeric()).collect();
    let mut rest = dialled.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = &rest[start..];
        let end = digits.find(|c: char| !c.is_ascii_digit());
        let (digits, after) = digits.split_at(end.unwrap_or(digits.len()));
        let letters = after.chars().take_while(char::is_ascii_uppercase).count();
        let area = digits.len().checked_sub(AREA_CODE).map(|n| &digits[n..]);
        if letters >= MIN_LETTERS && area.is_some_and(|area| area.starts_with(['8', '9'])) {
            return true;
        }
        rest = after;
    }
    false
}

fn is_digit(c: char) -> bool {
    c.is_numeric() || IDEOGRAPHS.contains(c)
}

/// The text with as many of its digits as are no telephone number, and without dots.
#[must_use]
pub fn without_link_and_number(text: &str) -> String {
    let most = if has_vanity_number(&text.to_ascii_uppercase()) {
        AREA_CODE - 1
    } else {
        MAX_DIGITS
    };
    let mut digits = 0;
    let shown = text.chars().filter(|c| {
        digits += usize::from(is_digit(*c));
        !is_digit(*c) || digits <= most
    });
    shown.map(|c| if c == '.' { ' ' } else { c }).collect()
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
            "evil\u{fe52}example",
            "evil\u{2024}example",
            "evil\u{ff61}example",
            "\u{1d41e}\u{1d42f}\u{1d422}\u{1d425}.\u{1d41c}\u{1d428}\u{1d426}",
            "https\u{ff1a}\u{ff0f}\u{ff0f}evil",
            "bücher.example",
            "a.b.example.",
            "me@evil.example",
            "192.0.2.1",
            "192.0.2.1:8080",
            "mailto:me",
            "tel:1900",
            "x.рф",
            "\u{1f4b0}.example",
            "Bank \u{1f4b0}\u{1f3e6}.ws",
            "evil.\u{1f4b0}\u{1f4b0}",
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
            "Acme \u{1f4b0} Bank",
        ] {
            assert!(!has_link(text), "{text}");
        }
    }

    #[test]
    fn telephone_numbers_and_codes_are_found() {
        for text in [
            "Call +1 900 555 0123 now",
            "1-900-555-0123",
            "000000 is the code",
            "1 2 3 4 5",
            "\u{ff11}\u{ff19}\u{ff10}\u{ff10}\u{ff15}",
            "\u{661}\u{669}\u{660}\u{660}\u{665}",
            "\u{2460}\u{2461}\u{2462}\u{2463}\u{2464}",
            "一八〇〇五五五",
            "壹捌零零伍",
            "1-800-FLOWERS",
            "Call 1 (900) scam-now",
            "0900 LOTTO",
            "8\u{ff10}0flowers",
        ] {
            assert!(has_number(text), "{text}");
        }
        for text in [
            "",
            "Acme 2000, Inc.",
            "24/7 Service",
            "No. 1 Shop",
            "Studio 54 Club",
            "三井住友銀行",
            "7-Eleven",
            "A 900 B",
        ] {
            assert!(!has_number(text), "{text}");
        }
        assert_eq!(without_link_and_number("call-1900.555"), "call-1900 ");
        assert_eq!(without_link_and_number("acme-17_b"), "acme-17_b");
        assert_eq!(without_link_and_number("1-800-flowers"), "1-8-flowers");
    }
}
