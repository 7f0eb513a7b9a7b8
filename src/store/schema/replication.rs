//! The tables of what replicas must have in common. See the comments in `migrations/postgres`.

use diesel::table;

table! {
    replicas (id) {
        id -> Text,
        name -> Text,
        version -> Text,
        secrets -> Text,
        spcs -> Text,
        previous_spcs -> Nullable<Text>,
        started_at -> BigInt,
        seen_at -> BigInt,
    }
}

table! {
    compatible_migrations (version) {
        version -> Text,
        needs -> Text,
    }
}
