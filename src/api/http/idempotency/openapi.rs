//! Adds `Idempotency-Key` to the OpenAPI document, to each POST that creates or changes something.

use utoipa::Modify;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Required, ResponseBuilder, Type};

/// POST operations that only read.
const READS: [&str; 1] = ["explain"];

const KEY: &str = "Makes it safe to retry the request: a request with a key that was used before is not carried out \
                   again, and gets the first answer byte for byte, with `Idempotency-Replayed: true`. 1 to 255 \
                   visible ASCII characters, bare or in double quotes; a UUID is best. Each tenant has its own \
                   keys. Decisions are stored, by default for a day. Malformed requests, 401, the uniform 403, \
                   413, 415, 429 and failures are not stored, and can be sent again with the same key.";
const IN_FLIGHT: &str = "the first request with this Idempotency-Key is still in progress (retry after `Retry-After` \
                         seconds), or its grant has ended";

/// Documents the header for the operations that use it.
pub(in crate::api) struct IdempotencyKeys;

impl Modify for IdempotencyKeys {
    fn modify(&self, openapi: &mut OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let changes = item.post.as_mut().filter(|operation| {
                let id = operation.operation_id.as_deref().unwrap_or_default();
                operation.security.is_some() && !READS.contains(&id)
            });
            if let Some(operation) = changes {
                add_key(operation);
            }
        }
    }
}

fn add_key(operation: &mut Operation) {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255));
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(KEY))
        .schema(Some(schema));
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(key.build()));

    let responses = &mut operation.responses.responses;
    let known = match responses.remove("409") {
        Some(RefOr::T(known)) => format!("{}; or ", known.description),
        Some(RefOr::Ref(_)) | None => String::new(),
    };
    for (status, text) in [
        ("409", format!("{known}{IN_FLIGHT}")),
        (
            "422",
            "The Idempotency-Key was used for another request before".to_owned(),
        ),
    ] {
        let response = ResponseBuilder::new().description(capitalized(&text));
        responses.insert(status.to_owned(), RefOr::T(response.build()));
    }
}

fn capitalized(text: &str) -> String {
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}
