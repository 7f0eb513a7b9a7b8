//! Turns the bytes of a file into normalized text, chunk by chunk, and refuses files that are not
//! text.
//!
//! Removes a byte order mark, turns every line end (CRLF or CR) into LF and Latin-1 into UTF-8, and
//! counts and hashes the original bytes. Memory is bounded by one chunk.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use super::error::TableError;

const CHUNK: usize = 64 * 1024;

/// The character encoding of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Latin1,
}

/// Size and digest of a file, known when all of it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digested {
    pub bytes: u64,
    /// In hex.
    pub sha256: String,
    /// Whether the last line has a line end.
    pub ends_with_a_line: bool,
}

/// A file as normalized text.
pub struct Clean<R> {
    file: R,
    encoding: Encoding,
    raw: Vec<u8>,
    text: Vec<u8>,
    hash: Sha256,
    bytes: u64,
    /// The last byte was a CR, for which an LF has been written, so a following LF is dropped. Kept
    /// here because a CRLF can be split between two chunks.
    after_cr: bool,
    last: u8,
}

impl<R: Read> Clean<R> {
    pub fn new(file: R, encoding: Encoding) -> Self {
        Self {
            file,
            encoding,
            raw: vec![0; CHUNK],
            text: Vec::with_capacity(2 * CHUNK),
            hash: Sha256::new(),
            bytes: 0,
            after_cr: false,
            last: b'\n',
        }
    }

    /// The next piece of text, which is empty at the end of the file.
    pub fn next(&mut self) -> Result<&[u8], TableError> {
        self.text.clear();
        while self.text.is_empty() {
            let filled = self.fill()?;
            if filled == 0 {
                break;
            }
            let first = self.bytes == 0;
            self.bytes += filled as u64;
            self.hash.update(&self.raw[..filled]);
            self.last = self.raw[filled - 1];
            let mut chunk = &self.raw[..filled];
            if first {
                must_be_text(chunk)?;
                chunk = chunk.strip_prefix(b"\xef\xbb\xbf").unwrap_or(chunk);
            }
            if let Some(at) = chunk.iter().position(|byte| *byte == 0) {
                let offset = self.bytes - chunk.len() as u64 + at as u64;
                return Err(TableError::Binary { offset });
            }
            normalize(chunk, self.encoding, &mut self.after_cr, &mut self.text);
        }
        Ok(&self.text)
    }

    /// How many bytes of the file have been read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn digested(self) -> Digested {
        let sha256 = hex::encode(self.hash.finalize());
        Digested {
            bytes: self.bytes,
            sha256,
            ends_with_a_line: matches!(self.last, b'\n' | b'\r'),
        }
    }

    /// Fills the whole chunk, since the first one has to contain the file's magic number even if
    /// the reader returns a byte at a time.
    fn fill(&mut self) -> Result<usize, TableError> {
        let mut filled = 0;
        while filled < self.raw.len() {
            match self.file.read(&mut self.raw[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TableError::Read(error.to_string())),
            }
        }
        Ok(filled)
    }
}

/// Refuses archives, workbooks and UTF-16, which people upload by mistake, with what to do instead.
fn must_be_text(start: &[u8]) -> Result<(), TableError> {
    let named: [(&[u8], &str, &str); 6] = [
        (
            b"\x1f\x8b",
            "compressed with gzip",
            "unpack it with `gunzip` first",
        ),
        (
            b"PK\x03\x04",
            "a ZIP archive or an Excel workbook",
            "unpack it first, or save the sheet as CSV",
        ),
        (
            b"\xd0\xcf\x11\xe0",
            "an old Excel workbook",
            "save the sheet as CSV",
        ),
        (
            b"BZh",
            "compressed with bzip2",
            "unpack it with `bunzip2` first",
        ),
        (
            b"\xfd7zXZ",
            "compressed with xz",
            "unpack it with `unxz` first",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "compressed with zstd",
            "unpack it with `unzstd` first",
        ),
    ];
    for (magic, kind, help) in named {
        if start.starts_with(magic) {
            return Err(TableError::Packed { kind, help });
        }
    }
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        let (kind, help) = ("encoded in UTF-16", "save it as CSV in UTF-8");
        return Err(TableError::Packed { kind, help });
    }
    Ok(())
}

fn normalize(chunk: &[u8], encoding: Encoding, after_cr: &mut bool, out: &mut Vec<u8>) {
    // The usual chunk is only copied.
    if encoding == Encoding::Utf8 && !*after_cr && !chunk.contains(&b'\r') {
        return out.extend_from_slice(chunk);
    }
    for byte in chunk {
        let follows_cr = std::mem::replace(after_cr, *byte == b'\r');
        match (*byte, encoding) {
            (b'\n', _) if follows_cr => {}
            (b'\r', _) => out.push(b'\n'),
            (0x80.., Encoding::Latin1) => {
                let mut utf8 = [0; 2];
                out.extend_from_slice(char::from(*byte).encode_utf8(&mut utf8).as_bytes());
            }
            (byte, _) => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one byte at a time, like a slow connection.
    struct ByteByByte<'a>(&'a [u8]);

    impl Read for ByteByByte<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(1).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn text(bytes: &[u8], encoding: Encoding) -> Result<String, TableError> {
        let (mut clean, mut out) = (Clean::new(ByteByByte(bytes), encoding), Vec::new());
        loop {
            let piece = clean.next()?;
            if piece.is_empty() {
                return Ok(String::from_utf8(out).expect("UTF-8"));
            }
            out.extend_from_slice(piece);
        }
    }

    #[test]
    fn line_ends_byte_order_marks_and_latin_1_are_normalized() {
        for (bytes, expected) in [
            (&b"a\r\nb\rc\nd"[..], "a\nb\nc\nd"),
            (b"a\r\r\nb", "a\n\nb"),
            (b"\xef\xbb\xbfa", "a"),
            (b"", ""),
        ] {
            assert_eq!(text(bytes, Encoding::Utf8).as_deref(), Ok(expected));
        }
        assert_eq!(
            text(b"Mn\xe9mo\r", Encoding::Latin1).as_deref(),
            Ok("Mnémo\n")
        );
    }

    #[test]
    fn files_that_are_not_text_are_refused_with_their_kind() {
        for (bytes, why) in [
            (&b"\x1f\x8b\x08\0"[..], "gunzip"),
            (b"PK\x03\x04..", "Excel"),
            (b"a,b\n1\0,2\n", "at byte 5"),
            (b"\xff\xfea\0", "UTF-16"),
        ] {
            let message = text(bytes, Encoding::Utf8).expect_err(why).to_string();
            assert!(message.contains(why), "{message}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_file() {
        let mut clean = Clean::new(&b"abc"[..], Encoding::Utf8);
        while !clean.next().expect("text").is_empty() {}
        let found = clean.digested();
        assert_eq!((found.bytes, found.ends_with_a_line), (3, false));
        assert!(
            found.sha256.starts_with("ba7816bf8f01cfea4141"),
            "{}",
            found.sha256
        );
    }
}
