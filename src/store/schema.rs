//! The tables, which are the same in both databases. `migrations/` creates them and documents each
//! column; a test compares this file with both.

mod control;
mod ledger;
mod replication;

use diesel::table;

pub use control::{
    account_keys, control_early_receipts, control_messages, control_proofs, control_receipts,
    control_samples,
};
pub use ledger::{grant_callers, grant_numbers, grant_terms, grants, ledger_bounds};
pub use replication::replicas;

table! {
    accounts (id) {
        id -> Text,
        name -> Text,
        parent_id -> Nullable<Text>,
        path -> Text,
        created_at -> BigInt,
    }
}

table! {
    suspensions (id) {
        id -> Text,
        account_id -> Text,
        suspended_by -> Nullable<Text>,
        suspended_at -> BigInt,
        resumed_at -> Nullable<BigInt>,
    }
}

table! {
    api_keys (id) {
        id -> Text,
        secret_hash -> Binary,
        role -> Text,
        account_id -> Nullable<Text>,
        label -> Text,
        created_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        allow_from -> Text,
        secret_version -> Integer,
        rotated_at -> Nullable<BigInt>,
        previous_hash -> Nullable<Binary>,
        previous_until -> Nullable<BigInt>,
        hashed_by -> Nullable<Text>,
        previous_hashed_by -> Nullable<Text>,
    }
}

table! {
    api_key_uses (api_key_id) {
        api_key_id -> Text,
        last_used_at -> BigInt,
    }
}

table! {
    api_key_accounts (api_key_id, account_id) {
        api_key_id -> Text,
        account_id -> Text,
    }
}

table! {
    allocations (id, version) {
        id -> Text,
        version -> Integer,
        spc -> Text,
        first_position -> BigInt,
        last_position -> BigInt,
        span -> BigInt,
        basis -> Text,
        valid_from -> BigInt,
        valid_until -> Nullable<BigInt>,
        recorded_at -> BigInt,
        superseded_at -> Nullable<BigInt>,
    }
}

table! {
    delegations (id, version) {
        id -> Text,
        version -> Integer,
        account_id -> Text,
        parent_id -> Nullable<Text>,
        lender_id -> Nullable<Text>,
        first_position -> BigInt,
        last_position -> BigInt,
        span -> BigInt,
        ca -> Bool,
        lend_on -> Bool,
        lender_keeps -> Bool,
        reference -> Nullable<Text>,
        valid_from -> BigInt,
        valid_until -> Nullable<BigInt>,
        recorded_at -> BigInt,
        superseded_at -> Nullable<BigInt>,
        sequence -> BigInt,
        made_at -> BigInt,
    }
}

table! {
    departures (id) {
        id -> Text,
        kind -> Text,
        cause_id -> Text,
        first_position -> BigInt,
        last_position -> BigInt,
        span -> BigInt,
        valid_from -> BigInt,
        valid_until -> Nullable<BigInt>,
        sequence -> BigInt,
        recorded_at -> BigInt,
        superseded_at -> Nullable<BigInt>,
    }
}

table! {
    row_changes (cause_id, row_id) {
        cause_id -> Text,
        row_id -> Text,
        kind -> Text,
        version_before -> Nullable<Integer>,
        version_after -> Nullable<Integer>,
    }
}

table! {
    change_counter (id) {
        id -> Integer,
        last -> BigInt,
    }
}

table! {
    exclusions (id, version) {
        id -> Text,
        version -> Integer,
        first_position -> BigInt,
        last_position -> BigInt,
        span -> BigInt,
        reason -> Text,
        valid_from -> BigInt,
        valid_until -> Nullable<BigInt>,
        recorded_at -> BigInt,
        superseded_at -> Nullable<BigInt>,
    }
}

table! {
    audit_events (id) {
        id -> Text,
        at -> BigInt,
        caller -> Text,
        action -> Text,
        subject -> Text,
        outcome -> Text,
        detail -> Text,
        request_id -> Text,
        account_id -> Nullable<Text>,
        caller_account_id -> Nullable<Text>,
    }
}

table! {
    jobs (id) {
        id -> Text,
        state -> Text,
        format -> Text,
        ocns -> Text,
        spc -> Nullable<Text>,
        dry_run -> Bool,
        confirm -> Bool,
        caller -> Text,
        request_id -> Text,
        runner -> Text,
        bytes_total -> BigInt,
        bytes_read -> BigInt,
        lines_read -> BigInt,
        result -> Nullable<Text>,
        failure_code -> Nullable<Text>,
        failure -> Nullable<Text>,
        created_at -> BigInt,
        started_at -> Nullable<BigInt>,
        heartbeat_at -> BigInt,
        finished_at -> Nullable<BigInt>,
        changed_rows -> Nullable<BigInt>,
        undone_at -> Nullable<BigInt>,
        undone_by -> Nullable<Text>,
        undo_reason -> Nullable<Text>,
    }
}

