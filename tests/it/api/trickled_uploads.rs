//! Tables that arrive byte by byte: each piece is in time, and the whole would never end.

use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::serving::{Client, Serving, head, held, read_answer};

/// Seconds for each piece of a table.
const SECONDS: u64 = 2;
const QUEUE: usize = 8;
const SETTINGS: [(&str, usize); 3] = [
    ("REQUEST_TIMEOUT", SECONDS as usize),
    ("IMPORTS__MIN_UPLOAD_RATE", 1_000),
    ("IMPORTS__QUEUE", QUEUE),
];
/// On a machine that does much else.
const MOST: Duration = Duration::from_secs(20);
const LINE: &str = "+13125551001,1,contaminated\n";

fn provisioner(service: &Serving) -> String {
    let args = ["api-key", "create", "--role", "provisioner"];
    service.carrier.run(&args)
}

/// Begins to upload a table of this length.
fn begins(service: &Serving, key: &str, length: usize) -> Client {
    let fields = format!(
        "authorization: Bearer {key}\r\ncontent-type: text/csv\r\ncontent-length: {length}\r\n"
    );
    let mut client = service.connect();
    let request = head("POST", "/v1/imports?format=exclusions", &fields);
    client
        .write_all(format!("{request}start,count,reason\n").as_bytes())
        .expect("a start");
    client
}

fn status(client: &mut Client) -> String {
    let (answer, _) = read_answer(client);
    answer.split(' ').nth(1).expect("a status").to_owned()
}

#[test]
fn a_table_that_trickles_is_cut_off() {
    for has_tls in [false, true] {
        let service = Serving::start(has_tls, &SETTINGS);
        let key = provisioner(&service);
        let mut client = begins(&service, &key, 1_000_000);
        // 10 bytes each 100 ms, for which 1,000 bytes a second are required.
        let cut = held(&mut client, b"0123456789", MOST);
        assert!(cut >= Duration::from_secs(1), "{cut:?}");
        service.answers_others();
    }
}

#[test]
fn a_table_that_arrives_steadily_takes_as_long_as_it_needs() {
    let service = Serving::start(false, &SETTINGS);
    let key = provisioner(&service);
    let lines = 400;
    let table: Vec<String> = (0..lines)
        .map(|n| LINE.replace("1001", &format!("{:04}", 1_000 + n)))
        .collect();
    let table = table.concat();
    let length = "start,count,reason\n".len() + table.len();
    let mut client = begins(&service, &key, length);
    let start = Instant::now();
    // About 3,000 bytes a second.
    for piece in table.as_bytes().chunks(300) {
        client.write_all(piece).expect("a piece");
        sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() > Duration::from_secs(SECONDS + 1));
    assert_eq!(status(&mut client), "202");
}

#[test]
fn uploads_that_trickle_leave_slots_for_other_callers() {
    let service = Serving::start(false, &[SETTINGS[1], SETTINGS[2], ("REQUEST_TIMEOUT", 60)]);
    let (slow, other) = (provisioner(&service), provisioner(&service));
    // As many as there are slots; half of them are refused.
    let _trickling: Vec<Client> = (0..QUEUE)
        .map(|_| begins(&service, &slow, 1_000_000))
        .collect();
    let uploads = |key: &str| {
        let mut client = begins(&service, key, "start,count,reason\n".len() + LINE.len());
        client.write_all(LINE.as_bytes()).expect("a line");
        status(&mut client)
    };
    let until = |key: &str, wanted: &str| {
        let start = Instant::now();
        while uploads(key) != wanted {
            assert!(start.elapsed() < MOST, "it is never {wanted}");
        }
    };
    until(&slow, "503");
    until(&other, "202");
    until(&slow, "503");
}
