//! Many requests in one: each is decided for itself, in their order, in a few transactions.

use tn_authority::domain::Role;

use crate::support::{World, account, code, request, wait};

both! {
    each_request_is_decided_for_itself,
    a_thousand_tokens_are_a_few_commits,
}

fn each_request_is_decided_for_itself(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world.lends("other", "1.212.555.11XX");
    let portal = world.caller(Role::Portal, &["acme", "other"]);
    let wanted = [
        ("acme", "one:12125551001"),
        ("other", "one:12125551001"),
        ("nobody", "one:12125551001"),
        ("other", "one:12125551101"),
    ];
    let wanted = wanted.map(|(id, entry)| (account(id), request(&[entry], false, None)));
    let answers = wait(world.authority.issue_all(&portal, wanted.into(), None)).expect("answers");
    assert_eq!(answers.len(), 4);
    assert_eq!(code(&answers[1]), "not-authorized");
    assert_eq!(code(&answers[2]), "forbidden");
    for (place, id) in [(0, "acme"), (3, "other")] {
        let issued = answers[place].as_ref().expect("a token");
        assert_eq!(world.grant_of(issued).account, account(id));
    }
    // The refusals are in the trail as well.
    assert_eq!(world.trail("other").len(), 3, "{:?}", world.trail("other"));
}

fn a_thousand_tokens_are_a_few_commits(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let before = world.metric("writer_batch_size_count");
    let wanted = (0..1000).map(|n| {
        let entry = format!("one:{}", 12_125_551_000_u64 + n);
        (account("acme"), request(&[&entry], false, None))
    });
    let caller = world.caller(Role::Account, &["acme"]);
    let answers =
        wait(world.authority.issue_all(&caller, wanted.collect(), None)).expect("answers");
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(world.grants().len(), 1000);
    // Four groups of 250. The writer takes what is in the queue, so it can begin with a part of a group, and a transaction
    // begins nothing after 100 ms.
    let commits = world.metric("writer_batch_size_count") - before;
    assert!(commits < 20.0, "{commits} transactions");
}
