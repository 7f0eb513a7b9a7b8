//! Signals, for commands that wait.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use actix_web::rt;
use actix_web::rt::signal::unix::{SignalKind, signal};

/// Says when SIGTERM or SIGINT comes, instead of ending the process.
///
/// # Errors
/// What the system says, if signals cannot be listened to.
pub fn on_termination() -> io::Result<Receiver<()>> {
    let (tell, told) = channel();
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
            if tell.send(()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || rt::System::new().block_on(listen))?;
    let gone = || io::Error::other("the thread that listens to signals is gone");
    started.recv().map_err(|_| gone())??;
    Ok(told)
}

/// Does something when SIGHUP comes: whoever was at the terminal has closed it. Must be called where
/// [`block_on`](super::block_on) runs.
///
/// # Errors
/// What the system says, if signals cannot be listened to.
pub fn on_hangup(then: impl Future<Output = ()> + 'static) -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    rt::spawn(async move {
        hangups.recv().await;
        then.await;
    });
    Ok(())
}
