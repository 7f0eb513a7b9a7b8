//! Signals, for commands that keep running.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use actix_web::rt;
use actix_web::rt::signal::unix::{SignalKind, signal};

/// Reports SIGTERM and SIGINT on a channel. They no longer end the process.
pub fn on_termination() -> io::Result<Receiver<()>> {
    let (sender, receiver) = channel();
    let (ready, started) = channel();
    let listen = async move {
        let listening = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        let (mut terminate, mut interrupt) = match listening {
            Ok(both) => both,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || rt::System::new().block_on(listen))?;
    let thread_ended = || io::Error::other("the thread that listens for signals has ended");
    started.recv().map_err(|_| thread_ended())??;
    Ok(receiver)
}

/// Runs `then` on SIGHUP, which a process gets when its terminal is closed. Must be called inside
/// [`block_on`](super::block_on).
pub fn on_hangup(then: impl Future<Output = ()> + 'static) -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    rt::spawn(async move {
        hangups.recv().await;
        then.await;
    });
    Ok(())
}

/// Runs `then` on SIGTERM or SIGINT, besides what else they do. Must be called inside
/// [`block_on`](super::block_on).
pub fn at_termination(then: impl Future<Output = ()> + 'static) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    rt::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        then.await;
    });
    Ok(())
}
