//! Jobs of imports that are cut short: their process is dead, or the service stops.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tn_authority::authority::import::RunningJob;
use tn_authority::authority::import::jobs::Jobs;
use tn_authority::domain::jobs::{Job, JobState};
use tn_authority::domain::new_id;
use uuid::Uuid;

use super::imports::TABLE;
use crate::support::{Setup, World, wait};

both!(
    a_job_of_a_dead_process_is_lost,
    a_lost_job_writes_nothing,
    what_waits_when_the_service_stops_fails_with_a_reason,
    what_runs_when_the_service_stops_is_done_or_not_there,
);

/// A job as another process left it.
fn left_behind(world: &World, state: JobState) -> Uuid {
    let id = tn_authority::domain::new_id(world.now());
    let job = Job {
        id,
        state,
        format: "nanp-blocks".to_owned(),
        ocns: vec!["073H".to_owned()],
        spc: None,
        dry_run: false,
        confirm: false,
        caller: "key-of-provisioner".to_owned(),
        request_id: Uuid::nil(),
        runner: Uuid::nil(),
        bytes_total: 100,
        bytes_read: 50,
        lines_read: 3,
        result: None,
        failure: None,
        created_at: world.now(),
        started_at: None,
        heartbeat_at: world.now(),
        finished_at: None,
        changed_rows: None,
        undone: None,
    };
    wait(
        world
            .authority
            .store()
            .change(world.acting(), "job", move |tx| tx.insert_job(&job)),
    )
    .expect("a job");
    id
}

fn a_job_of_a_dead_process_is_lost(world: World) {
    let [queued, running] =
        [JobState::Queued, JobState::Running].map(|state| left_behind(&world, state));
    let jobs = Jobs::new(world.authority.clone(), 1);
    let state = |id| {
        world
            .authority
            .job(&world.provisioner(), id)
            .expect("a job")
    };
    for (seconds, lost) in [(0, false), (60, false), (1, true)] {
        world.seconds_pass(seconds);
        wait(jobs.mark_lost()).expect("a check");
        for id in [queued, running] {
            assert_eq!(state(id).state == JobState::Lost, lost, "{seconds}");
        }
    }
    let job = state(running);
    assert_eq!(job.failure.expect("a failure").code, "lost");
    assert_eq!((job.finished_at, job.bytes_read), (Some(world.now()), 50));
}

fn a_lost_job_writes_nothing(world: World) {
    use crate::authority::imports::CONFIRMED;
    use tn_authority::tables;
    let id = left_behind(&world, JobState::Running);
    let jobs = Jobs::new(world.authority.clone(), 1);
    world.seconds_pass(61);
    wait(jobs.mark_lost()).expect("a check");
    let wanted = tables::TableRequest {
        format: tables::Format::NanpBlocks,
        ocns: ["073H".to_owned()].into(),
        spc: Some("1234".parse().expect("a code")),
    };
    let draft =
        tables::read(TABLE.as_bytes(), &wanted, world.now(), &mut |_| true).expect("a table");
    let caller = world.provisioner();
    let job = RunningJob::new(id, new_id(world.now()), Arc::default());
    let done = wait(
        world
            .authority
            .import(&caller, draft.clone(), CONFIRMED, Some(&job)),
    );
    assert_eq!(done.expect_err("lost").code(), "lost");
    assert_eq!(world.trail("1234"), []);
    let done = wait(world.authority.import(&caller, draft, CONFIRMED, None)).expect("an import");
    assert_eq!(done.added.numbers, 2_000, "nothing of it was there");
}

fn what_waits_when_the_service_stops_fails_with_a_reason(kind: crate::support::Kind) {
    use tn_authority::tables;
    let world = World::new(kind, Setup::default());
    let jobs = Jobs::new(world.authority.clone(), 2);
    let wanted = tables::TableRequest {
        format: tables::Format::NanpBlocks,
        ocns: ["073H".to_owned()].into(),
        spc: Some("1234".parse().expect("a code")),
    };
    let queue = || {
        let file = tempfile::tempfile().expect("a file");
        let place = jobs.place().expect("a place");
        let consent = crate::authority::imports::CONFIRMED;
        wait(jobs.submit(
            &world.provisioner(),
            wanted.clone(),
            consent,
            (file, 0),
            place,
        ))
        .expect("a job")
        .id
    };
    let ids = [queue(), queue()];
    assert!(jobs.place().is_err());
    // Told to stop before it is started, it has nothing to do but to say so.
    let stopping = thread::scope(|scope| {
        let stop = scope.spawn(|| jobs.stop());
        stop.join().is_ok()
    });
    assert!(stopping);
    jobs.start().expect("a thread");
    drop(jobs);
    for id in ids {
        let job = world
            .authority
            .job(&world.provisioner(), id)
            .expect("a job");
        assert_eq!(job.state, JobState::Failed);
        let failure = job.failure.expect("a failure");
        assert_eq!(failure.code, "stopped");
        assert!(
            failure.detail.contains("send the table again"),
            "{failure:?}"
        );
    }
}

fn what_runs_when_the_service_stops_is_done_or_not_there(world: World) {
    use std::io::{Seek as _, Write as _};
    use tn_authority::tables;
    let lines = "646,555,1,073H,,\n".repeat(150_000);
    let table = format!("npa,nxx,x,ocn,company,category\n{lines}");
    let mut states = Vec::new();
    for patience in [0, 20, 100, 3_000] {
        let jobs = Jobs::new(world.authority.clone(), 1);
        jobs.start().expect("a thread");
        let wanted = tables::TableRequest {
            format: tables::Format::NanpBlocks,
            ocns: ["073H".to_owned()].into(),
            spc: Some("1234".parse().expect("a code")),
        };
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(table.as_bytes()).expect("a table");
        file.rewind().expect("the start of the table");
        let place = jobs.place().expect("a place");
        let consent = crate::authority::imports::CONFIRMED;
        let file = (file, table.len() as u64);
        let caller = world.provisioner();
        let submitted = jobs.submit(&caller, wanted, consent, file, place);
        let id = wait(submitted).expect("a job").id;
        thread::sleep(Duration::from_millis(patience));
        jobs.stop();
        let job = world
            .authority
            .job(&world.provisioner(), id)
            .expect("a job");
        match job.state {
            JobState::Done => assert_eq!(job.lines_read, 150_000),
            JobState::Failed => assert_eq!(job.failure.expect("a failure").code, "stopped"),
            other => panic!("{other:?}"),
        }
        let any_done = states.contains(&JobState::Done) || job.state == JobState::Done;
        assert_eq!(world.trail("1234").len(), usize::from(any_done));
        states.push(job.state);
    }
    assert_eq!(states[0], JobState::Failed);
}
