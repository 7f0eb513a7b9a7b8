//! Importing what the carrier holds: repeatable, and all or nothing.

use tn_authority::authority::{Holding, Imported, Refused};
use tn_authority::domain::inventory::Basis;
use tn_authority::store::Page;

use crate::support::{World, numbers, wait};

both! {
    an_import_can_be_repeated,
    an_overlap_leaves_nothing_of_the_import,
    ranges_of_one_import_do_not_overlap_either,
    a_dry_run_says_the_same_and_writes_nothing,
    ten_thousand_ranges_are_one_import,
}

fn holdings(texts: &[&str]) -> Vec<Holding> {
    texts
        .iter()
        .map(|text| Holding {
            numbers: numbers(text),
            basis: Basis::Block,
        })
        .collect()
}

fn import(world: &World, holdings: Vec<Holding>, dry_run: bool) -> Result<Imported, Refused> {
    let spc = world.authority.carrier.spcs[0].clone();
    wait(
        world
            .authority
            .import(&world.provisioner(), spc, holdings, dry_run),
    )
}

fn rows(world: &World) -> usize {
    let page = Page::new(Page::MAX_LIMIT, None);
    world
        .authority
        .store
        .read(|tx| tx.list_allocations(&page))
        .expect("allocations")
        .items
        .len()
}

fn an_import_can_be_repeated(world: World) {
    let blocks = ["1.212.555.1XXX", "1.212.555.2XXX", "1.646.555.XXXX"];
    assert_eq!(
        import(&world, holdings(&blocks), false),
        Ok(Imported {
            added: 3,
            unchanged: 0
        })
    );
    assert_eq!(
        import(&world, holdings(&blocks), false),
        Ok(Imported {
            added: 0,
            unchanged: 3
        })
    );
    world.seconds_pass(1);
    let more = ["1.212.555.1XXX", "1.212.555.3XXX"];
    assert_eq!(
        import(&world, holdings(&more), false),
        Ok(Imported {
            added: 1,
            unchanged: 1
        })
    );
    assert_eq!(rows(&world), 4);
    assert_eq!(world.trail("1234").len(), 2);
    world.lends("acme", "+12125553000");
    assert!(world.mints("acme", &["one:12125553000"]).is_ok());
}

fn an_overlap_leaves_nothing_of_the_import(world: World) {
    let known = world.carrier_holds("1.212.555.1XXX");
    let refused = import(
        &world,
        holdings(&["1.646.555.XXXX", "1.212.555.XXXX"]),
        false,
    );
    let overlap = Refused::Overlap {
        numbers: known.numbers,
        kind: "allocation",
        id: known.row.id,
    };
    assert_eq!(refused, Err(overlap));
    // The same numbers on another basis are not the same row.
    let ported = Holding {
        numbers: known.numbers,
        basis: Basis::PortedIn,
    };
    assert_eq!(
        import(&world, vec![ported], false)
            .expect_err("an overlap")
            .code(),
        "overlap"
    );
    assert_eq!(rows(&world), 1);
}

fn ranges_of_one_import_do_not_overlap_either(world: World) {
    for texts in [
        ["1.212.555.XXXX", "1.212.555.1XXX"],
        ["1.212.555.1XXX", "1.212.555.1XXX"],
    ] {
        assert_eq!(
            import(&world, holdings(&texts), false)
                .expect_err("an overlap")
                .code(),
            "overlap"
        );
        assert_eq!(
            import(&world, holdings(&texts), true)
                .expect_err("an overlap")
                .code(),
            "overlap"
        );
    }
    assert_eq!(rows(&world), 0);
}

fn a_dry_run_says_the_same_and_writes_nothing(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let blocks = ["1.212.555.1XXX", "1.212.555.2XXX"];
    assert_eq!(
        import(&world, holdings(&blocks), true),
        Ok(Imported {
            added: 1,
            unchanged: 1
        })
    );
    assert_eq!(rows(&world), 1);
    assert!(import(&world, holdings(&["1.212.555.XXXX"]), true).is_err());
}

fn ten_thousand_ranges_are_one_import(world: World) {
    let many = (0..10_000_u64).map(|n| Holding {
        numbers: numbers(&format!("+{}+1000", 12_120_000_000 + 2_000 * n)),
        basis: Basis::Block,
    });
    let many: Vec<Holding> = many.collect();
    assert_eq!(
        import(&world, many.clone(), false),
        Ok(Imported {
            added: 10_000,
            unchanged: 0
        })
    );
    assert_eq!(
        import(&world, many, false),
        Ok(Imported {
            added: 0,
            unchanged: 10_000
        })
    );
    world.lends("acme", "+12120002000");
    assert!(world.mints("acme", &["one:12120002000"]).is_ok());
}
