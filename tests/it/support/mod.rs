//! What the scenarios stand on: a fresh database of either kind, a carrier with its authority, and a way to wait.

#![allow(
    dead_code,
    unused_imports,
    clippy::unused_self,
    reason = "a vocabulary: no scenario uses all of it"
)]

pub mod agent;
mod answer;
mod availability;
pub mod control;
mod db;
pub mod fixtures;
mod keys;
mod log;
mod parse;
mod patience;
pub mod peers;
mod pg_server;
pub mod service;
mod setup;
mod signals;
mod tcp_proxy;
pub mod tls;
pub mod tokens;
pub mod unprivileged;
mod views;
mod world;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

pub use availability::readiness_settings;
pub use db::{Db, Kind, Raw};
pub use keys::{no_hsm, write_private};
pub use log::{Logged, keep_log, keep_text, kept_since, kept_so_far};
pub use parse::{account, fingerprint, number, numbers, request};
pub use pg_server::{PgServer, PgVersion};
pub use setup::Setup;
pub use signals::{Signal, kill_group, send_signal};
pub use tcp_proxy::TcpProxy;
pub use views::{code, outside};
pub use world::{World, clock_starts};

/// Mounts scenarios for both databases. A scenario is a function that is given whatever can be made of a [`Kind`]: a
/// [`World`], a [`Db`], or the kind itself when it has to set up more than one store.
macro_rules! both {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $scenario() { super::$scenario($crate::support::Kind::Sqlite.into()); })+
        }
        mod postgres {
            $(#[test] fn $scenario() { super::$scenario($crate::support::Kind::Postgres.into()); })+
        }
    };
}

/// Waits for an answer. The verbs need no runtime: what they wait for is the thread that writes.
pub fn wait<T>(answer: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut answer, mut context) = (pin!(answer), Context::from_waker(&waker));
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Does `work` on so many threads at once, which start together; the answers are in the order of the numbers given.
pub fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(threads);
    thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|n| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(n)
                })
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .collect()
    })
}
