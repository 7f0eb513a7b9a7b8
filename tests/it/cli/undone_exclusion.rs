//! Ending and undoing an exclusion by the command.

use super::import_blocks::Carrier;

const NUMBER: &str = "+12125551001";

fn id(told: &str) -> String {
    let id = told
        .lines()
        .next()
        .and_then(|line| line.split([' ', ':']).nth(1));
    id.unwrap_or_else(|| panic!("no id: {told}")).to_owned()
}

#[test]
fn one_of_two_exclusions_is_undone_and_the_other_is_named() {
    let carrier = Carrier::new();
    carrier.does(&["allocation", "add", "1.212.555.1XXX", "--spc", "073H"]);
    carrier.does(&["account", "create", "acme"]);
    carrier.does(&["delegation", "add", "acme", NUMBER]);
    let adds = |reason| id(&carrier.does(&["exclusion", "add", NUMBER, "--reason", reason]));
    let (wrong, right) = (adds("ported-out"), adds("ported-out"));
    let undo = [
        "exclusion",
        "end",
        &wrong,
        "--mistake",
        "--reason",
        "sent twice",
    ];
    let told = carrier.does(&undo);
    assert!(
        told.contains(&format!("exclusion {wrong} of {NUMBER}: undone\n"))
            && told.contains("delegations that count again: 0\n")
            && told.contains(&format!("has still ended for {NUMBER}: ported-out at "))
            && told.contains(&format!("(exclusion:{right})"))
            && told.contains(&format!(
                "exclusion {right} still excludes {NUMBER}: ported-out\n"
            )),
        "{told}"
    );
    assert!(carrier.refuses(&undo).contains("undone"));
    let told = carrier.does(&["exclusion", "end", &right]);
    assert!(
        told.starts_with(&format!("exclusion {right} of {NUMBER}: ")),
        "{told}"
    );
    assert!(!told.contains("still"), "{told}");
    for args in [
        &["exclusion", "end", &right, "--mistake"][..],
        &["exclusion", "end", &right, "--reason", "x"],
        &["exclusion", "end", &right, "--mistake", "--reason", " "],
        &[
            "exclusion",
            "end",
            &right,
            "--mistake",
            "--reason",
            "x",
            "--at",
            "2027-01-31T00:00:00Z",
        ],
    ] {
        assert_eq!(carrier.run(args).status.code(), Some(2), "{args:?}");
    }
}
