//! `/v1/signers`: the certificate chains, where each stands, and what is refused.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::views::PageView;
use crate::api::Service;
use crate::api::http::authentication::{Provisioner, Reader};
use crate::api::http::body::Body;
use crate::api::http::idempotency::{self, ClaimKey};
use crate::api::http::query::{CursorKey, PageQuery, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{Listed, ListedChain, PageOf, RefusedFile, ScanMode};
use crate::domain::signing::certificate::Certificate;

/// A certificate chain of a signing key, or a file that cannot be one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Signer)]
#[serde(untagged)]
pub(in crate::api) enum SignerView {
    Chain(Box<ChainView>),
    Refused(RefusedView),
}

/// A chain that the replicas have agreed on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningChain)]
pub(in crate::api) struct ChainView {
    /// published, active, retiring or retired
    #[schema(value_type = String, example = "active")]
    state: &'static str,
    /// SHA-256 of what is published, in hex.
    chain: String,
    #[schema(format = "uri")]
    x5u: String,
    /// The codes that it may sign for.
    spcs: Vec<String>,
    /// Of the signing certificate.
    subject: Option<String>,
    serial: Option<String>,
    not_before: Instant,
    /// The last second at which the whole chain is valid; no token lives longer.
    not_after: Instant,
    /// Where this replica has the key: file or pkcs11; null if it has none.
    #[schema(example = "file")]
    key: Option<&'static str>,
    published_at: Instant,
    /// From when on it signs, unless a later one does.
    active_from: Instant,
    /// From when on it is not published any more.
    retired_at: Option<Instant>,
}

/// A file of this replica that is refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedSigner)]
pub(in crate::api) struct RefusedView {
    /// refused
    #[schema(value_type = String, example = "refused")]
    state: &'static str,
    /// Its path, or the URI of a key.
    file: String,
    reason: String,
    /// The chain in it, if that much could be read.
    chain: Option<String>,
}

impl From<Listed> for SignerView {
    fn from(listed: Listed) -> Self {
        match listed {
            Listed::Chain(chain) => Self::Chain(Box::new((*chain).into())),
            Listed::Refused(file) => Self::Refused(file.into()),
        }
    }
}

impl From<ListedChain> for ChainView {
    fn from(listed: ListedChain) -> Self {
        let (chain, certificate) = (listed.chain, listed.certificate);
        Self {
            state: listed.state.as_str(),
            x5u: listed.x5u,
            spcs: chain.spcs.iter().map(ToString::to_string).collect(),
            subject: certificate.as_ref().map(Certificate::subject),
            serial: certificate.as_ref().map(Certificate::serial),
            not_before: chain.not_before.into(),
            not_after: chain.not_after.into(),
            key: listed.key,
            published_at: chain.published_at.into(),
            active_from: chain.active_from.into(),
            retired_at: chain.retired_at.map(Instant),
            chain: chain.name,
        }
    }
}

impl From<RefusedFile> for RefusedView {
    fn from(refused: RefusedFile) -> Self {
        Self {
            state: "refused",
            file: refused.file,
            reason: refused.reason,
            chain: refused.chain,
        }
    }
}

/// List the certificate chains in the order in which they were published, and what is refused here.
#[utoipa::path(get, path = "/v1/signers", tag = "signers", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<SignerView>, description = "A page of chains and refused files")))]
pub(in crate::api) async fn list_signers(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Place)?;
    let listed = service.authority.list_signers(&caller)?;
    let numbered = listed.into_iter().enumerate().collect();
    let page = page.of_all(numbered, |(place, _)| format!("{place:08}"));
    let view = |(_, listed)| SignerView::from(listed);
    Ok(HttpResponse::Ok().json(PageView::of(page, view)))
}

/// Look at files and keys now, and take what is new into use.
#[utoipa::path(post, path = "/v1/signers/reload", tag = "signers", security(("bearer" = [])),
    request_body = Option<()>,
    responses((status = 200, body = PageView<SignerView>, description = "All chains and refused files")))]
pub(in crate::api) async fn reload_signers(
    service: Data<Service>,
    Provisioner(caller): Provisioner,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    body.read_nothing().await?;
    let (data, by) = (service.clone(), caller.clone());
    // What is answered is what this replica has in memory afterwards; done once more, it changes nothing.
    let reload = async move |_| {
        let looking = data.clone();
        let look = move || looking.authority.look_for_signers(ScanMode::Asked);
        let found = web::block(look).await??;
        let items = data.authority.reload_signers(&by, found).await?;
        let page = PageOf { items, next: None };
        Ok(HttpResponse::Ok().json(PageView::of(page, SignerView::from)))
    };
    idempotency::request(&service, &request, &caller, ClaimKey::Before, reload).await
}
