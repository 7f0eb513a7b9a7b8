//! `control`: an operator asks a number, and looks at what became of it.

use std::sync::Arc;

use crate::crash::kill::Carrier;
use crate::support::{Db, Logged as _, Setup, World};

both!(a_number_is_asked_from_the_command_line);

fn a_number_is_asked_from_the_command_line(db: Db) {
    let db = Arc::new(db);
    let carrier = Carrier::over(&db);
    let run = |args: &[&str]| {
        let mut command = carrier.command(&[&["control"], args].concat());
        for (key, value) in [
            ("KIND", "http"),
            ("METHODS", "sms"),
            ("TARGET", "https://127.0.0.1:9/"),
        ] {
            command.env(
                format!("TN_AUTHORITY__CONTROL__GATEWAYS__TEXTS__{key}"),
                value,
            );
        }
        let output = command.logged_output();
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, shown, told) = run(&["start", "acme", "+12125551001", "--method", "sms"]);
    assert_eq!(code, Some(0), "{told}");
    let id = shown.split([' ', ':']).nth(1).expect("an id").to_owned();
    let line = format!("proof {id}: +12125551001 of acme by sms, pending\n  started ");
    assert!(
        shown.starts_with(&line) && shown.contains(" by command, over texts, until "),
        "{shown}"
    );
    assert_eq!(run(&["show", &id]).1, shown);
    assert_eq!(run(&["list", "acme"]).1, shown);

    let (code, _, told) = run(&["start", "acme", "+12125551001", "--method", "sms"]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("a code can still be returned until"),
        "{told}"
    );
    let (code, _, told) = run(&["confirm", &id, "0000000000"]);
    assert!(
        code == Some(1) && told.contains("a code has 6 to 8 digits"),
        "{told}"
    );
    // Its codes have six digits, so this is certainly a wrong one.
    let (code, shown, _) = run(&["confirm", &id, "00000000"]);
    assert_eq!(
        (code, shown.as_str()),
        (
            Some(1),
            "no: the code is not accepted; 4 more tries are left\n"
        )
    );
    // The secret of the API keys is that of every world, so what is in the outbox can be read here.
    let world = World::over(
        Arc::clone(&db),
        Setup {
            signs: false,
            ..Setup::default()
        },
    );
    // The carrier cancels it, or asks although it is pending.
    let (code, shown, told) = run(&["cancel", &id]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        shown.contains(", failed\n") && shown.contains(": cancelled\n"),
        "{shown}"
    );
    let asks = ["start", "acme", "+12125551001", "--method", "sms"];
    assert_eq!(run(&asks).0, Some(0));
    let (code, shown, told) = run(&[&asks[..], &["--override-limits", "a stolen key"]].concat());
    assert_eq!(code, Some(0), "{told}");
    let id = shown.split([' ', ':']).nth(1).expect("an id").to_owned();
    let proof = world.proof_of(id.parse().expect("a UUID"));
    let (code, shown, told) = run(&["confirm", &id, &world.code_of(&proof)]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        shown.contains(", confirmed\n") && shown.contains(" by command\n"),
        "{shown}"
    );
    for (args, why) in [
        (
            &["start", "acme", "+12125551002", "--method", "sip"][..],
            "`--fingerprint` is required for `sip`",
        ),
        (
            &["start", "acme", "+12125551002", "--method", "voice"],
            "no gateway sends codes by `voice`",
        ),
        (
            &["start", "nobody", "+12125551002", "--method", "sms"],
            "there is no account `nobody`",
        ),
        (
            &["show", "00000000-0000-7000-8000-000000000000"],
            "there is no control proof with this id",
        ),
    ] {
        let (code, _, told) = run(args);
        assert!(code == Some(1) && told.contains(why), "{args:?}: {told}");
    }
}
