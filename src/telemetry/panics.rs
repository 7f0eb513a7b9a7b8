//! Logs panics: a panic is a fault of the service, and appears as one log line like any other.

use std::panic::PanicHookInfo;

/// Installs a panic hook that logs the location and the message.
pub(super) fn install_hook() {
    std::panic::set_hook(Box::new(|panic| {
        log::error!(target: "panic", place = place(panic).as_str(); "panicked: {}", message(panic));
    }));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic
        .location()
        .map_or_else(String::new, ToString::to_string)
}

fn message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message")
}
