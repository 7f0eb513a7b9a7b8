//! Imports over HTTP: a table becomes a job, which any replica shows.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fixtures::{items, member};
use crate::support::service::{Answer, Api, QUEUE, UPLOAD_LIMIT};

both!(
    a_table_becomes_a_job,
    a_dry_run_shows_the_difference,
    what_is_refused_stands_in_the_job,
    what_ends_is_confirmed_and_told,
    malformed_uploads_are_told_what_is_wrong,
    jobs_come_in_pages,
    only_provisioners_import_and_readers_look,
    a_full_queue_is_told_to_come_again,
);

pub(super) const TABLE: &str =
    "npa,nxx,x,ocn,company,category\n646,555,1,073H,,\n646,555,2,073H,,\n646,555,3,9999,,\n";
const BLOCKS: &str = "format=nanp-blocks&ocn=073H&spc=1234";

pub(super) fn upload(api: &Api, query: &str, body: &[u8]) -> Answer {
    upload_as(api, &api.provisioner, "text/csv", query, body)
}

fn upload_as(api: &Api, key: &str, media_type: &str, query: &str, body: &[u8]) -> Answer {
    let head = format!("authorization: Bearer {key}\r\ncontent-type: {media_type}\r\n");
    api.send("POST", &format!("/v1/imports?{query}"), &head, body)
}

