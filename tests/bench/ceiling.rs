//! The ceiling that `tests/bench/run` measures the service against: the least that a recorded and signed token costs.
//!
//! A handler of actix-web, one indexed row a token by group commit, one ES256 signature. Nothing is authenticated, decided,
//! audited or verified, and any client gets tokens of a key that is forgotten at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::web::{Data, Json, get, post};
use actix_web::{App, HttpResponse, HttpServer};
use diesel::connection::SimpleConnection as _;
use diesel::sql_types::{Array, BigInt, Text};
use diesel::{
    Connection as _, Insertable, PgConnection, QueryResult, RunQueryDsl as _, SqliteConnection,
};
use josekit::jws::alg::ecdsa::EcdsaJwsSigner;
use josekit::jws::{ES256, JwsHeader, serialize_compact};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// The most rows of one commit, unless one request alone has more.
const BATCH: usize = 1_000;
const EXPIRES: i64 = 2_000_000_000;

diesel::table! {
    tokens (jti) {
        jti -> Text,
        tkvalue -> Text,
        fingerprint -> Text,
        expires_at -> BigInt,
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    tkvalue: String,
    fingerprint: String,
}

#[derive(Debug, Deserialize)]
struct WantedBulk {
    requests: Vec<Wanted>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = tokens)]
struct Row {
    jti: String,
    tkvalue: String,
    fingerprint: String,
    expires_at: i64,
}

/// The rows of one request, and the handler that waits for their commit.
struct Job {
    rows: Vec<Row>,
    committed: oneshot::Sender<Vec<Row>>,
}

struct Ceiling {
    jobs: mpsc::UnboundedSender<Job>,
    signer: EcdsaJwsSigner,
    header: JwsHeader,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    rows: AtomicU64,
    commits: AtomicU64,
}

enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!(
            "usage: ceiling sqlite:PATH | ceiling postgres://..\nIt prints the address that it listens on."
        );
        std::process::exit(2);
    };
    let (jobs, waiting) = mpsc::unbounded_channel();
    let counts = Arc::new(Counts::default());
    let (database, counted) = (Database::open(&url), Arc::clone(&counts));
    std::thread::spawn(move || write(database, waiting, &counted));
    let pair = ES256.generate_key_pair().expect("a key");
    let ceiling = Data::new(Ceiling {
        jobs,
        signer: ES256
            .signer_from_der(pair.to_der_private_key())
            .expect("a signer"),
        header: JwsHeader::new(),
        counts,
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ceiling.clone())
            .app_data(actix_web::web::JsonConfig::default().limit(2 << 20))
            .route("/at/account/{id}/token", post().to(issue))
            .route("/v1/tokens", post().to(issue_bulk))
            .route("/counts", get().to(count))
    });
    let server = server.bind(("127.0.0.1", 0))?;
    println!("{}", server.addrs()[0]);
    server.run().await
}

async fn issue(ceiling: Data<Ceiling>, wanted: Json<Wanted>) -> HttpResponse {
    let tokens = ceiling.record_and_sign(vec![wanted.into_inner()]).await;
    HttpResponse::Ok().json(&tokens[0])
}

async fn issue_bulk(ceiling: Data<Ceiling>, wanted: Json<WantedBulk>) -> HttpResponse {
    let items = ceiling.record_and_sign(wanted.into_inner().requests).await;
    HttpResponse::Ok().json(json!({ "items": items }))
}

async fn count(ceiling: Data<Ceiling>) -> HttpResponse {
    let Counts { rows, commits } = &*ceiling.counts;
    let [rows, commits] = [rows, commits].map(|n| n.load(Ordering::Relaxed));
    HttpResponse::Ok().json(json!({ "rows": rows, "commits": commits }))
}

