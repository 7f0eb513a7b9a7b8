//! The rule of authority in single cases: which numbers a refusal names, and for what cause.

use std::collections::BTreeSet;

use tn_authority::domain::decision::denial::RefusalCause;
use tn_authority::domain::decision::{AccountStanding, Facts, MAX_ROWS, decide};
use tn_authority::domain::{Denial, Fingerprint, TnAuthList, TokenRequest};

use super::decision::{always, facts, question, refused, request};

/// Whichever of N numbers is not the caller's, there is no token, and that number alone is named.
#[test]
fn the_one_foreign_number_of_many_is_named() {
    let facts = facts(&[always(100, 12)], &[always(100, 30)], &[]);
    for count in 1..=12 {
        for foreign in 0..count {
            let mut entries: Vec<(u64, u64)> =
                (100..100 + count).map(|number| (number, 1)).collect();
            entries[usize::try_from(foreign).expect("small")] = (120 + foreign, 1);
            let request = request(&entries, false);
            let denial = decide(&question(&request, 1), &facts).expect_err("a foreign number");
            assert_eq!(
                refused(&denial),
                BTreeSet::from([(120 + foreign, "not-delegated")])
            );
            assert_eq!(denial.code(), "not-authorized");
        }
    }
}

#[test]
fn a_range_that_leaves_the_block_is_refused_for_what_is_outside() {
    let facts = facts(&[always(105, 10)], &[always(100, 30)], &[]);
    for (entry, outside) in [
        ((110, 10), 115..120),
        ((105, 11), 115..116),
        ((104, 2), 104..105),
    ] {
        let request = request(&[entry], false);
        let denial = decide(&question(&request, 1), &facts);
        let denial = denial.expect_err("numbers outside");
        let outside: BTreeSet<_> = outside.map(|number| (number, "not-delegated")).collect();
        assert_eq!(refused(&denial), outside);
    }
}

#[test]
fn the_first_cause_is_named_and_nothing_is_said_of_foreign_numbers() {
    let cases = [
        (facts(&[], &[], &[always(100, 30)]), "not-delegated"),
        (
            facts(&[((100, 5), (0, None), false)], &[], &[]),
            "ca-not-delegated",
        ),
        (
            facts(&[always(100, 5)], &[], &[always(100, 30)]),
            "not-allocated",
        ),
        (
            facts(&[always(100, 5)], &[always(100, 5)], &[always(100, 30)]),
            "excluded",
        ),
    ];
    for (facts, cause) in cases {
        let request = request(&[(100, 1)], true);
        let denial = decide(&question(&request, 1), &facts).expect_err(cause);
        assert_eq!(refused(&denial), BTreeSet::from([(100, cause)]));
    }
}

#[test]
fn an_account_that_is_unknown_or_suspended_gets_one_answer() {
    let request = request(&[(100, 1)], false);
    for standing in [AccountStanding::Unknown, AccountStanding::Suspended] {
        let facts = Facts {
            standing,
            ..facts(&[always(100, 5)], &[always(100, 5)], &[])
        };
        assert_eq!(
            decide(&question(&request, 1), &facts),
            Err(Denial::NotTheCallers)
        );
    }
}

#[test]
fn codes_are_the_carriers_byte_for_byte() {
    let facts = facts(&[], &[], &[]);
    for (spc, held) in [
        ("1234", true),
        ("1235", false),
        ("12345", false),
        ("123", false),
    ] {
        let entry = format!("spc:{spc}").parse().expect("an entry");
        let list = TnAuthList::from_entries(vec![entry]).expect("a list");
        let request =
            TokenRequest::new(list, false, Fingerprint::from([0; 32]), None).expect("a request");
        let decision = decide(&question(&request, 1), &facts);
        assert_eq!(decision.is_ok(), held, "{spc}");
        if let Err(denial) = decision {
            assert_eq!(denial.refusals()[0].cause, RefusalCause::SpcNotHeld);
        }
    }
}

#[test]
fn a_decision_weighs_a_bounded_number_of_rows() {
    let request = request(&[(100, 1)], false);
    for (rows, decided) in [(MAX_ROWS, true), (MAX_ROWS + 1, false)] {
        let facts = facts(&vec![always(100, 1); rows], &[always(100, 1)], &[]);
        assert_eq!(decide(&question(&request, 1), &facts).is_ok(), decided);
    }
}
