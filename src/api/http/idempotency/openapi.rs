//! `Idempotency-Key` in the OpenAPI document: on each call that makes or changes something and is no PUT.

use utoipa::Modify;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Required, ResponseBuilder, Type};

/// POST, and only reads.
const READS: [&str; 1] = ["explain"];

const KEY: &str = "Makes the request repeatable: one that came before with the same key is not done again, and its answer \
                   is repeated byte for byte, with `Idempotency-Replayed: true`. 1 to 255 visible ASCII characters, bare \
                   or in double quotes; a UUID is best. Keys of two tenants never meet. What was decided is kept, for a \
                   day unless configured otherwise; malformed requests, 401, the uniform 403, 413, 415, 429 and failures \
                   are not, and can be sent again with the same key.";
const IN_FLIGHT: &str = "the first request with this Idempotency-Key is still at work (come again after `Retry-After` \
                         seconds), or its grant has ended";

/// Documents the header where it is looked at.
pub(in crate::api) struct Keys;

impl Modify for Keys {
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
            "The Idempotency-Key came with another request before".to_owned(),
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
