//! Imports that are refused, and leave nothing of what they would have done.

use std::collections::BTreeSet;

use tn_authority::authority::{ChangeError, NewAllocation};
use tn_authority::domain::Role;
use tn_authority::domain::inventory::Basis;
use tn_authority::tables::{self, Format, TableRequest};

use super::imports::{CONFIRMED, DRY_RUN, UNCONFIRMED, blocks, counts, import, of_blocks, rows};
use crate::support::{Setup, World, numbers, wait};

both! {
    much_does_not_end_unconfirmed,
    a_table_that_may_be_cut_ends_nothing,
    an_overlap_leaves_nothing_of_the_import,
    refused_lines_leave_nothing_of_the_import,
    only_provisioners_import,
}

fn much_does_not_end_unconfirmed(world: World) {
    let all: Vec<String> = (200..220).map(|nxx| format!("212-{nxx}-1 073H")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    of_blocks(&world, &all, UNCONFIRMED).expect("an import");
    let before = rows(&world);
    let refused = of_blocks(&world, &all[3..], UNCONFIRMED).expect_err("15 % are too much");
    assert_eq!(refused.code(), "ends-too-much");
    let told = refused.to_string();
    assert!(
        told.contains("3000 of the 20000") && told.contains("--confirm"),
        "{told}"
    );
    assert_eq!(rows(&world), before);
    let dry = of_blocks(&world, &all[3..], DRY_RUN).expect("a dry run only says it");
    assert_eq!(counts(&dry), (0, 3, 17));
    let done = of_blocks(&world, &all[2..], UNCONFIRMED).expect("10 % may end");
    assert_eq!(counts(&done), (0, 2, 18));
    let done = of_blocks(&world, &all[17..], CONFIRMED).expect("a confirmed import");
    assert_eq!(counts(&done), (0, 15, 3));
}

fn a_table_that_may_be_cut_ends_nothing(world: World) {
    let all: Vec<String> = (200..220).map(|nxx| format!("212-{nxx}-1 073H")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    of_blocks(&world, &all, UNCONFIRMED).expect("an import");
    let cut = |lines: &[&str], consent| {
        let table = blocks(lines);
        import(&world, Format::NanpBlocks, table.trim_end(), consent)
    };
    assert_eq!(
        counts(&cut(&all, UNCONFIRMED).expect("nothing ends")),
        (0, 0, 20)
    );
    assert_eq!(
        cut(&all[1..], UNCONFIRMED).expect_err("may be cut").code(),
        "may-be-cut"
    );
    assert_eq!(
        counts(&cut(&all[1..], CONFIRMED).expect("confirmed")),
        (0, 1, 19)
    );
}

fn an_overlap_leaves_nothing_of_the_import(kind: crate::support::Kind) {
    let setup = Setup {
        spcs: vec!["1234", "5678"],
        ..Setup::default()
    };
    let world = World::new(kind, setup);
    let known = world
        .allocates(NewAllocation {
            spc: "5678".parse().expect("a code"),
            numbers: numbers("1.212.555.1XXX"),
            basis: Basis::Block,
            valid_from: None,
            valid_until: None,
        })
        .expect("an allocation");
    let refused = of_blocks(&world, &["646-555-A 073H", "212-555-A 073H"], CONFIRMED);
    let overlap = ChangeError::Overlap {
        numbers: known.numbers,
        kind: "allocation",
        id: known.row.id,
    };
    assert_eq!(refused, Err(overlap.into()));
    assert_eq!(rows(&world), [known]);
}

fn refused_lines_leave_nothing_of_the_import(world: World) {
    let table = format!("{}212,555,q,073H,,\n", blocks(&["212-555-1 073H"]));
    let dry = import(&world, Format::NanpBlocks, &table, DRY_RUN).expect("a dry run");
    assert_eq!((counts(&dry), dry.summary.refused.count), ((1, 0, 0), 1));
    assert_eq!(dry.summary.refused.named[0].line, 3);
    let refused = import(&world, Format::NanpBlocks, &table, CONFIRMED).expect_err("a bad line");
    assert_eq!(refused.code(), "refused-lines");
    assert!(
        refused
            .to_string()
            .contains("line 3: x must be `A` or a digit"),
        "{refused}"
    );
    assert_eq!(rows(&world), []);
}

fn only_provisioners_import(world: World) {
    let table = blocks(&["212-555-1 073H"]);
    let wanted = TableRequest {
        format: Format::NanpBlocks,
        ocns: BTreeSet::from(["073H".to_owned()]),
        spc: Some("1234".parse().expect("a code")),
    };
    for (role, accounts, spc, refused) in [
        (Role::Auditor, &[][..], "1234", Some("forbidden")),
        (Role::Account, &["acme"], "1234", Some("forbidden")),
        // A reseller keeps its customers, and not what the carrier holds.
        (Role::Provisioner, &["acme"], "1234", Some("forbidden")),
        (Role::Admin, &[], "9999", Some("spc-not-held")),
        (Role::Provisioner, &[], "1234", None),
    ] {
        let spc = Some(spc.parse().expect("a code"));
        let wanted = TableRequest {
            spc,
            ..wanted.clone()
        };
        let draft = tables::read(table.as_bytes(), &wanted, world.now(), &mut |_| true);
        let caller = world.caller(role, accounts);
        let draft = draft.expect("a table");
        let done = wait(world.authority.import(&caller, draft, UNCONFIRMED, None));
        assert_eq!(done.err().map(|error| error.code()), refused, "{role}");
    }
}