impl Ceiling {
    async fn record_and_sign(&self, wanted: Vec<Wanted>) -> Vec<Value> {
        let row = |wanted: Wanted| Row {
            jti: Uuid::now_v7().to_string(),
            tkvalue: wanted.tkvalue,
            fingerprint: wanted.fingerprint,
            expires_at: EXPIRES,
        };
        let (committed, wait) = oneshot::channel();
        let rows = wanted.into_iter().map(row).collect();
        let sent = self.jobs.send(Job { rows, committed });
        sent.expect("the writer runs");
        let rows = wait.await.expect("a commit");
        rows.iter().map(|row| self.sign(row)).collect()
    }

    fn sign(&self, row: &Row) -> Value {
        let claims = json!({
            "iss": "https://authority.example",
            "exp": row.expires_at,
            "jti": row.jti,
            "atc": { "tktype": "TNAuthList", "tkvalue": row.tkvalue, "ca": false, "fingerprint": row.fingerprint },
        });
        let token = serialize_compact(claims.to_string().as_bytes(), &self.header, &self.signer);
        json!({ "token": token.expect("a signature"), "jti": row.jti })
    }
}

/// Commits all rows that wait in one transaction, until the server has ended.
fn write(mut database: Database, mut waiting: mpsc::UnboundedReceiver<Job>, counts: &Counts) {
    while let Some(first) = waiting.blocking_recv() {
        let (mut rows, mut answers) = (first.rows, vec![first.committed]);
        let mut ends = vec![rows.len()];
        while rows.len() < BATCH
            && let Ok(next) = waiting.try_recv()
        {
            rows.extend(next.rows);
            ends.push(rows.len());
            answers.push(next.committed);
        }
        database.insert(&rows).expect("a commit");
        counts.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
        counts.commits.fetch_add(1, Ordering::Relaxed);
        let mut rows = rows.into_iter();
        let mut begin = 0;
        for (end, answer) in ends.into_iter().zip(answers) {
            // The handler of a client that has gone does not wait any more.
            let _ = answer.send(rows.by_ref().take(end - begin).collect());
            begin = end;
        }
    }
}

impl Database {
    fn open(url: &str) -> Self {
        const TABLE: &str = "CREATE TABLE tokens (jti TEXT NOT NULL PRIMARY KEY, tkvalue TEXT NOT NULL, \
                             fingerprint TEXT NOT NULL, expires_at BIGINT NOT NULL)";
        if let Some(path) = url.strip_prefix("sqlite:") {
            let mut connection = SqliteConnection::establish(path).expect("SQLite");
            // As the service sets them.
            let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
            connection.batch_execute(settings).expect("settings");
            connection.batch_execute(TABLE).expect("a table");
            Self::Sqlite(connection)
        } else {
            let mut connection = PgConnection::establish(url).expect("PostgreSQL");
            connection.batch_execute(TABLE).expect("a table");
            Self::Postgres(connection)
        }
    }

    fn insert(&mut self, rows: &[Row]) -> QueryResult<()> {
        match self {
            Self::Sqlite(connection) => connection.immediate_transaction(|connection| {
                // One statement that stays prepared is faster there than one of many rows.
                for row in rows {
                    diesel::insert_into(tokens::table)
                        .values(row)
                        .execute(connection)?;
                }
                Ok(())
            }),
            Self::Postgres(connection) => {
                let texts =
                    |column: fn(&Row) -> &str| rows.iter().map(column).collect::<Vec<&str>>();
                let expiries: Vec<i64> = rows.iter().map(|row| row.expires_at).collect();
                // A single statement is a transaction.
                diesel::sql_query("INSERT INTO tokens SELECT * FROM unnest($1, $2, $3, $4)")
                    .bind::<Array<Text>, _>(texts(|row| &row.jti))
                    .bind::<Array<Text>, _>(texts(|row| &row.tkvalue))
                    .bind::<Array<Text>, _>(texts(|row| &row.fingerprint))
                    .bind::<Array<BigInt>, _>(expiries)
                    .execute(connection)
                    .map(drop)
            }
        }
    }
}
