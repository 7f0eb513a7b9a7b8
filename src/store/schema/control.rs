//! The tables of effective control. See the comments in `migrations/postgres`.

use diesel::table;

table! {
    control_proofs (id) {
        id -> Text,
        account_id -> Text,
        position -> BigInt,
        delegation_id -> Text,
        method -> Text,
        gateway -> Text,
        fingerprint -> Nullable<Text>,
        renewal_id -> Nullable<Text>,
        code_hash -> Binary,
        tries -> Integer,
        started_at -> BigInt,
        started_by -> Text,
        request_id -> Text,
        expires_at -> BigInt,
        sent_at -> Nullable<BigInt>,
        delivered_at -> Nullable<BigInt>,
        failure -> Nullable<Text>,
        confirmed_at -> Nullable<BigInt>,
        confirmed_by -> Nullable<Text>,
        ends_at -> Nullable<BigInt>,
        end_reason -> Nullable<Text>,
        failure_sequence -> Nullable<BigInt>,
    }
}

table! {
    control_messages (proof_id) {
        proof_id -> Text,
        gateway -> Text,
        sealed -> Binary,
        attempts -> Integer,
        due_at -> BigInt,
        give_up_at -> BigInt,
        leased_by -> Nullable<Text>,
        leased_until -> Nullable<BigInt>,
        unclear_attempts -> Integer,
    }
}

table! {
    control_receipts (gateway, message_id) {
        gateway -> Text,
        message_id -> Text,
        proof_id -> Text,
        sent_at -> BigInt,
    }
}

table! {
    control_early_receipts (gateway, message_id) {
        gateway -> Text,
        message_id -> Text,
        is_delivered -> Bool,
        received_at -> BigInt,
    }
}

table! {
    control_samples (account_id, first_position, last_position) {
        account_id -> Text,
        first_position -> BigInt,
        last_position -> BigInt,
        size -> BigInt,
        positions -> Text,
        drawn_at -> BigInt,
    }
}

table! {
    account_keys (account_id, fingerprint) {
        account_id -> Text,
        fingerprint -> Binary,
        first_used_at -> BigInt,
    }
}
