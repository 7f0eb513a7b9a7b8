//! Signals, for commands that keep running.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use actix_web::rt;
use actix_web::rt::signal::unix::{SignalKind, signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether SIGTERM or SIGINT has arrived. From the first moment on, so that none is lost between
/// two steps of a start.
#[derive(Debug, Clone)]
pub struct Termination(Arc<AtomicBool>);

impl Termination {
    /// Takes note of these signals from now on. They no longer end the process.
    pub fn watch() -> io::Result<Self> {
        let requested = Arc::<AtomicBool>::default();
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, Arc::clone(&requested))?;
        }
        Ok(Self(requested))
    }

    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Runs `then` when a signal arrives, or at once if one has arrived. Must be called inside
    /// [`block_on`](super::block_on).
    pub fn when_requested(&self, then: impl Future<Output = ()> + 'static) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let has_arrived = self.is_requested();
        rt::spawn(async move {
            if !has_arrived {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            then.await;
        });
        Ok(())
    }
}

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
