//! The way back from a mistake: a port-out of the wrong number, a disconnect. What it ended counts again, exactly.

use tn_authority::authority::{
    ChangeError, DelegationStatus, Disconnected, Mistake, NewDisconnect, Restored, Withdrawing,
};
use tn_authority::domain::Role;
use tn_authority::domain::inventory::{Basis, Delegation, Exclusion, Reason};
use tn_authority::store::EventFilter;
use uuid::Uuid;

use super::resellers::{LINE, lent_down, reseller};
use super::trail::{all, auditor};
use crate::support::{World, numbers, outside, wait};

both! {
    a_port_out_of_the_wrong_number_is_undone,
    an_exclusion_that_has_ended_is_still_undone,
    an_exclusion_is_undone_once,
    what_was_delegated_since_is_not_taken_away,
    what_left_for_another_reason_stays_ended,
    a_disconnect_of_the_wrong_numbers_is_undone,
    a_planned_disconnect_is_undone_and_called_off,
    a_disconnect_of_an_earlier_version_is_not_half_undone,
    a_resellers_customers_get_their_numbers_back,
    a_reseller_undoes_nothing_of_the_carrier,
    withdrawn_grants_stay_withdrawn,
    a_port_is_not_called_off_over_what_was_delegated_since,
    an_undo_does_not_revive_what_ended_after_it,
    an_end_survives_the_undo_of_an_earlier_one,
    an_end_survives_the_undo_of_one_that_cancelled,
    what_ended_in_its_first_second_is_undone_once,
}

pub(super) fn mistake() -> Mistake {
    Mistake {
        reason: "the wrong number".to_owned(),
    }
}

fn undoes(world: &World, exclusion: &Exclusion) -> Result<Restored<Exclusion>, ChangeError> {
    let provisioner = world.provisioner();
    wait(
        world
            .authority
            .undo_exclusion(&provisioner, exclusion.row.id, mistake()),
    )
}

pub(super) fn disconnects(world: &World, text: &str, in_seconds: i64) -> Disconnected {
    let new = NewDisconnect {
        numbers: numbers(text),
        class: "residential".to_owned(),
        at: Some(world.in_seconds(in_seconds)),
    };
    wait(world.authority.disconnect(&world.provisioner(), new))
        .map(|done: Withdrawing<_>| done.row)
        .expect("a disconnect")
}

pub(super) fn ids<T>(restored: &Restored<T>) -> Vec<Uuid> {
    restored
        .delegations
        .rows
        .iter()
        .map(|row| row.row.id)
        .collect()
}

/// Why the account gets no token for the number.
pub(super) fn why_not(world: &World, id: &str, entry: &str) -> String {
    let refused = outside(&world.mints(id, &[entry]));
    let (_, code) = refused.into_iter().next().expect("a refused number");
    code
}

fn a_port_out_of_the_wrong_number_is_undone(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let ported = world.excludes("+12125551001", Reason::PortedOut, None).row;
    world.seconds_pass(60);
    world.ends_exclusion(&ported, None);
    world.seconds_pass(60);
    let again = world.excludes("+12125551002", Reason::PortedOut, None).row;
    assert_eq!(
        why_not(&world, "acme", "one:12125551001"),
        "delegation-ended"
    );

    let undone = undoes(&world, &again).expect("undone");
    assert_eq!(ids(&undone), [loan.row.id]);
    assert_eq!(undone.row.belief.superseded_at, Some(world.now()));
    world.mints("acme", &["one:12125551002"]).expect("a token");
    // The port-out before was none by mistake: ended as any other, it restores nothing.
    assert_eq!(
        why_not(&world, "acme", "one:12125551001"),
        "delegation-ended"
    );

    let trail = all(
        &world,
        &auditor(&world),
        EventFilter {
            subject: Some(again.row.id.to_string()),
            action: Some("end-exclusion".to_owned()),
            ..EventFilter::default()
        },
    );
    assert_eq!(trail.len(), 1);
    assert_eq!(trail[0].detail["mistake"], true);
    assert_eq!(trail[0].detail["reason"], "the wrong number");
    assert_eq!(trail[0].detail["restored_delegations"], 1);
}

fn an_exclusion_that_has_ended_is_still_undone(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    let ported = world.excludes("+12125551001", Reason::PortedOut, None).row;
    world.seconds_pass(60);
    world.ends_exclusion(&ported, None);
    world.seconds_pass(60);
    assert_eq!(
        why_not(&world, "acme", "one:12125551001"),
        "delegation-ended"
    );
    let undone = undoes(&world, &ported).expect("undone");
    assert_eq!(ids(&undone), [loan.row.id]);
    world.mints("acme", &["one:12125551001"]).expect("a token");
}

fn an_exclusion_is_undone_once(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let ported = world.excludes("+12125551001", Reason::PortedOut, None).row;
    let nothing = undoes(&world, &ported).expect("undone");
    assert_eq!(nothing.delegations.count, 0, "no delegation had ended");
    let twice = undoes(&world, &ported).expect_err("undone already");
    assert_eq!(twice.code(), "already-undone");
    let unknown = wait(world.authority.undo_exclusion(
        &world.provisioner(),
        Uuid::from_u128(1),
        mistake(),
    ));
    assert_eq!(unknown.expect_err("no such row").code(), "not-found");
}

