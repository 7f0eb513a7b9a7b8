//! The tables of the ledger: the grants, and what they have in common.

use diesel::table;

table! {
    grants (jti) {
        issued_at -> BigInt,
        expires_at -> BigInt,
        first_position -> Nullable<BigInt>,
        last_position -> Nullable<BigInt>,
        span -> Nullable<BigInt>,
        withdrawn_at -> Nullable<BigInt>,
        log_index -> Nullable<BigInt>,
        caller_id -> BigInt,
        terms_id -> BigInt,
        jti -> Binary,
        request_id -> Binary,
        fingerprint -> Binary,
        account_id -> Text,
        tkvalue -> Text,
        justified_by -> Text,
        withdrawal_reason -> Nullable<Text>,
        event -> Nullable<Text>,
        nonce -> Nullable<Binary>,
    }
}

table! {
    grant_numbers (jti, entry) {
        jti -> Binary,
        entry -> Integer,
        first_position -> BigInt,
        last_position -> BigInt,
        span -> BigInt,
        expires_at -> BigInt,
    }
}

table! {
    grant_terms (id) {
        id -> BigInt,
        chain -> Text,
        policies -> Text,
        policy_set -> Text,
        tktype -> Text,
        dialect -> Text,
        ca -> Bool,
        iss -> Text,
    }
}

table! {
    grant_callers (id) {
        id -> BigInt,
        caller -> Text,
        account_id -> Text,
    }
}

table! {
    ledger_bounds (id) {
        id -> Integer,
        longest_lifetime -> BigInt,
    }
}
