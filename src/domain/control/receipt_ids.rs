//! How an SMSC writes the id of a message in its receipts: as in its answer to the message; with
//! many, in decimal where the answer has hexadecimal, or the other way round.
//!
//! An id that is converted can be that of another message. So nothing is converted until an SMSC
//! has shown that it does so: [`LearnedIds`].

/// How many receipts have to show it.
const ENOUGH: usize = 3;

/// From the id of a receipt to that of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdConversion {
    ToHexadecimal,
    ToDecimal,
}

impl IdConversion {
    pub const ALL: [Self; 2] = [Self::ToHexadecimal, Self::ToDecimal];

    /// The id in the answer to the message; `None` if the receipt cannot be about such a message.
    #[must_use]
    pub fn in_answer(self, id: &str) -> Option<String> {
        // A sign is no digit.
        if !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let converted = match self {
            Self::ToHexadecimal => id.parse::<u64>().ok().map(|id| format!("{id:x}")),
            Self::ToDecimal => u64::from_str_radix(id, 16).ok().map(|id| id.to_string()),
        };
        converted.filter(|converted| converted != id)
    }

    /// The id in the receipt, given that in the answer.
    #[must_use]
    pub fn in_receipt(self, id: &str) -> Option<String> {
        match self {
            Self::ToHexadecimal => Self::ToDecimal.in_answer(id),
            Self::ToDecimal => Self::ToHexadecimal.in_answer(id),
        }
    }
}

/// How a receipt and a code have met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptMatch {
    /// They have the same id, or that of the conversion that was learned. It is recorded.
    Exact,
    Converted,
    /// They would have the same id by this conversion. Nothing is recorded.
    Possible(PossibleReceipt),
    None,
}

/// A receipt that may be about the code with this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PossibleReceipt {
    pub conversion: IdConversion,
    /// The id in the answer.
    pub message_id: String,
    pub is_delivered: bool,
}

/// What the receipts of an SMSC have shown.
#[derive(Debug, Clone, Default)]
pub struct LearnedIds {
    /// Whether one had the same id as the answer: such an SMSC converts none.
    has_exact: bool,
    /// Those that would have it by a conversion, as long as they are not enough.
    possible: Vec<PossibleReceipt>,
    learned: Option<IdConversion>,
}

impl LearnedIds {
    /// The conversion that ids need; `None`: none that is known.
    #[must_use]
    pub const fn conversion(&self) -> Option<IdConversion> {
        self.learned
    }

    /// Takes note of a receipt. Returns those that it has shown to be what they seemed.
    pub fn note(&mut self, found: ReceiptMatch) -> Vec<PossibleReceipt> {
        match found {
            ReceiptMatch::None | ReceiptMatch::Converted => Vec::new(),
            ReceiptMatch::Exact => {
                *self = Self {
                    has_exact: true,
                    ..Self::default()
                };
                Vec::new()
            }
            ReceiptMatch::Possible(one) => self.note_possible(one),
        }
    }

    fn note_possible(&mut self, one: PossibleReceipt) -> Vec<PossibleReceipt> {
        if self.has_exact || self.learned.is_some() {
            return Vec::new();
        }
        // Both ways at once is chance.
        self.possible
            .retain(|other| other.conversion == one.conversion);
        let mut known = self.possible.iter();
        if known.all(|other| other.message_id != one.message_id) {
            self.possible.push(one);
        }
        if self.possible.len() < ENOUGH {
            return Vec::new();
        }
        self.learned = self.possible.first().map(|one| one.conversion);
        std::mem::take(&mut self.possible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn possible(conversion: IdConversion, id: &str) -> ReceiptMatch {
        ReceiptMatch::Possible(PossibleReceipt {
            conversion,
            message_id: id.to_owned(),
            is_delivered: true,
        })
    }

    #[test]
    fn ids_are_converted_both_ways() {
        let (hex, decimal) = (IdConversion::ToHexadecimal, IdConversion::ToDecimal);
        assert_eq!(hex.in_answer("31").as_deref(), Some("1f"));
        assert_eq!(hex.in_receipt("1f").as_deref(), Some("31"));
        assert_eq!(decimal.in_answer("1f").as_deref(), Some("31"));
        assert_eq!(decimal.in_receipt("31").as_deref(), Some("1f"));
        for id in ["msg-1", "", "+7", "18446744073709551616", "7"] {
            assert_eq!(hex.in_answer(id), None, "{id}");
        }
        assert_eq!(decimal.in_answer("fffffffffffffffff"), None);
    }

    #[test]
    fn three_receipts_show_a_conversion() {
        let mut ids = LearnedIds::default();
        let to_hex = |id| possible(IdConversion::ToHexadecimal, id);
        assert!(ids.note(to_hex("a1")).is_empty());
        assert!(ids.note(ReceiptMatch::None).is_empty());
        assert!(
            ids.note(to_hex("a1")).is_empty(),
            "the same one is no other"
        );
        assert!(ids.note(to_hex("a2")).is_empty());
        assert_eq!(ids.conversion(), None);
        let shown = ids.note(to_hex("a3")).into_iter();
        let shown: Vec<String> = shown.map(|one| one.message_id).collect();
        assert_eq!(shown, ["a1", "a2", "a3"]);
        assert_eq!(ids.conversion(), Some(IdConversion::ToHexadecimal));
        // One that needs none shows that it was chance, from then on.
        ids.note(ReceiptMatch::Exact);
        for id in ["b1", "b2", "b3", "b4"] {
            assert!(ids.note(to_hex(id)).is_empty());
        }
        assert_eq!(ids.conversion(), None);
    }

    #[test]
    fn both_ways_at_once_are_chance() {
        let mut ids = LearnedIds::default();
        for n in 0..10 {
            for conversion in IdConversion::ALL {
                assert!(ids.note(possible(conversion, &n.to_string())).is_empty());
            }
        }
        assert_eq!(ids.conversion(), None);
    }
}