fn what_was_delegated_since_is_not_taken_away(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let ported = world.excludes("+12125551001", Reason::PortedOut, None).row;
    world.seconds_pass(60);
    world.ends_exclusion(&ported, None);
    let since = world.lends("other", "+12125551001");
    let refused = undoes(&world, &ported).expect_err("delegated to another account");
    assert_eq!(
        refused,
        ChangeError::Overlap {
            numbers: numbers("+12125551001"),
            kind: "delegation",
            id: since.row.id,
        }
    );
    world
        .mints("other", &["one:12125551001"])
        .expect("still its own");
    world.seconds_pass(60);
    world.ends(&since, None);
    undoes(&world, &ported).expect("nothing overlaps any more");
    world.mints("acme", &["one:12125551001"]).expect("a token");
}

fn what_left_for_another_reason_stays_ended(world: World) {
    let block = world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let mistaken = world
        .excludes("1.212.555.100X", Reason::PortedOut, None)
        .row;
    world.excludes("+12125551001", Reason::PortedOut, None);
    world.excludes("+12125551002", Reason::Suspended, None);
    undoes(&world, &mistaken).expect("undone");
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "ported-out");
    assert_eq!(why_not(&world, "acme", "one:12125551002"), "suspended");
    world.mints("acme", &["one:12125551003"]).expect("a token");
    world.seconds_pass(60);
    world.returns(&block, None);
    assert_eq!(why_not(&world, "acme", "one:12125551003"), "not-allocated");
}

fn a_disconnect_of_the_wrong_numbers_is_undone(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let ported_in = world
        .allocates(tn_authority::authority::NewAllocation {
            spc: "1234".parse().expect("a code"),
            numbers: numbers("+16465550001"),
            basis: Basis::PortedIn,
            valid_from: None,
            valid_until: None,
        })
        .expect("an allocation");
    let exact = world.lends("acme", "+16465550001");
    let ended_before = world.lends("other", "+12125551001");
    world.seconds_pass(60);
    world.ends(&ended_before, None);
    world.seconds_pass(60);
    let done = disconnects(&world, "+16465550001", 0);
    assert_eq!(done.returned_allocations[0].row.id, ported_in.row.id);
    assert_eq!(why_not(&world, "acme", "one:16465550001"), "not-delegated");

    world.seconds_pass(3_600);
    let undone = undoes(&world, &done.aging).expect("undone");
    assert_eq!(ids(&undone), [exact.row.id]);
    let restored = &undone.delegations.rows[0];
    assert_eq!((restored.row.version, restored.window), (3, exact.window));
    world.mints("acme", &["one:16465550001"]).expect("a token");
    let page = world
        .authority
        .allocation(&auditor(&world), ported_in.row.id);
    let held = page.expect("the allocation");
    assert_eq!((held.row.version, held.window.until()), (3, None));
    let ended = world
        .authority
        .delegation(&auditor(&world), ended_before.row.id);
    assert_eq!(row_of(ended).window.until(), Some(world.in_seconds(-3_660)));
    // A hundred days later, nothing has aged.
    world.seconds_pass(100 * 86_400 - 3_600);
    let twice = undoes(&world, &done.aging).expect_err("undone already");
    assert_eq!(twice.code(), "already-undone");
}

fn row_of(found: Result<DelegationStatus, ChangeError>) -> Delegation {
    found.expect("a delegation").row
}

fn a_planned_disconnect_is_undone_and_called_off(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let done = disconnects(&world, "+12125551001", 7_200);
    let ending = world.authority.delegation(&auditor(&world), loan.row.id);
    assert_eq!(row_of(ending).window.until(), Some(world.in_seconds(7_200)));
    undoes(&world, &done.aging).expect("undone");
    let whole = world.authority.delegation(&auditor(&world), loan.row.id);
    assert_eq!(row_of(whole).window.until(), None);
    world.seconds_pass(7_200);
    world.mints("acme", &["one:12125551001"]).expect("a token");
}

fn a_disconnect_of_an_earlier_version_is_not_half_undone(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let done = disconnects(&world, "+12125551001", 0);
    let plain = world.excludes("+12125551002", Reason::Aging, None).row;
    // As before disconnects kept what they ended.
    world.db.execute("DELETE FROM row_changes");
    let refused = undoes(&world, &done.aging).expect_err("not known");
    assert_eq!(refused.code(), "not-undoable");
    undoes(&world, &plain).expect("no disconnect, so nothing else had ended");
}

fn a_resellers_customers_get_their_numbers_back(world: World) {
    let chain = lent_down(&world);
    let done = disconnects(&world, "1.212.555.100X", 0);
    assert_eq!(why_not(&world, "shop", "one:12125551001"), "aging");
    world.seconds_pass(60);
    let undone = undoes(&world, &done.aging).expect("undone");
    let restored = ids(&undone);
    // The holder of the block had kept its numbers; what is cut from it ended.
    for loan in &chain[1..] {
        assert!(restored.contains(&loan.row.id), "{restored:?}");
    }
    world.mints(LINE[3], &["one:12125551001"]).expect("a token");
}

