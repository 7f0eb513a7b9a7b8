//! `/v1/audit-events`: what was done and what was refused, in pages or as one stream of JSON lines.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt;
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::TimeDelta;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::views::PageView;
use crate::api::Service;
use crate::api::http::authentication::Reader;
use crate::api::http::database_wait::blocking;
use crate::api::http::deserialize::Id;
use crate::api::http::query::{CursorKey, PageLimit, page, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{EventFilter, Page, PageOf};
use crate::domain::AuditEvent;
use crate::domain::{AccountId, Caller};
use crate::telemetry::carried;

/// Events that an export reads at once. It holds three pages: one that is being read, one that
/// waits, and one that is being sent.
const EXPORT_PAGE: u16 = 100;
/// The timeout of an export whose client does not read.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct EventsQuery {
    /// Only events about this account.
    #[param(value_type = Option<String>, example = "acme")]
    account: Option<AccountId>,
    /// Only events about this account, row, grant, job or key.
    subject: Option<String>,
    /// Only events caused by this caller: the id of an API key or of another credential, `command`
    /// or `service`.
    caller: Option<String>,
    /// Only events with this action.
    #[param(example = "issue")]
    action: Option<String>,
    /// Only events with this outcome: done, or the code of a refusal.
    #[param(example = "not-authorized")]
    outcome: Option<String>,
    /// Only events of the request with this `X-Request-Id`.
    #[param(value_type = Option<String>, format = Uuid)]
    request_id: Option<Id>,
    /// Only events at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Instant>,
    /// Only events before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
    /// The maximum number of items on the page.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Which events to export. All that match are exported, without a limit.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ExportQuery {
    /// Only events about this account.
    #[param(value_type = Option<String>, example = "acme")]
    account: Option<AccountId>,
    /// Only events at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Instant>,
    /// Only events before this instant; if left out, up to now.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
}

/// One event of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub(in crate::api) struct EventView {
    id: Uuid,
    at: Instant,
    /// The caller: the id of an API key or of another credential, `command` or `service`. Shown to
    /// a reseller only if the caller is its own; otherwise null.
    #[schema(example = "5f2b1c2e7a7e4a0e")]
    caller: Option<String>,
    /// What was done or refused.
    #[schema(example = "issue")]
    action: String,
    /// The id of what it was done to: an account, a row, a grant, a job or a key.
    #[schema(example = "acme")]
    subject: String,
    /// The account concerned; null if there is none or more than one, or if the caller has no
    /// access to it.
    #[schema(example = "acme")]
    account: Option<String>,
    /// done, or the code of the refusal
    #[schema(example = "done")]
    outcome: String,
    /// More details, which depend on the action. Includes the `trace_id` if the request was part of
    /// a trace.
    #[schema(value_type = Object)]
    detail: Value,
    /// The `X-Request-Id` of the request.
    request_id: Uuid,
}

impl From<AuditEvent> for EventView {
    fn from(event: AuditEvent) -> Self {
        Self {
            id: event.id,
            at: event.at.into(),
            caller: Some(event.caller).filter(|caller| !caller.is_empty()),
            action: event.action,
            subject: event.subject,
            account: event.account.map(|account| account.to_string()),
            outcome: event.outcome,
            detail: event.detail,
            request_id: event.request_id,
        }
    }
}

/// An event as one line of JSON, newline included, with the same members as in a list.
#[must_use]
pub fn line(event: AuditEvent) -> String {
    // Serialization cannot fail: every member of the view is a string, an id, a time or JSON.
    let mut line = serde_json::to_string(&EventView::from(event)).unwrap_or_default();
    line.push('\n');
    line
}

/// List audit events, oldest first.
///
/// Events of the last few seconds can still be inserted out of order. A client that follows the
/// trail should therefore only read events that are at least a minute old.
#[utoipa::path(get, path = "/v1/audit-events", tag = "ledger", security(("bearer" = [])), params(EventsQuery),
    responses((status = 200, body = PageView<EventView>, description = "A page of events")))]
