//! The exchange that a task works on: its request id, and the trace that the caller says it is a part of. They stand in
//! every log line of the task, without being handed from call to call.

use std::future::Future;

use log::Record;
use log::kv::Key;
use serde_json::Value;

/// What names an exchange in log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    pub request_id: String,
    pub trace_id: Option<String>,
}

tokio::task_local! {
    static EXCHANGE: RequestContext;
}

impl RequestContext {
    /// Does work of this exchange: its log lines name it.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        EXCHANGE.scope(self, work)
    }
}

/// The trace of the exchange that goes on now, if the caller named one.
#[must_use]
pub fn trace_id() -> Option<String> {
    EXCHANGE
        .try_with(|exchange| exchange.trace_id.clone())
        .ok()
        .flatten()
}

/// Does work on a thread of its own, which is still part of the exchange that goes on now.
pub fn carried<T>(work: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T + Send + 'static
where
    T: 'static,
{
    let exchange = EXCHANGE.try_with(RequestContext::clone).ok();
    move || match exchange {
        Some(exchange) => EXCHANGE.sync_scope(exchange, work),
        None => work(),
    }
}

/// What a log line says of its exchange, beside what the record says itself.
pub(super) fn pairs(record: &Record<'_>) -> Vec<(String, Value)> {
    let says = |name: &str| record.key_values().get(Key::from_str(name)).is_some();
    let mut pairs = Vec::new();
    // Not there outside of an exchange, and while the thread ends.
    let _ = EXCHANGE.try_with(|exchange| {
        if !says("request_id") {
            let id = exchange.request_id.as_str();
            pairs.push(("request_id".to_owned(), id.into()));
        }
        if let Some(trace) = exchange.trace_id.as_deref() {
            pairs.push(("trace_id".to_owned(), trace.into()));
        }
    });
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> RequestContext {
        RequestContext {
            request_id: "r-1".to_owned(),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
        }
    }

    #[test]
    fn a_line_names_the_exchange_that_it_belongs_to() {
        let line = || {
            let record = Record::builder().args(format_args!("x")).build();
            crate::telemetry::log_format::json("T", &record)
        };
        let named = ",\"request_id\":\"r-1\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}";
        assert!(!line().contains("request_id"));
        EXCHANGE.sync_scope(exchange(), || {
            assert!(line().ends_with(named), "{}", line());
            // On another thread too, if it is carried there.
            assert!(
                std::thread::spawn(carried(line))
                    .join()
                    .is_ok_and(|line| line.ends_with(named))
            );
            assert_eq!(trace_id(), exchange().trace_id);
        });
        assert_eq!(trace_id(), None);
    }

    #[test]
    fn a_record_that_names_its_request_is_not_told_twice() {
        let kvs: &[(&str, &str)] = &[("request_id", "r-2")];
        EXCHANGE.sync_scope(exchange(), || {
            let record = Record::builder()
                .args(format_args!("x"))
                .key_values(&kvs)
                .build();
            let line = crate::telemetry::log_format::json("T", &record);
            assert!(line.contains("r-2") && !line.contains("r-1"), "{line}");
        });
    }
}