table! {
    signing_chains (name) {
        name -> Text,
        spcs -> Text,
        pem -> Text,
        not_before -> BigInt,
        not_after -> BigInt,
        published_at -> BigInt,
        active_from -> BigInt,
        retired_at -> Nullable<BigInt>,
        noted -> Text,
        last_expiry -> Nullable<BigInt>,
    }
}

table! {
    distrusted_chains (chain) {
        chain -> Text,
        id -> Text,
        public_key -> Text,
        certificate -> Text,
        reason -> Text,
        distrusted_at -> BigInt,
        distrusted_by -> Text,
    }
}

table! {
    horizon_accounts (account_id) {
        account_id -> Text,
        since -> BigInt,
    }
}

table! {
    idempotency_keys (name) {
        name -> Text,
        request -> Text,
        holder -> Text,
        jti -> Nullable<Text>,
        answer -> Nullable<Binary>,
        lease_until -> BigInt,
        keep_until -> BigInt,
    }
}

table! {
    legacy_accounts (account_id) {
        account_id -> Text,
        since -> BigInt,
    }
}

table! {
    withdrawals (sequence) {
        sequence -> BigInt,
        jti -> Binary,
        account_id -> Text,
        at -> BigInt,
        expires_at -> BigInt,
        reason -> Text,
        cause -> Nullable<Text>,
        recorded_at -> BigInt,
    }
}

table! {
    withdrawal_sweeps (id) {
        id -> Text,
        account_id -> Nullable<Text>,
        first_position -> Nullable<BigInt>,
        last_position -> Nullable<BigInt>,
        at -> BigInt,
        reason -> Text,
        cause -> Nullable<Text>,
        after_jti -> Text,
        last_jti -> Text,
        recorded_at -> BigInt,
        chain -> Nullable<Text>,
        from_expiry -> Nullable<BigInt>,
    }
}

table! {
    renewals (id) {
        id -> Text,
        account_id -> Text,
        delegation_id -> Text,
        tkvalue -> Text,
        fingerprint -> Text,
        lifetime -> Integer,
        not_after -> Nullable<BigInt>,
        caller -> Nullable<Text>,
        created_at -> BigInt,
        created_by -> Text,
        revoked_at -> Nullable<BigInt>,
        control_method -> Nullable<Text>,
        control_max_age -> Nullable<BigInt>,
        control_due_at -> Nullable<BigInt>,
    }
}

table! {
    webhooks (id) {
        id -> Text,
        account_id -> Nullable<Text>,
        below -> Bool,
        url -> Text,
        kinds -> Text,
        generation -> Integer,
        previous_until -> Nullable<BigInt>,
        position -> BigInt,
        next_attempt_at -> BigInt,
        leased_by -> Nullable<Text>,
        leased_until -> Nullable<BigInt>,
        created_at -> BigInt,
        created_by -> Text,
        ended_at -> Nullable<BigInt>,
        derived_by -> Nullable<Text>,
    }
}

table! {
    webhook_deliveries (id) {
        id -> Text,
        webhook_id -> Text,
        kind -> Text,
        first_sequence -> BigInt,
        last_sequence -> BigInt,
        items -> Integer,
        state -> Text,
        attempts -> Integer,
        last_attempt_at -> Nullable<BigInt>,
        last_status -> Nullable<Integer>,
        last_failure -> Nullable<Text>,
        replay_of -> Nullable<Text>,
        created_at -> BigInt,
        give_up_at -> BigInt,
        finished_at -> Nullable<BigInt>,
    }
}

table! {
    staged_imports (sequence) {
        sequence -> BigInt,
        import_id -> Text,
        heartbeat_at -> Nullable<BigInt>,
        effective_at -> Nullable<BigInt>,
        last_id -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    accounts,
    suspensions,
    horizon_accounts,
    legacy_accounts,
    grants,
    grant_numbers,
    grant_terms,
    grant_callers,
    renewals,
    webhooks,
    webhook_deliveries,
    withdrawals,
    control_proofs,
    control_messages
);
diesel::allow_tables_to_appear_in_same_query!(api_keys, api_key_uses);
diesel::allow_tables_to_appear_in_same_query!(signing_chains, distrusted_chains);
diesel::allow_tables_to_appear_in_same_query!(renewals, delegations);
diesel::allow_tables_to_appear_in_same_query!(staged_imports, delegations);