/// The job, once it is finished.
pub(super) fn finished(api: &Api, answer: &Answer) -> Value {
    let queued = answer.with(202);
    let location = answer.header("location").expect("a location");
    assert_eq!(location, format!("/v1/jobs/{}", member(&queued, "id")));
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let job = api.get(&api.auditor, location).with(200);
        if !["queued", "running"].contains(&member(&job, "state")) {
            return job;
        }
        assert!(Instant::now() < patience, "{job}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn a_table_becomes_a_job(api: Api) {
    let answer = upload(&api, BLOCKS, TABLE.as_bytes());
    let queued = answer.with(202);
    assert_eq!(
        (&queued["result"], &queued["failure"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(queued["ocns"], json!(["073H"]));
    let job = finished(&api, &answer);
    assert_eq!(
        (&job["state"], &job["failure"]),
        (&json!("done"), &Value::Null),
        "{job}"
    );
    let counts = &job["result"]["counts"];
    assert_eq!(
        (&counts["added"], &counts["added_numbers"]),
        (&json!(1), &json!(2_000))
    );
    assert_eq!(job["progress"]["bytes_read"], TABLE.len());
    assert_eq!(job["progress"]["bytes_total"], TABLE.len());
    assert_eq!(job["progress"]["lines_read"], 3);
    assert_eq!(job["finished_at"], "2026-01-01T00:00:00Z");
    api.world.lends("acme", "1.646.555.1XXX");
    // The same file again is the same import.
    let again = finished(&api, &upload(&api, BLOCKS, TABLE.as_bytes()));
    assert_eq!(
        (
            &again["result"]["counts"]["added"],
            &again["result"]["counts"]["unchanged"]
        ),
        (&json!(0), &json!(1))
    );
    assert_eq!(again["result"]["sha256"], job["result"]["sha256"]);
    assert_eq!(api.world.trail("1234").len(), 1);
    let trail = &api.world.trail("1234")[0];
    assert_eq!(trail.request_id.to_string(), member(&job, "request_id"));
    assert_eq!(trail.detail["sha256"], job["result"]["sha256"]);
}

fn a_dry_run_shows_the_difference(api: Api) {
    let query = format!("{BLOCKS}&dry_run=true");
    let job = finished(&api, &upload(&api, &query, TABLE.as_bytes()));
    assert_eq!(
        (&job["state"], &job["dry_run"]),
        (&json!("done"), &json!(true))
    );
    let difference = &job["result"]["difference"];
    assert_eq!(
        difference["added"],
        json!([{ "start": "+16465551000", "count": 2000 }])
    );
    assert_eq!(
        (&difference["ended"], &difference["more"]),
        (&json!([]), &json!(false))
    );
    let page = api.get(&api.auditor, "/v1/allocations").with(200);
    assert_eq!(items(&page["items"]).len(), 1, "nothing was written");
    let broken = format!("{TABLE}646,555,q,073H,,\n");
    let job = finished(&api, &upload(&api, &query, broken.as_bytes()));
    assert_eq!(job["result"]["counts"]["refused"], 1);
    assert_eq!(job["result"]["line_errors"][0]["line"], 5);
}

fn what_is_refused_stands_in_the_job(api: Api) {
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0];
    for (body, code, why) in [
        (&gzip[..], "malformed-table", "gunzip"),
        (b"", "malformed-table", "no column `npa`"),
        (b"npa,nxx,x,ocn\n646,555\0", "malformed-table", "NUL"),
        (
            b"npa,nxx,x,ocn\n646,555,1,9999\n",
            "malformed-table",
            "no line of the table has OCN 073H",
        ),
        (
            b"npa,nxx,x,ocn\n646,555,z,073H\n",
            "refused-lines",
            "line 2",
        ),
    ] {
        let job = finished(&api, &upload(&api, BLOCKS, body));
        assert_eq!(
            (&job["state"], &job["failure"]["code"]),
            (&json!("failed"), &json!(code)),
            "{job}"
        );
        assert!(member(&job["failure"], "detail").contains(why), "{job}");
        if code == "refused-lines" {
            assert_eq!(job["result"]["line_errors"][0]["line"], 2);
        }
    }
    assert_eq!(api.world.trail("1234"), []);
}

fn what_ends_is_confirmed_and_told(api: Api) {
    let jti = member(
        &api.ask(&crate::support::service::asking(&["one:12125551001"]))
            .with(200),
        "jti",
    )
    .to_owned();
    let table = format!("{TABLE}212,200,A,9999,,\n");
    let job = finished(&api, &upload(&api, BLOCKS, table.as_bytes()));
    assert_eq!(
        (&job["state"], &job["failure"]["code"]),
        (&json!("failed"), &json!("ends-too-much"))
    );
    assert!(
        member(&job["failure"], "detail").contains("confirm=true"),
        "{job}"
    );
    let query = format!("{BLOCKS}&confirm=true");
    let job = finished(&api, &upload(&api, &query, table.as_bytes()));
    assert_eq!(
        (&job["state"], &job["result"]["counts"]["ended"]),
        (&json!("done"), &json!(1))
    );
    let outstanding = &job["result"]["outstanding_grants"];
    assert_eq!(
        (&outstanding["count"], &outstanding["grants"][0]["jti"]),
        (&json!(1), &json!(jti))
    );
    assert_eq!(outstanding["grants"][0]["account"], "acme");
}

fn malformed_uploads_are_told_what_is_wrong(api: Api) {
    for query in [
        "",
        "format=xlsx",
        "format=nanp-blocks",
        "format=nanp-blocks&ocn=073H",
        "format=nanp-blocks&ocn=&spc=1234",
        "format=delegations&ocn=073H",
        "format=exclusions&spc=1234",
        "format=nanp-blocks&ocn=073H&spc=12%2034",
        "format=nanp-blocks&ocn=073H&spc=1234&dry_run=maybe",
        "format=nanp-blocks&ocn=073H&spc=1234&force=true",
        "format=nanp-blocks&format=nanp-blocks&ocn=073H&spc=1234",
    ] {
        upload(&api, query, TABLE.as_bytes()).problem(400, "malformed-query");
    }
    upload(
        &api,
        "format=nanp-blocks&ocn=073H&spc=9999",
        TABLE.as_bytes(),
    )
    .problem(400, "spc-not-held");
    let key = &api.provisioner;
    for media_type in [
        "application/json",
        "",
        "application/gzip",
        "text/csv\r\ncontent-encoding: gzip",
    ] {
        upload_as(&api, key, media_type, BLOCKS, TABLE.as_bytes())
            .problem(415, "unsupported-media-type");
    }
    for media_type in [
        "text/plain",
        "text/tab-separated-values",
        "application/octet-stream",
        "Text/CSV; charset=utf-8",
    ] {
        finished(
            &api,
            &upload_as(
                &api,
                key,
                media_type,
                &format!("{BLOCKS}&dry_run=true"),
                TABLE.as_bytes(),
            ),
        );
    }
    let long = vec![b'x'; usize::try_from(UPLOAD_LIMIT).expect("a size") + 1];
    upload(&api, BLOCKS, &long).problem(413, "body-too-large");
    // Nothing announces how long it is.
    let mut chunked = format!(
        "POST /v1/imports?{BLOCKS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
         content-type: text/csv\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for piece in long.chunks(65_536) {
        chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    api.send_raw(&chunked).problem(413, "body-too-large");
    for path in [
        "/v1/jobs/nonsense",
        "/v1/jobs/00000000-0000-4000-8000-000000000000",
    ] {
        api.get(&api.auditor, path).problem(404, "not-found");
    }
}

fn jobs_come_in_pages(api: Api) {
    let query = format!("{BLOCKS}&dry_run=true");
    let ids: Vec<Value> = (0..3)
        .map(|_| finished(&api, &upload(&api, &query, TABLE.as_bytes()))["id"].clone())
        .collect();
    let first = api.get(&api.auditor, "/v1/jobs?limit=2").with(200);
    let cursor = member(&first, "next_cursor");
    let rest = api
        .get(&api.auditor, &format!("/v1/jobs?cursor={cursor}"))
        .with(200);
    let all = items(&first["items"]).iter().chain(items(&rest["items"]));
    assert_eq!(all.map(|job| job["id"].clone()).collect::<Vec<_>>(), ids);
    assert_eq!(rest["next_cursor"], Value::Null);
}

fn only_provisioners_import_and_readers_look(api: Api) {
    for key in [&api.acme, &api.auditor] {
        upload_as(&api, key, "text/csv", BLOCKS, TABLE.as_bytes()).problem(403, "forbidden");
    }
    upload_as(
        &api,
        &api.admin,
        "text/csv",
        &format!("{BLOCKS}&dry_run=true"),
        TABLE.as_bytes(),
    )
    .with(202);
    api.send("POST", "/v1/imports", "", b"")
        .problem(401, "unauthorized");
    api.get(&api.acme, "/v1/jobs").problem(403, "forbidden");
    api.get("", "/v1/jobs").problem(401, "unauthorized");
}

fn a_full_queue_is_told_to_come_again(api: Api) {
    let places: Vec<_> = (0..QUEUE)
        .map(|_| api.service.jobs.place().expect("a place"))
        .collect();
    let answer = upload(&api, BLOCKS, TABLE.as_bytes());
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(places);
    // A place is free again also after a request that was refused, and after a job.
    for _ in 0..2 * QUEUE {
        upload(&api, "format=nanp-blocks", b"").problem(400, "malformed-query");
        finished(&api, &upload(&api, BLOCKS, TABLE.as_bytes()));
    }
}
