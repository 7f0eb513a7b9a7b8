//! `/v1/signers`: the certificate chains of the signing keys, their states, and files that are
//! refused.

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

/// The certificate chain of a signing key, or a file that was refused as one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Signer)]
#[serde(untagged)]
pub(in crate::api) enum SignerView {
    Chain(Box<ChainView>),
    Refused(RefusedView),
}

/// A certificate chain that the replicas have agreed on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SigningChain)]
pub(in crate::api) struct ChainView {
    /// published, active, retiring or retired
    #[schema(value_type = String, example = "active")]
    state: &'static str,
    /// The SHA-256 of the published chain, in hex.
    chain: String,
    /// The URL of the chain, which tokens contain.
    #[schema(format = "uri")]
    x5u: String,
    /// The service provider codes for which it can sign.
    spcs: Vec<String>,
    /// The subject of the signing certificate.
    subject: Option<String>,
    /// The serial number of the signing certificate.
    serial: Option<String>,
    not_before: Instant,
    /// The last second at which the whole chain is valid. No token that it signs expires later.
    not_after: Instant,
    /// Where this replica has the private key: file or pkcs11; null if it does not have it.
    #[schema(example = "file")]
    key: Option<&'static str>,
    published_at: Instant,
    /// When it starts to sign, unless a newer chain does.
    active_from: Instant,
    /// When it stops or stopped being published; null if that is not scheduled.
    retired_at: Option<Instant>,
}

/// A file of this replica that was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedSigner)]
pub(in crate::api) struct RefusedView {
    /// Always refused
    #[schema(value_type = String, example = "refused")]
    state: &'static str,
    /// The path of the file, or the URI of a PKCS #11 key.
    file: String,
    reason: String,
    /// The SHA-256 of the chain in the file; null if it could not be read.
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

/// List certificate chains, in the order of their publication, and the files that this replica
/// refused.
#[utoipa::path(get, path = "/v1/signers", tag = "signers", security(("bearer" = [])), params(PageQuery),
    responses((status = 200, body = PageView<SignerView>, description = "A page of chains and refused files")))]
pub(in crate::api) async fn list_signers(
    service: Data<Service>,
    Reader(caller): Reader,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = query::<PageQuery>(&request)?.page(CursorKey::Place)?;
    let listed = service.authority.list_signers(&caller)?;
    // The list is in memory and has no ids; the index is the cursor, zero-padded to sort as text.
    let numbered = listed.into_iter().enumerate().collect();
    let page = page.of_all(numbered, |(index, _)| format!("{index:08}"));
    let view = |(_, listed)| SignerView::from(listed);
    Ok(HttpResponse::Ok().json(PageView::of(page, view)))
}

/// Scan files and keys immediately, and publish new chains.
///
/// Without this call, they are scanned periodically.
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
    // The answer describes the memory of this replica, so it cannot be stored in one transaction
    // with the change. A repeated scan changes nothing.
    let reload = async move |_| {
        // `Asked`: the operator has finished writing the files, so they are not compared over two
        // scans.
        let scanner = data.clone();
        let scan = move || scanner.authority.look_for_signers(ScanMode::Asked);
        let found = web::block(scan).await??;
        let items = data.authority.reload_signers(&by, found).await?;
        let page = PageOf { items, next: None };
        Ok(HttpResponse::Ok().json(PageView::of(page, SignerView::from)))
    };
    idempotency::request(&service, &request, &caller, ClaimKey::Before, reload).await
}
