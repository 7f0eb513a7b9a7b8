//! `/v1/signers`: the certificate chains of the signing keys, their states, and files that are
//! refused.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::certs::is_hash;
use super::views::{AffectedView, PageView};
use crate::api::Service;
use crate::api::http::authentication::{Admin, Provisioner, Reader};
use crate::api::http::body::{Body, wrong};
use crate::api::http::deserialize;
use crate::api::http::idempotency::{self, ClaimKey, change};
use crate::api::http::query::{CursorKey, PageQuery, name, query};
use crate::api::http::time::Instant;
use crate::api::problem::Problem;
use crate::authority::{
    ChangeRequester, DistrustedKey, Listed, ListedChain, PageOf, RefusedFile, ScanMode,
};
use crate::domain::signing::certificate::Certificate;
use crate::domain::signing::distrust::Distrust;

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
    /// published, active, retiring, retired or distrusted
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
    /// Since when and why its key is distrusted; null if it is trusted.
    distrusted: Option<DistrustView>,
}

/// That the key of a chain is distrusted, permanently.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Distrust)]
pub(in crate::api) struct DistrustView {
    /// The id in the `cause` of withdrawals.
    id: Uuid,
    at: Instant,
    #[schema(example = "the key was stolen")]
    reason: String,
    /// The id of the API key, or other credential, that distrusted it.
    by: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), in hex. No certificate for it can sign.
    public_key: String,
    /// SHA-256 of the signing certificate, in hex.
    certificate: String,
}

/// A chain that is distrusted, and all others of the same key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DistrustedKey)]
pub(in crate::api) struct DistrustedKeyView {
    /// The chain that the request names.
    chain: String,
    distrusted: DistrustView,
    /// All chains of the key, which are distrusted with it.
    chains: Vec<String>,
}

/// Why a signing key is distrusted.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DistrustReason)]
pub(in crate::api) struct DistrustBody {
    /// For the carrier's staff; accounts do not see it.
    #[schema(value_type = String, required = true, example = "the key was stolen")]
    #[serde(default, deserialize_with = "deserialize::text")]
    reason: Option<String>,
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
            distrusted: chain.distrust.map(DistrustView::from),
            chain: chain.name,
        }
    }
}

impl From<Distrust> for DistrustView {
    fn from(distrust: Distrust) -> Self {
        Self {
            id: distrust.id,
            at: distrust.at.into(),
            reason: distrust.reason,
            by: distrust.by,
            public_key: distrust.public_key,
            certificate: distrust.certificate,
        }
    }
}

impl From<DistrustedKey> for DistrustedKeyView {
    fn from(key: DistrustedKey) -> Self {
        Self {
            chain: key.distrust.chain.clone(),
            distrusted: key.distrust.into(),
            chains: key.chains,
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

/// Distrust the key of a certificate chain permanently, because others may have it.
///
/// From the answer on, no replica signs with the key, whatever certificate it has, and all its
/// grants are withdrawn. Its chains are no longer published. This cannot be undone: sign with a new
/// key. Repeating the call changes nothing.
#[utoipa::path(post, path = "/v1/signers/{chain}/distrust", tag = "signers", security(("bearer" = [])),
    params(("chain" = String, Path, description = "The SHA-256 of the chain, as in `GET /v1/signers`")),
    request_body = DistrustBody,
    responses((status = 200, body = AffectedView<DistrustedKeyView>, description = "The key is distrusted")))]
pub(in crate::api) async fn distrust_signer(
    service: Data<Service>,
    Admin(caller): Admin,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let chain = Some(name(&request)?).filter(|name| is_hash(name));
    let chain = chain.ok_or_else(|| Problem::not_found("certificate chain"))?;
    let DistrustBody { reason } = body.read().await?;
    let reason = reason.filter(|reason| !reason.is_empty());
    let reason = reason.ok_or_else(|| wrong("reason", "must say why the key is distrusted"))?;
    let now = service.authority.now();
    let view = move |key| HttpResponse::Ok().json(AffectedView::<DistrustedKeyView>::at(now, key));
    let verb = async |by: ChangeRequester<'_, _>| {
        service.authority.distrust_chain(by, chain, reason).await
    };
    change(&service, &request, &caller, view, verb).await
}