fn a_reseller_undoes_nothing_of_the_carrier(world: World) {
    lent_down(&world);
    let ported = world.excludes("+12125551001", Reason::PortedOut, None).row;
    let callers = [
        reseller(&world, LINE[0]),
        world.caller(Role::Portal, &[LINE[0]]),
        world.caller(Role::Account, &["shop"]),
        auditor(&world),
    ];
    for caller in callers {
        let authority = &world.authority;
        let id = ported.row.id;
        let refused = [
            wait(authority.undo_exclusion(&caller, id, mistake())).map(drop),
            wait(authority.undo_return(&caller, id, mistake())).map(drop),
            wait(authority.undo_import(&caller, id, mistake())).map(drop),
            authority.try_undo_import(&caller, id).map(drop),
        ];
        for refused in refused {
            assert_eq!(refused, Err(ChangeError::Forbidden), "{}", caller.id);
        }
    }
    assert_eq!(why_not(&world, "shop", "one:12125551001"), "ported-out");
}

fn withdrawn_grants_stay_withdrawn(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    let before = world.mints("acme", &["one:12125551001"]).expect("a token");
    let ported = world.excludes("+12125551001", Reason::PortedOut, None).row;
    undoes(&world, &ported).expect("undone");
    let withdrawal = world.grant_of(&before).withdrawal.expect("a withdrawal");
    assert_eq!(withdrawal.reason, "ported-out");
    let after = world
        .mints("acme", &["one:12125551001"])
        .expect("a new token");
    assert_eq!(world.grant_of(&after).withdrawal, None);
}

fn a_port_is_not_called_off_over_what_was_delegated_since(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let at = world.in_seconds(7_200);
    let ported = world.excludes("+12125551001", Reason::PortedOut, Some(at));
    let mut new = world.loan("other", "+12125551001");
    new.valid_from = Some(at);
    let since = world.delegates(new).expect("a delegation");
    let ends = || {
        let provisioner = world.provisioner();
        let id = ported.row.row.id;
        wait(world.authority.end_exclusion(&provisioner, id, None))
    };
    let expected = ChangeError::Overlap {
        numbers: numbers("+12125551001"),
        kind: "delegation",
        id: since.row.id,
    };
    assert_eq!(ends(), Err(expected.clone()));
    assert_eq!(undoes(&world, &ported.row), Err(expected));
    world.ends(&since, None);
    ends().expect("nothing overlaps any more");
    world.seconds_pass(7_200);
    world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(why_not(&world, "other", "one:12125551001"), "not-delegated");
}

fn an_undo_does_not_revive_what_ended_after_it(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let done = disconnects(&world, "+12125551001", 7_200);
    undoes(&world, &done.aging).expect("undone");
    world.ends(&loan, Some(world.in_seconds(7_200)));
    let twice = undoes(&world, &done.aging).expect_err("undone already");
    assert_eq!(twice.code(), "already-undone");
    world.seconds_pass(7_200);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "not-delegated");
}

/// The audited ends of a delegation.
fn audited_ends(world: &World, loan: &Delegation) -> usize {
    let filter = EventFilter {
        subject: Some(loan.row.id.to_string()),
        action: Some("end-delegation".to_owned()),
        ..EventFilter::default()
    };
    all(world, &auditor(world), filter).len()
}

fn an_end_survives_the_undo_of_an_earlier_one(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    world.seconds_pass(60);
    let done = disconnects(&world, "+12125551001", 0);
    world.seconds_pass(60);
    let ended = world.ends(&loan, None).row;
    assert_eq!(ended.row.version, 3);
    assert_eq!(ended.window.until(), Some(done.aging.window.from()));
    assert_eq!(audited_ends(&world, &loan), 2);
    // Repeated, it changes nothing.
    assert_eq!(world.ends(&loan, None).row, ended);
    assert_eq!(audited_ends(&world, &loan), 2);
    let undone = undoes(&world, &done.aging).expect("undone");
    assert_eq!(undone.delegations.count, 0);
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "not-delegated");
}

fn an_end_survives_the_undo_of_one_that_cancelled(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "+12125551001");
    let done = disconnects(&world, "+12125551001", 0);
    let ended = world.ends(&loan, None).row;
    assert_eq!(world.ends(&loan, None).row, ended);
    assert_eq!(audited_ends(&world, &loan), 2);
    undoes(&world, &done.aging).expect("undone");
    assert_eq!(why_not(&world, "acme", "one:12125551001"), "not-delegated");
}

fn what_ended_in_its_first_second_is_undone_once(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let ported = world.excludes("+12125551001", Reason::PortedOut, None).row;
    world.ends_exclusion(&ported, None);
    undoes(&world, &ported).expect("undone");
    let twice = undoes(&world, &ported).expect_err("undone already");
    assert_eq!(twice.code(), "already-undone");
    world.mints("acme", &["one:12125551001"]).expect("a token");
}
