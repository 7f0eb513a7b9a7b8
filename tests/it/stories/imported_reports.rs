//! Importing the reports of the NANP's administrator: blocks that start on a day, and codes that are pooled.

use tn_authority::tables::Format;

use super::imports::{UNCONFIRMED, counts, held, import, of_blocks};
use crate::support::{Kind, Setup, World};

both! {
    a_block_starts_on_its_day_and_may_be_put_off,
    pooled_codes_and_their_blocks_come_in_two_reports,
}

/// A thousands-block report: block, status, day.
fn report(lines: &[(&str, &str, &str)]) -> String {
    let lines = lines
        .iter()
        .map(|(place, status, day)| format!("{},{status},N,{day},073H\n", place.replace('-', ",")));
    let header = "NPA,NXX,X,STATUS,Contaminated,Block Effective Date,OCN\n";
    format!("{header}{}", lines.collect::<String>())
}

fn a_block_starts_on_its_day_and_may_be_put_off(kind: Kind) {
    let setup = Setup {
        certificate_lasts: 60 * 86_400,
        ..Setup::default()
    };
    let world = World::new(kind, setup);
    let of_report = |day| {
        let table = report(&[("212-555-1", "AS", "10/05/2022"), ("212-555-2", "AS", day)]);
        import(&world, Format::NanpaThousands, &table, UNCONFIRMED).expect("an import")
    };
    assert_eq!(counts(&of_report("01/11/2026")), (2, 0, 0));
    assert_eq!(held(&world), ["+12125551000 to +12125551999"]);
    assert!(of_report("01/11/2026").changes_nothing());
    // A table without days says nothing of when.
    let same = of_blocks(&world, &["212-555-1 073H", "212-555-2 073H"], UNCONFIRMED);
    assert!(same.expect("an import").changes_nothing());
    assert_eq!(counts(&of_report("01/21/2026")), (1, 0, 1), "put off");
    assert!(of_report("01/21/2026").changes_nothing());
    world.seconds_pass(11 * 86_400);
    assert_eq!(held(&world), ["+12125551000 to +12125551999"]);
    world.seconds_pass(10 * 86_400);
    assert_eq!(held(&world), ["+12125551000 to +12125552999"]);
    assert!(of_report("01/21/2026").changes_nothing(), "in force now");
    world.lends("acme", "+12125552000");
    assert!(world.mints("acme", &["one:12125552000"]).is_ok());
}

fn pooled_codes_and_their_blocks_come_in_two_reports(world: World) {
    let codes = "NPA-NXX\tOCN\tEffectiveDate\tUse\tPooled Code\n\
        212-555\t073H\t10/05/2022\tAS\tY\n212-556\t073H\t10/05/2022\tAS\tN\n";
    let of_codes = || import(&world, Format::NanpaCodes, codes, UNCONFIRMED).expect("an import");
    let table = report(&[("212-555-1", "AS", ""), ("212-555-2", "AV", "")]);
    let of_report = || import(&world, Format::NanpaThousands, &table, UNCONFIRMED).expect("one");
    assert_eq!(counts(&of_codes()), (1, 0, 0));
    assert_eq!(counts(&of_report()), (1, 0, 0));
    // Neither speaks for what the other lists.
    assert!(of_codes().changes_nothing() && of_report().changes_nothing());
    let expected = [
        "+12125551000 to +12125551999",
        "+12125560000 to +12125569999",
    ];
    assert_eq!(held(&world), expected);
}
