//! PEM files as editors, shells and secret stores leave them: with a byte order mark, in UTF-16,
//! indented, with text around the blocks.

use std::borrow::Cow;

const BEGIN: &str = "-----BEGIN ";

/// The text of a file: UTF-8, or UTF-16 if a byte order mark says so. Other bytes become U+FFFD.
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let pairs = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        Cow::Owned(String::from_utf16_lossy(&pairs.collect::<Vec<u16>>()))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        all => String::from_utf8_lossy(all),
    }
}

/// The first block of a private key, in lines as OpenSSL expects them; `None` if there is none.
#[must_use]
pub fn private_key(text: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let from = &rest[rest.find(BEGIN)?..];
        rest = &from[BEGIN.len()..];
        let (label, _) = rest.split_once("-----")?;
        if !label.ends_with("PRIVATE KEY") || label.contains(['\n', '\r']) {
            continue;
        }
        let end = format!("-----END {label}-----");
        // If there is no end, OpenSSL says so.
        let length = from.find(&end).map_or(from.len(), |at| at + end.len());
        let block = from[..length].replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<&str> = block.lines().map(str::trim).collect();
        return Some(lines.join("\n") + "\n");
    }
}

/// Whether a block of a private key is encrypted: PKCS #8 (RFC 5958), or the headers of RFC 1421.
#[must_use]
pub fn is_encrypted(block: &str) -> bool {
    block.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || block.contains("Proc-Type: 4,ENCRYPTED")
}

/// The label of the first block.
#[must_use]
pub fn first_label(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (label, _) = rest.split_once("-----")?;
    (!label.contains(['\n', '\r'])).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIGH\nAgEA\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_block_is_found_in_whatever_is_around_it() {
        let windows = KEY.replace('\n', "\r\n");
        let old_mac = KEY.replace('\n', "\r");
        let indented = format!("key: |\n  {}", KEY.replace('\n', "\n  "));
        let parameters =
            format!("-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n{KEY}");
        let around = format!("Bag Attributes\n friendlyName: x\n{KEY}trailing text");
        let one_line = format!("here it is: {KEY}");
        for file in [
            KEY,
            &windows,
            &old_mac,
            &indented,
            &parameters,
            &around,
            &one_line,
        ] {
            assert_eq!(private_key(file).as_deref(), Some(KEY), "{file}");
            let mut marked = vec![0xef, 0xbb, 0xbf];
            marked.extend(file.as_bytes());
            assert_eq!(private_key(&text(&marked)).as_deref(), Some(KEY));
            let wide = |first: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
                let units = file.encode_utf16().flat_map(bytes);
                first.into_iter().chain(units).collect::<Vec<u8>>()
            };
            let little = wide([0xff, 0xfe], u16::to_le_bytes);
            assert_eq!(private_key(&text(&little)).as_deref(), Some(KEY));
            let big = wide([0xfe, 0xff], u16::to_be_bytes);
            assert_eq!(private_key(&text(&big)).as_deref(), Some(KEY));
        }
    }

    #[test]
    fn headers_of_an_encrypted_key_end_with_an_empty_line() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMHcC\n\
                   -----END EC PRIVATE KEY-----\n";
        let windows = key.replace('\n', "\r\n");
        assert_eq!(private_key(&windows).as_deref(), Some(key));
        assert!(is_encrypted(key) && !is_encrypted(KEY));
    }

    #[test]
    fn a_file_without_a_key_has_none() {
        for file in [
            "",
            "-----BEGIN ",
            "-----BEGIN CERTIFICATE-----\n",
            "PRIVATE KEY-----",
        ] {
            assert_eq!(private_key(file), None, "{file}");
        }
        assert_eq!(
            first_label("x\n-----BEGIN PUBLIC KEY-----"),
            Some("PUBLIC KEY")
        );
        assert_eq!(first_label("nothing"), None);
    }
}
