//! More token requests than can be answered in time: some are refused before they are read, and leave nothing.

use std::thread;
use std::time::Duration;

use serde_json::json;
use tn_authority::authority::{ClientPresence, IssueError, Issued};
use tn_authority::domain::Role;
use tn_authority::store::StoreError;

use crate::store::fairness::begun;
use crate::store::writer::{block, release, until};
use crate::support::service::{Api, asking};
use crate::support::{Kind, Setup, World, account, request, wait};

both! {
    a_token_request_that_would_wait_too_long_leaves_nothing_and_can_be_repeated,
    changes_and_reads_are_served_while_token_requests_are_refused,
    an_order_whose_client_has_left_is_not_recorded_while_others_wait,
    a_client_that_closes_only_its_side_gets_its_token_while_no_others_wait,
}

/// Every transaction is full with one job, so its time is that of a job under load.
fn full_with_one(max_wait: Option<Duration>) -> Setup {
    Setup {
        batch: 1,
        max_wait,
        ..Setup::default()
    }
}

/// Works while a token request over HTTP waits for the writer, behind two orders.
fn while_one_waits<T>(api: &Api, work: impl FnOnce() -> T) -> T {
    let queued = || api.world.metric("writer_queue_length");
    thread::scope(|scope| {
        let (done, waiting) = with_a_queue(&api.world, || {
            // The other order is in the transaction that does not begin.
            until(|| queued() < 1.5);
            let waiting = scope.spawn(|| api.ask(&asking(&["one:12125551001"])));
            until(|| queued() > 1.5);
            (work(), waiting)
        });
        waiting.join().expect("a client").with(200);
        done
    })
}

/// Orders that wait for the writer, one of them in a transaction that does not begin.
fn with_a_queue<T>(world: &World, work: impl FnOnce() -> T) -> T {
    let mut blocker = block(world);
    let caller = world.caller(Role::Account, &["acme"]);
    let queued: Vec<_> = (0..2)
        .map(|_| {
            let wanted = request(&["one:12125551001"], false, None);
            begun(
                world
                    .authority
                    .issue(&caller, account("acme"), wanted, None),
            )
            .expect("a slot")
        })
        .collect();
    let done = work();
    release(&mut blocker);
    for order in queued {
        assert!(wait(order).is_ok());
    }
    done
}

fn a_token_request_that_would_wait_too_long_leaves_nothing_and_can_be_repeated(kind: Kind) {
    let setup = full_with_one(Some(Duration::from_nanos(1)));
    let api = Api::over(World::new(kind, setup));
    let body = asking(&["one:12125551002"]);
    let path = "/at/account/acme/token";
    api.once("first", &api.acme, path, &body).with(200);
    let refused = while_one_waits(&api, || api.once("again", &api.acme, path, &body));
    let problem = refused.problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        problem["instance"].as_str().map(|id| &id[9..]),
        refused.header("x-request-id")
    );
    assert_eq!(api.world.grants().len(), 4);
    let metric = |name| api.world.metric(name).round();
    assert!((metric("overload_refusals_total") - 1.0).abs() < 0.5);
    // The key was not used, so the repetition is the first request with it.
    api.once("again", &api.acme, path, &body).with(200);
    assert_eq!(api.world.grants().len(), 5);
}

fn changes_and_reads_are_served_while_token_requests_are_refused(kind: Kind) {
    let setup = full_with_one(Some(Duration::from_nanos(1)));
    let api = Api::over(World::new(kind, setup));
    api.ask(&asking(&["one:12125551002"])).with(200);
    while_one_waits(&api, || {
        // Without credentials, since it is refused before it is authenticated.
        let bulk = json!({ "requests": [] });
        api.post("", "/v1/tokens", &bulk)
            .problem(503, "unavailable");
        api.get(&api.auditor, "/v1/grants").with(200);
        assert_eq!(api.get("", "/healthz").status, 200);
        // It is decided, and not refused for the queue.
        let unknown = json!({ "start": "+12125551001" });
        api.post(&api.provisioner, "/v1/exclusions", &unknown)
            .with(400);
    });
}

/// The outcome of an order whose client has closed its side of the connection before the order's turn.
fn ordered_by_one_who_left(world: &World) -> Result<Issued, IssueError> {
    let caller = world.caller(Role::Account, &["acme"]);
    let client = ClientPresence::default();
    let order = with_a_queue(world, || {
        let wanted = request(&["one:12125551003"], false, None);
        let issuing = world
            .authority
            .issue(&caller, account("acme"), wanted, None);
        let budget = world.authority.wait_budget();
        let order = begun(budget.scope(Some(client.clone()), issuing));
        client.leave();
        order.expect("a slot")
    });
    wait(order)
}

fn an_order_whose_client_has_left_is_not_recorded_while_others_wait(kind: Kind) {
    let world = World::new(kind, full_with_one(None));
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let outcome = ordered_by_one_who_left(&world);
    assert!(matches!(outcome, Err(IssueError::Store(StoreError::Busy))));
    assert_eq!(world.grants().len(), 2);
    assert!((world.metric("abandoned_orders_total") - 1.0).abs() < 0.5);
}

fn a_client_that_closes_only_its_side_gets_its_token_while_no_others_wait(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    assert!(ordered_by_one_who_left(&world).is_ok());
    assert_eq!(world.grants().len(), 3);
}
