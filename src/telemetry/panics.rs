//! A panic is a fault of the service, and one log line like any other.

use std::panic::PanicHookInfo;

/// From now on a panic is logged: where it happened, and what it said.
pub(super) fn log_them() {
    std::panic::set_hook(Box::new(|panic| {
        log::error!(target: "panic", place = place(panic).as_str(); "panicked: {}", said(panic));
    }));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic
        .location()
        .map_or_else(String::new, ToString::to_string)
}

fn said<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("nothing in words")
}
