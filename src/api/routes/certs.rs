//! `GET /certs/{sha256}.pem`: the certificate chains that `x5u` refers to (RFC 7515 §4.1.5), served
//! from memory.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::api::Service;
use crate::api::http::body::BinaryBody;
use crate::api::http::database_wait::blocking;
use crate::api::http::query::name;
use crate::api::problem::Problem;
use crate::api::waiting::{WAITING, WaitingState};
use crate::authority::Published;

/// Show the certificate chain of a signing key, leaf first.
///
/// With `Accept: application/pkix-cert`, the response is the signing certificate alone.
#[utoipa::path(get, path = "/certs/{sha256}.pem", tag = "for everybody",
    params(("sha256" = String, Path, description = "SHA-256 of the file, in lower-case hex")),
    responses(
        (status = 200, description = "The chain or certificate. The content of a path never changes, and can be cached for five minutes", content(
            (String = "application/pem-certificate-chain"),
            (inline(BinaryBody) = "application/pkix-cert"),
        )),
        (status = 410, description = "The key of the chain is distrusted: refuse its tokens"),
        (status = 503, description = "Whether there is such a chain is not known now: retry later"),
    ))]
pub(in crate::api) async fn get_chain(
    service: Data<Service>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let name = name(&request)?;
    let chain = match service.authority.published_chain(&name) {
        // Another replica can have published it since this one last read the table.
        None if is_hash(&name) => {
            let (authority, name) = (service.authority.clone(), name.clone());
            blocking(move || authority.chain_published_elsewhere(&name)).await??
        }
        known => known,
    };
    let Some(chain) = chain else {
        return Err(if service.authority.is_distrusted_chain(&name) {
            Problem::gone_chain()
        } else {
            Problem::not_found("certificate chain")
        });
    };
    Ok(chain_response(&request, chain, service.facade.is_some()))
}

/// As [`get_chain`], while the service waits for the database: the chains that this replica has.
pub(in crate::api) async fn get_found_chain(
    waiting: Data<WaitingState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let name = name(&request)?;
    match waiting.signers.published_chain(&name) {
        Some(chain) => Ok(chain_response(&request, chain, waiting.has_facade)),
        // Another replica can have published it.
        None if is_hash(&name) => Err(Problem::unavailable(&WAITING)),
        None => Err(Problem::not_found("certificate chain")),
    }
}

fn chain_response(request: &HttpRequest, chain: Published, has_facade: bool) -> HttpResponse {
    // Clients of the facade accept `application/pkix-cert` but can only read PEM, which is what
    // RFC 7515 §4.1.5 requires of `x5u`.
    let (media_type, body) = if wants_one(request) && !has_facade {
        (PKIX_CERT, chain.leaf_der)
    } else {
        (PEM_CHAIN, chain.pem)
    };
    HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((header::CACHE_CONTROL, CACHE))
        .insert_header((header::VARY, "Accept"))
        .body(body.to_vec())
}

pub(super) fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The content of a path never changes, but it ends when the key is distrusted, and caches have to
/// notice that.
const CACHE: &str = "public, max-age=300, immutable";
/// RFC 8555 §9.1: certificates in PEM.
const PEM_CHAIN: &str = "application/pem-certificate-chain";
/// RFC 2585 §4: one certificate in DER.
const PKIX_CERT: &str = "application/pkix-cert";

/// Whether the client prefers one certificate to the chain (RFC 9110 §12.5.1). The default is the
/// chain, since that is what `x5u` refers to.
fn wants_one(request: &HttpRequest) -> bool {
    let fields = request.headers().get_all(header::ACCEPT);
    let fields: Vec<&str> = fields.filter_map(|field| field.to_str().ok()).collect();
    let (mut one, mut chain) = (0.0, None);
    for range in fields.iter().flat_map(|field| field.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let quality: f32 = quality.map_or(1.0, |text| text.parse().unwrap_or(0.0));
        match kind.as_str() {
            PKIX_CERT => one = quality,
            PEM_CHAIN => chain = Some(quality),
            "*/*" | "application/*" if chain.is_none() => chain = Some(quality),
            _ => {}
        }
    }
    one > 0.0 && one > chain.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_chain_is_given_unless_one_certificate_is_preferred() {
        for (accept, one) in [
            ("", false),
            ("*/*", false),
            ("application/pem-certificate-chain", false),
            ("text/html", false),
            ("application/pkix-cert", true),
            ("Application/PKIX-Cert; q=0.5", true),
            ("application/pkix-cert, */*;q=0.1", true),
            (
                "application/pkix-cert, application/pem-certificate-chain",
                false,
            ),
            (
                "application/pkix-cert, application/pem-certificate-chain;q=0.9",
                true,
            ),
            ("application/pkix-cert;q=0", false),
            ("application/pkix-cert;q=x", false),
        ] {
            let request = TestRequest::default().insert_header((header::ACCEPT, accept));
            assert_eq!(wants_one(&request.to_http_request()), one, "{accept}");
        }
    }
}
