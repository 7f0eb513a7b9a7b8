//! What `serve` counts in memory is written when it stops.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tn_authority::domain::TnAuthList;

use crate::crash::kill::{Carrier, free_port, read_answer};
use crate::support::{Db, Logged as _, fingerprint};

both!(no_refusal_is_lost_when_the_service_stops);

const REFUSALS: usize = 300;

fn no_refusal_is_lost_when_the_service_stops(db: Db) {
    let carrier = Carrier::over(&db);
    let address = free_port();
    let mut service = carrier.serve(address);
    // One request, so that all of it is refused in a second or two.
    let entry = "one:12125559999".parse().expect("an entry");
    let list = TnAuthList::from_entries(vec![entry]).expect("a list");
    let one = json!({
        "account": "acme", "tktype": "TNAuthList", "tkvalue": list.to_tkvalue(),
        "fingerprint": fingerprint(),
    });
    let body = json!({ "requests": vec![one; REFUSALS] }).to_string();
    let request = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        carrier.api_key,
        body.len()
    );
    let mut connection = TcpStream::connect(address).expect("a connection");
    let mut answers = BufReader::new(connection.try_clone().expect("a connection"));
    connection.write_all(request.as_bytes()).expect("sent");
    let answer = read_answer(&mut answers).expect("an answer");
    let items = answer["items"].as_array().expect("items");
    assert!(
        items
            .iter()
            .all(|item| item["problem"]["code"] == "not-authorized")
    );
    drop((connection, answers));
    let pid = i32::try_from(service.id()).expect("a process id");
    let pid = Pid::from_raw(pid).expect("a process id");
    kill_process(pid, Signal::TERM).expect("SIGTERM");
    assert!(service.wait().expect("the end of the service").success());

    let export = carrier.command(&["audit", "export"]).logged_output();
    let trail = String::from_utf8(export.stdout).expect("text");
    let events = trail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let refused: Vec<Value> = events
        .filter(|event| event["outcome"] == "not-authorized")
        .collect();
    let counts = refused
        .iter()
        .map(|event| event["detail"]["count"].as_u64().unwrap_or(1));
    assert_eq!(counts.sum::<u64>(), REFUSALS as u64);
    let sums = refused
        .iter()
        .filter(|event| event["detail"]["count"].is_u64());
    assert!(sums.count() > 0, "{trail}");
    assert!(refused.len() <= 33, "{}", refused.len());
}
