//! `traceparent` (W3C Trace Context, level 1): the trace that a request belongs to.
//!
//! The trace id is logged and recorded in the audit trail. It is not returned, because the response
//! header is still a draft; and it is not propagated, because handling a request makes no further
//! requests. No trace id is generated if there is none: the request id serves that purpose.

/// The length of version, trace id, parent id and flags, separated by `-`.
const LENGTH: usize = 55;

/// The trace id of a `traceparent`: 32 lowercase hex digits. `None` if the header is invalid, in
/// which case it is ignored (§3.2.2.3).
#[must_use]
pub fn trace_id_of(traceparent: &str) -> Option<&str> {
    let head = traceparent.get(..LENGTH)?;
    let mut parts = head.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let parent = hex(parts.next()?, 16)?;
    let _flags = hex(parts.next()?, 2)?;
    let rest = traceparent.get(LENGTH..)?;
    let known = match version {
        "ff" => false,
        "00" => rest.is_empty(),
        // A later version may append fields after a `-` (§3.2.4).
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
    (known && parts.next().is_none() && !is_zero(trace) && !is_zero(parent)).then_some(trace)
}

fn hex(text: &str, length: usize) -> Option<&str> {
    let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == length && digits).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::trace_id_of;

    #[test]
    fn a_valid_header_has_a_trace_id() {
        for valid in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-is-to-come",
        ] {
            let trace = trace_id_of(valid);
            assert_eq!(trace, Some("0af7651916cd43dd8448eb211c80319c"), "{valid}");
        }
    }

    #[test]
    fn an_invalid_header_is_ignored() {
        for invalid in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319\u{e9}-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(trace_id_of(invalid), None, "{invalid}");
        }
    }
}