pub(in crate::api) async fn list_audit_events(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query: EventsQuery = query(&request)?;
    let page = page(query.limit, query.cursor, CursorKey::Uuid)?;
    let filter = EventFilter {
        account: query.account,
        subject: query.subject,
        caller: query.caller,
        action: query.action,
        outcome: query.outcome,
        request_id: query.request_id.map(|id| id.0),
        from: query.from.map(|from| from.0),
        until: query.until.map(|until| until.0),
        within: None,
    };
    let read = carried(move || service.authority.audit_events(&caller, filter, &page));
    let found = blocking(read).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, EventView::from)))
}

/// Export audit events as JSON lines, oldest first.
///
/// A response that is cut off by a connection error is incomplete: the export failed midway.
#[utoipa::path(get, path = "/v1/audit-events/export", tag = "ledger", security(("bearer" = [])), params(ExportQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String,
        description = "One event per line, each an `AuditEvent`, as in the list")))]
pub(in crate::api) async fn export_audit_events(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query: ExportQuery = query(&request)?;
    // Without an upper bound the export would not end while new events arrive. One second later
    // than now, since `until` is exclusive and the events of this second belong to the export.
    let soon = service.authority.now() + TimeDelta::seconds(1);
    let filter = EventFilter {
        account: query.account,
        from: query.from.map(|from| from.0),
        until: Some(query.until.map_or(soon, |until| until.0)),
        ..EventFilter::default()
    };
    let export = Export {
        service,
        caller,
        filter,
    };
    // Read the first page before the stream starts, so that a refusal is a problem document and not
    // an aborted stream.
    let first = export.page(None).await?;
    // At most one page waits for the client, so a slow client does not fill the memory.
    let (sender, receiver) = channel(1);
    rt::spawn(export.send(first, sender));
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(Lines {
            pieces: receiver,
            is_complete: false,
        }))
}

/// An export in progress: reads the next page when the client has read the previous one.
struct Export {
    service: Data<Service>,
    caller: Caller,
    filter: EventFilter,
}

impl Export {
    async fn page(&self, after: Option<String>) -> Result<PageOf<AuditEvent>, Problem> {
        let (service, caller) = (self.service.clone(), self.caller.clone());
        let (filter, page) = (self.filter.clone(), Page::new(EXPORT_PAGE, after));
        let read = carried(move || service.authority.audit_events(&caller, filter, &page));
        Ok(blocking(read).await??)
    }

    /// Sends all pages, then [`Piece::End`]. Stops without it if the client disconnects or does not
    /// read, or the store fails.
    async fn send(self, mut page: PageOf<AuditEvent>, pieces: Sender<Piece>) {
        loop {
            let lines: String = page.items.into_iter().map(line).collect();
            let sent = timeout(CLIENT_TIMEOUT, pieces.send(Piece::Lines(lines.into()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
            let Some(next) = page.next else {
                let _ = timeout(CLIENT_TIMEOUT, pieces.send(Piece::End)).await;
                return;
            };
            page = match self.page(Some(next)).await {
                Ok(page) => page,
                Err(problem) => {
                    return log::warn!("an export of the audit trail was aborted: {problem}");
                }
            };
        }
    }
}

/// One message from the task that reads the trail to the response body.
enum Piece {
    Lines(Bytes),
    End,
}

/// The response body of an export. An incomplete one ends in an error, which closes the connection.
struct Lines {
    pieces: Receiver<Piece>,
    is_complete: bool,
}

impl Stream for Lines {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_complete {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Piece::Lines(lines)) => Some(Ok(lines)),
            Some(Piece::End) => {
                self.is_complete = true;
                None
            }
            // The sender was dropped without `Piece::End`.
            None => Some(Err(std::io::Error::other("the export was aborted"))),
        })
    }
}
