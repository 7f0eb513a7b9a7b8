//! The HTTP request that a task handles: its request id, and the trace id that the caller has sent.
//! They are added to every log line of the task, so they need not be passed from function to
//! function.

use std::future::Future;

use log::Record;
use log::kv::Key;

/// The ids of a request, for log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    pub request_id: String,
    pub trace_id: Option<String>,
}

tokio::task_local! {
    static CONTEXT: RequestContext;
}

impl RequestContext {
    /// Runs `work` with this context, which is added to its log lines.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CONTEXT.scope(self, work)
    }
}

/// The trace id of the current request, if the caller sent one.
#[must_use]
pub fn trace_id() -> Option<String> {
    CONTEXT
        .try_with(|context| context.trace_id.clone())
        .ok()
        .flatten()
}

/// Wraps `work` so that it keeps the current context when it runs on another thread.
pub fn carried<T>(work: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T + Send + 'static
where
    T: 'static,
{
    let context = CONTEXT.try_with(RequestContext::clone).ok();
    move || match context {
        Some(context) => CONTEXT.sync_scope(context, work),
        None => work(),
    }
}

/// Visits the ids to add to a log line, by name: those that the record does not have itself.
pub(super) fn visit_ids(record: &Record<'_>, mut visit: impl FnMut(&'static str, &str)) {
    let has = |name: &str| record.key_values().get(Key::from_str(name)).is_some();
    // There is no context outside of a request, or while the thread is ending.
    let _ = CONTEXT.try_with(|context| {
        if !has("request_id") {
            visit("request_id", &context.request_id);
        }
        if let Some(trace) = context.trace_id.as_deref()
            && !has("trace_id")
        {
            visit("trace_id", trace);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> RequestContext {
        RequestContext {
            request_id: "r-1".to_owned(),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
        }
    }

    #[test]
    fn a_line_has_the_ids_of_its_request() {
        let line = || {
            let record = Record::builder().args(format_args!("x")).build();
            String::from_utf8_lossy(&crate::telemetry::log_format::json("T", &record)).into_owned()
        };
        let named = ",\"request_id\":\"r-1\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}";
        assert!(!line().contains("request_id"));
        CONTEXT.sync_scope(context(), || {
            assert!(line().ends_with(named), "{}", line());
            // Also on another thread, if the work is wrapped.
            assert!(
                std::thread::spawn(carried(line))
                    .join()
                    .is_ok_and(|line| line.ends_with(named))
            );
            assert_eq!(trace_id(), context().trace_id);
        });
        assert_eq!(trace_id(), None);
    }

    #[test]
    fn a_record_with_a_request_id_gets_no_second_one() {
        let kvs: &[(&str, &str)] = &[("request_id", "r-2")];
        CONTEXT.sync_scope(context(), || {
            let record = Record::builder()
                .args(format_args!("x"))
                .key_values(&kvs)
                .build();
            let line = String::from_utf8_lossy(&crate::telemetry::log_format::json("T", &record))
                .into_owned();
            assert!(line.contains("r-2") && !line.contains("r-1"), "{line}");
        });
    }
}
