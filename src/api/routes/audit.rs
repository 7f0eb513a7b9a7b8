//! `/v1/audit-events`: what was done and what was refused, by pages or as one stream of lines.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt;
use actix_web::rt::time::timeout;
use actix_web::web::{self, Bytes, Data};
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
use crate::api::http::deserialize::Id;
use crate::api::http::query::{CursorKey, PageLimit, page, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{EventFilter, Page, PageOf};
use crate::domain::AuditEvent;
use crate::domain::{AccountId, Caller};
use crate::telemetry::carried;

/// How long an export waits for a client that reads nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct EventsQuery {
    /// Those about this account.
    #[param(value_type = Option<String>, example = "acme")]
    account: Option<AccountId>,
    /// Those about this account, row, grant, job or key.
    subject: Option<String>,
    /// Those of this caller: the id of an API key or of another proof, `command` or `service`.
    caller: Option<String>,
    /// Those of this verb.
    #[param(example = "issue")]
    action: Option<String>,
    /// done, or the code of a refusal
    #[param(example = "not-authorized")]
    outcome: Option<String>,
    /// Those of this request: its `X-Request-Id`.
    #[param(value_type = Option<String>, format = Uuid)]
    request_id: Option<Id>,
    /// Those from this instant on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Instant>,
    /// Those before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which events are exported: all that pass.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ExportQuery {
    /// Those about this account.
    #[param(value_type = Option<String>, example = "acme")]
    account: Option<AccountId>,
    /// Those from this instant on.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Instant>,
    /// Those before this instant; until now, if it is not said.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Instant>,
}

/// One event of the trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub(in crate::api) struct EventView {
    id: Uuid,
    at: Instant,
    /// Who: the id of an API key or of another proof, `command` or `service`. Null if it is not one of the reseller who
    /// asks.
    #[schema(example = "5f2b1c2e7a7e4a0e")]
    caller: Option<String>,
    /// The verb.
    #[schema(example = "issue")]
    action: String,
    /// What it was done to: an account, a row, a grant, a job, a key.
    #[schema(example = "acme")]
    subject: String,
    /// The account that it is about; null if it is about none or several, or about one that is not the caller's.
    #[schema(example = "acme")]
    account: Option<String>,
    /// done, or the code of the refusal
    #[schema(example = "done")]
    outcome: String,
    /// More about it. A request that was a part of a trace has its `trace_id` here.
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

/// An event as one line of JSON, with its end: as it stands in a list.
#[must_use]
pub fn line(event: AuditEvent) -> String {
    // A view is made of texts, which always can be written.
    let mut line = serde_json::to_string(&EventView::from(event)).unwrap_or_default();
    line.push('\n');
    line
}

/// List audit events, the oldest first. Events of the last seconds may still come in between: whoever follows the trail
/// reads up to a minute ago.
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
    let found = web::block(read).await??;
    Ok(HttpResponse::Ok().json(PageView::of(found, EventView::from)))
}

/// Export audit events as JSON lines, the oldest first. An answer that breaks off is not whole.
#[utoipa::path(get, path = "/v1/audit-events/export", tag = "ledger", security(("bearer" = [])), params(ExportQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = EventView,
        description = "One event a line, each as in the list")))]
pub(in crate::api) async fn export_audit_events(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query: ExportQuery = query(&request)?;
    // It ends, also while new events come in.
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
    // Whoever may not read is told so, and not by a stream that breaks off.
    let first = export.page(None).await?;
    let (sender, receiver) = channel(1);
    rt::spawn(export.send(first, sender));
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(Lines {
            pages: receiver,
            whole: false,
        }))
}

/// An export that goes on, page by page, as fast as its client reads.
struct Export {
    service: Data<Service>,
    caller: Caller,
    filter: EventFilter,
}

impl Export {
    async fn page(&self, after: Option<String>) -> Result<PageOf<AuditEvent>, Problem> {
        let (service, caller) = (self.service.clone(), self.caller.clone());
        let (filter, page) = (self.filter.clone(), Page::new(Page::MAX_LIMIT, after));
        let read = carried(move || service.authority.audit_events(&caller, filter, &page));
        Ok(web::block(read).await??)
    }

    /// Ends early, without the mark of the end, when the client has gone or reads nothing, or the store fails.
    async fn send(self, mut page: PageOf<AuditEvent>, pages: Sender<Piece>) {
        loop {
            let lines: String = page.items.into_iter().map(line).collect();
            let sent = timeout(PATIENCE, pages.send(Piece::Lines(lines.into()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
            let Some(next) = page.next else {
                let _ = timeout(PATIENCE, pages.send(Piece::End)).await;
                return;
            };
            page = match self.page(Some(next)).await {
                Ok(page) => page,
                Err(problem) => return log::warn!("an export of the trail broke off: {problem}"),
            };
        }
    }
}

/// What is sent of an export.
enum Piece {
    Lines(Bytes),
    End,
}

/// The body of an export. If it is not whole it fails, so that the connection is cut.
struct Lines {
    pages: Receiver<Piece>,
    whole: bool,
}

impl Stream for Lines {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.whole {
            return Poll::Ready(None);
        }
        self.pages.poll_recv(context).map(|piece| match piece {
            Some(Piece::Lines(lines)) => Some(Ok(lines)),
            Some(Piece::End) => {
                self.whole = true;
                None
            }
            None => Some(Err(std::io::Error::other("the export broke off"))),
        })
    }
}
