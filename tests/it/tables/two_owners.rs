//! What a table says of a block in several lines, and lines whose status grants nothing: both are named.

use tn_authority::tables::Format;

use super::shifted_lines::{read, refused};

#[test]
fn a_block_with_two_owners_names_the_lines_of_both() {
    let lines = "212,555,1,073H\n212,555,2,9999\n212,556,A,9999\n212,556,A,073H\n212,557,1,073H\n";
    let table = format!("npa,nxx,x,ocn\n{lines}212,555,1,9999\n212,555,2,8888\n");
    assert_eq!(
        refused(Format::NanpBlocks, &table),
        [
            "line 5: code 212-556 is listed for these OCNs and for another, in lines 4, 5",
            "line 7: block 212-555-1 is listed for these OCNs and for another, in lines 2, 7",
        ]
    );
    let both = |nxx: u32| format!("212,{nxx},A,9999\n212,{nxx},A,073H\n");
    let all = (200..350).map(both).collect::<Vec<_>>().concat();
    let table = read(Format::NanpBlocks, &format!("npa,nxx,x,ocn\n{all}")).expect("a table");
    let refused = table.summary.refused;
    assert_eq!((refused.count, refused.named.len()), (150, 100));
    assert!(refused.named.iter().all(|line| line.line > 0));
}

/// Canada's administrator spells statuses in its own way: what is in service there is no `AS`.
#[test]
fn a_status_that_grants_nothing_is_reported_by_name_and_count() {
    let titles = "NPA,NXX,X,STATUS,OCN,Contaminated,Block Effective Date\n";
    let table = format!(
        "{titles}204,230,1,AS,073H,N,\n204,230,2,In Service,073H,N,\n204,230,3,In Service,9999,N,\n204,230,4,av,,N,\n"
    );
    let table = read(Format::NanpaThousands, &table).expect("a table");
    let notes: Vec<_> = table
        .summary
        .notes
        .iter()
        .map(|n| (n.count, &*n.what, &*n.lines))
        .collect();
    assert_eq!(
        notes,
        [
            (
                1,
                "lines whose STATUS is `AV`, not `AS`, grant nothing",
                &[][..]
            ),
            (
                2,
                "lines whose STATUS is `IN SERVICE`, not `AS`, grant nothing",
                &[]
            ),
            (
                1,
                "of these are own lines, whose STATUS is `IN SERVICE`",
                &[3]
            ),
        ]
    );
    let none = format!("{titles}204,230,2,IS,073H,N,\n204,230,3,Assigned,073H,N,\n");
    let error = read(Format::NanpaThousands, &none)
        .expect_err("nothing is AS")
        .to_string();
    assert!(
        error.contains("STATUS `ASSIGNED`, `IS`, and only `AS` grants numbers"),
        "{error}"
    );

    // CNAC's own titles are those of no format.
    let cnac = "\"NPA\",\"CO Code (NXX)\",\"Block\",\"Status\",\"Company\",\"OCN\"\n\"204\",\"230\",\"1\",\"AS\",\"A\",\"073H\"\n";
    let error = read(Format::NanpaThousands, cnac)
        .expect_err("another table")
        .to_string();
    assert!(error.contains("no column `NXX`"), "{error}");

    let other = |n: u32| format!("204,230,1,S{n},9999,N,\n");
    let many = (0..30).map(other).collect::<Vec<_>>().concat();
    let table = read(
        Format::NanpaThousands,
        &format!("{titles}204,230,2,AS,073H,N,\n{many}"),
    );
    let notes = table.expect("a table").summary.notes;
    let last = notes.last().expect("notes");
    assert_eq!((notes.len(), last.count), (21, 10), "{last:?}");
}
