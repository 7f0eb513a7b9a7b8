//! Numbers of a sample that the account itself lends on, and takes back.

use tn_authority::domain::Tn;

use super::proven::{mints_for_key, not_older_than, proves, set, setup, tns};
use super::samples::{BLOCK, DAY, named};
use crate::authority::resellers::{line, loan};
use crate::support::{Kind, World};

both! {
    a_reseller_cannot_lend_foreign_numbers_out_of_the_sample,
}

/// A reseller lends each number of the sample that it cannot answer for, and would take all back once the sample has
/// only its own. There is one draw a day, whatever it lends.
fn a_reseller_cannot_lend_foreign_numbers_out_of_the_sample(kind: Kind) {
    let world = World::new(kind, setup(set(&not_older_than(90 * 86_400)), 5));
    world.carrier_holds("1.212.555.XXXX");
    line(&world);
    let block = world.delegates(loan("wholesale", "1.212.555.XXXX", None));
    let block = block.expect("a delegation");
    let mints = |entry: &str| mints_for_key(&world, "wholesale", &[entry], 0x5e);
    let lends = |number: &Tn| {
        let lent = world.delegates(loan("cpaas", &number.to_string(), Some(&block)));
        lent.expect("a delegation")
    };
    let sample = named(&mints(BLOCK));
    let (own, foreign) = sample.split_at(2);
    proves(&world, "wholesale", own);
    let loans: Vec<_> = foreign.iter().map(lends).collect();
    // A thousand numbers without those that are lent.
    let start = (0..10).map(|n| format!("+1212555{n}000")).find(|start| {
        let thousand = tns(start, 1_000);
        !foreign.iter().any(|number| thousand.contains(number))
    });
    let part = format!("range:{}+1000", &start.expect("a thousand")[1..]);
    for _ in 0..3 {
        assert_eq!(named(&mints(&part)), foreign);
    }
    for loan in &loans {
        world.ends(loan, None);
    }
    assert_eq!(named(&mints(BLOCK)), foreign);

    // On the next day, those that are proven do not stay while others are drawn in place of the rest.
    let loans: Vec<_> = foreign.iter().map(lends).collect();
    world.seconds_pass(DAY);
    let next = named(&mints(&part));
    assert_eq!(next.len(), 5);
    for loan in &loans {
        world.ends(loan, None);
    }
    assert_eq!(named(&mints(BLOCK)), next);
}
