//! Signals, for commands that keep running.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use actix_web::rt;
use actix_web::rt::signal::unix::{SignalKind, signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals of the service: SIGTERM and SIGINT stop it, SIGHUP makes it read its files again.
/// They are noted from the first moment on, so that none ends the process, or is lost between two
/// steps of a start.
#[derive(Debug, Clone)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
}

impl Signals {
    /// Takes note of these signals from now on.
    pub fn watch() -> io::Result<Self> {
        let (stop, hangup) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        for (signal, noted) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &hangup)] {
            flag::register(signal, Arc::clone(noted))?;
        }
        Ok(Self { stop, hangup })
    }

    #[must_use]
    pub fn is_stop_requested(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Runs `then` when the service has to stop, or at once if that was requested before. Must be
    /// called inside [`block_on`](super::block_on).
    pub fn when_stopped(&self, then: impl Future<Output = ()> + 'static) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let has_arrived = self.is_stop_requested();
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

    /// Runs `work` at each SIGHUP until it returns `false`, and at once if one has arrived before.
    /// Must be called inside [`block_on`](super::block_on).
    pub(super) fn at_hangups(&self, mut work: impl FnMut() -> bool + 'static) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let has_arrived = self.hangup.load(Ordering::SeqCst);
        rt::spawn(async move {
            let mut goes_on = !has_arrived || work();
            while goes_on && hangups.recv().await.is_some() {
                goes_on = work();
            }
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
