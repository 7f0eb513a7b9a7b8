//! Tables of blocks that the command refuses, as a user meets it.

use std::fs;
use std::process::{Command, Stdio};

use super::import_blocks::{Carrier, EXECUTABLE, SAMPLE};

#[test]
fn a_table_that_is_none_is_refused_and_nothing_is_written() {
    let carrier = Carrier::new();
    let dir = carrier.0.path();
    let table = |name: &str, bytes: &[u8]| -> String {
        let path = dir.join(name);
        fs::write(&path, bytes).expect("a file");
        path.display().to_string()
    };
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xfe, 0xfd];
    for (file, why) in [
        (table("empty.csv", b""), "no column `npa`"),
        (table("gzip.csv", &gzip), "gunzip"),
        (
            table("sheet.xlsx", b"PK\x03\x04\x14\0"),
            "save the sheet as CSV",
        ),
        (
            table("binary.csv", b"npa,nxx,x,ocn\n201,330,4,07\x003H\n"),
            "NUL at byte 26",
        ),
        (
            table("header.csv", b"npa,nxx,x,ocn,company,category\n"),
            "a header, but no lines",
        ),
        (
            table(
                "sheet.csv",
                b"npa,nxx,x,ocn\n201,330,4,073H\n201,330,5,3.69E+02\n",
            ),
            "line 3: OCN `3.69E+02` is in scientific notation",
        ),
        (
            table(
                "zeros.csv",
                b"npa,nxx,x,ocn\n201,330,4,073H\n201,330,5,73H\n",
            ),
            "line 3: OCN `73H` may be `073H` without its leading zeros",
        ),
        (
            table(
                "quote.csv",
                b"npa,nxx,x,ocn,company\n201,330,4,073H,\"A\n201,330,5,073H,B\n",
            ),
            "line 2: unclosed quotation mark",
        ),
        (
            table(
                "cut.csv",
                b"npa,nxx,x,ocn,company,category\n201,330,4,073H,,\n201,3",
            ),
            "line 3",
        ),
        (
            table("other.csv", b"State,NPA-NXX,OCN\nNJ,201-330,073H\n"),
            "no column `npa`",
        ),
        (
            dir.join("absent.csv").display().to_string(),
            "cannot be read",
        ),
    ] {
        let told = carrier.refuses(&[
            "import",
            &file,
            "--format",
            "nanp-blocks",
            "--ocn",
            "073H",
            "--spc",
            "073H",
        ]);
        assert!(told.contains(why), "{file}: {told}");
    }
    carrier.does(&["account", "create", "acme"]);
    assert!(
        carrier
            .refuses(&["delegation", "add", "acme", "+12013304000"])
            .contains("does not hold")
    );
}

#[test]
fn an_import_that_lacks_what_its_format_needs_is_refused_before_anything_is_read() {
    let carrier = Carrier::new();
    for (args, why) in [
        (
            &["--format", "nanp-blocks", "--spc", "073H"][..],
            "needs the OCNs",
        ),
        (
            &["--format", "arcep-majnum", "--ocn", "FRTE"],
            "needs the service provider code",
        ),
        (
            &["--format", "delegations", "--ocn", "FRTE"],
            "takes no OCN",
        ),
    ] {
        let told = carrier.refuses(&[&["import", "nowhere.csv"], args].concat());
        assert!(told.contains(why), "{told}");
    }
    let output = carrier.run(&["import", SAMPLE, "--format", "xlsx"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_table_that_changes_while_it_is_read_is_refused() {
    let carrier = Carrier::new();
    let path = carrier.0.path().join("growing.csv");
    let line = "201,330,4,073H,A COMPANY THAT HAS A LONG NAME,CLEC\n";
    fs::write(
        &path,
        format!("npa,nxx,x,ocn,company,category\n{}", line.repeat(400_000)),
    )
    .expect("a file");
    let mut import = Command::new(EXECUTABLE)
        .current_dir(carrier.0.path())
        .args([
            "import",
            "growing.csv",
            "--format",
            "nanp-blocks",
            "--ocn",
            "073H",
            "--spc",
            "073H",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    // It has the file open long before it is through.
    while import.try_wait().expect("a state").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .expect("a file");
        std::io::Write::write_all(&mut file, line.as_bytes()).expect("a line");
    }
    let output = import.wait_with_output().expect("the command");
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("was changed while it was read"), "{told}");
    assert!(
        carrier
            .imports(SAMPLE, "073H")
            .contains("added 9, unchanged 0"),
        "nothing of it is there"
    );
}

#[test]
fn a_digit_too_few_or_too_many_is_hinted_at() {
    let carrier = Carrier::new();
    carrier.does(&["account", "create", "acme"]);
    let explained = |numbers: &str| {
        let ran = carrier.run(&["explain", "acme", numbers]);
        assert_eq!(ran.status.code(), Some(1));
        String::from_utf8(ran.stdout).expect("text")
    };
    for (numbers, has) in [("+1201330400", "has 9"), ("+120133040001", "has 11")] {
        let said = explained(numbers);
        assert!(
            said.contains("  hint: numbers under +1 have 10 digits after the 1")
                && said.contains(has),
            "{said}"
        );
    }
    for numbers in ["+12013304000", "+4930123"] {
        assert!(!explained(numbers).contains("hint"), "{numbers}");
    }
}

#[test]
fn lines_that_were_forced_are_named() {
    let carrier = Carrier::new();
    let path = carrier.0.path().join("ported.csv");
    let lines: Vec<String> = (1_000..1_025)
        .map(|n| format!("+1312555{n},1,ported-out"))
        .collect();
    let table = format!("start,count,reason\n{}\n", lines.join("\n"));
    fs::write(&path, table).expect("a file");
    let import = ["import", "ported.csv", "--format", "exclusions", "--force"];
    for dry_run in [&["--dry-run"][..], &[]] {
        let said = carrier.does(&[&import[..], dry_run].concat());
        assert!(
            said.contains(
                "note: 25 lines exclude numbers of which the carrier holds none (line 2, 3, 4,"
            ) && said.contains(", 21 and 5 more)"),
            "{said}"
        );
        assert_eq!(said.matches("note:").count(), 1, "{said}");
    }
}
