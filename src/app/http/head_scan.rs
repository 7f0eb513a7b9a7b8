//! Where the head of a request may end.

/// Finds the ends of heads in what a client sends: a line break and an empty line. It decides only
/// how much is read at once, never what a request is. So it finds every possible end, with or
/// without the carriage returns, and also those in bodies.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Whether a line that is not empty has begun since the last end.
    is_in_head: bool,
    is_line_empty: bool,
}

impl HeadScan {
    pub(super) fn is_in_head(&self) -> bool {
        self.is_in_head
    }

    /// The number of bytes up to the first end, or all of them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        for (n, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if self.is_in_head && self.is_line_empty => {
                    *self = Self::default();
                    return n + 1;
                }
                b'\n' => self.is_line_empty = true,
                b'\r' => {}
                _ => (self.is_in_head, self.is_line_empty) = (true, false),
            }
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        let (mut scan, mut rest, mut pieces) = (HeadScan::default(), text, Vec::new());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(scan.take(rest.as_bytes()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    #[test]
    fn pipelined_heads_are_taken_one_by_one() {
        let one = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        assert_eq!(pieces(&one.repeat(3)), [one; 3]);
        let bare = "GET / HTTP/1.1\nhost: x\n\n";
        assert_eq!(pieces(&bare.repeat(2)), [bare; 2]);
        assert_eq!(pieces(&format!("{bare}{one}GET /")), [bare, one, "GET /"]);
        assert_eq!(pieces("\r\n\r\n\n\nGET / HTTP/1.1\r\n\r\n").len(), 1);
    }

    #[test]
    fn an_end_is_found_wherever_the_bytes_are_split() {
        let text = b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET";
        for split in 1..27 {
            let mut scan = HeadScan::default();
            assert_eq!(scan.take(&text[..split]), split);
            assert_eq!(split + scan.take(&text[split..]), 27, "{split}");
        }
    }
}
