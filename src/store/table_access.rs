//! What the role of the service may do with its tables on PostgreSQL, as part of the question
//! about the server. A token is recorded by writes to tables that the heartbeat does not touch.

/// The tables of the service. It reads all of them.
pub(super) const READ: [&str; 37] = [
    "account_keys",
    "accounts",
    "allocations",
    "api_key_accounts",
    "api_key_uses",
    "api_keys",
    "audit_events",
    "change_counter",
    "compatible_migrations",
    "control_early_receipts",
    "control_messages",
    "control_proofs",
    "control_receipts",
    "control_samples",
    "delegations",
    "departures",
    "distrusted_chains",
    "exclusions",
    "grant_callers",
    "grant_numbers",
    "grant_terms",
    "grants",
    "horizon_accounts",
    "idempotency_keys",
    "jobs",
    "ledger_bounds",
    "legacy_accounts",
    "renewals",
    "replicas",
    "row_changes",
    "signing_chains",
    "staged_imports",
    "suspensions",
    "webhook_deliveries",
    "webhooks",
    "withdrawal_sweeps",
    "withdrawals",
];

/// What a mint writes.
const WRITTEN: [(&str, &str); 10] = [
    ("account_keys", "INSERT"),
    ("audit_events", "INSERT"),
    ("grant_callers", "INSERT"),
    ("grant_numbers", "INSERT"),
    ("grant_terms", "INSERT"),
    ("grants", "INSERT"),
    ("idempotency_keys", "INSERT"),
    ("idempotency_keys", "UPDATE"),
    ("ledger_bounds", "UPDATE"),
    ("signing_chains", "UPDATE"),
];

/// An expression for the tables that the role may not use, and why; empty if it may use all.
///
/// Row security hides rows, such as the exclusion of a number that is suspended. The service
/// switches it off, so that a query fails instead (PostgreSQL, "Row Security Policies"). A table
/// that does not exist is no concern here.
pub(super) fn refused_tables() -> String {
    let read = READ.iter().map(|table| (*table, "SELECT"));
    let needs: Vec<String> = read
        .chain(WRITTEN)
        .map(|(table, privilege)| format!("('{table}', '{privilege}')"))
        .collect();
    format!(
        "coalesce((SELECT string_agg(needed.name || ' (' || needed.why || ')', ', ' ORDER BY 1) \
         FROM (SELECT name, CASE WHEN row_security_active(id) THEN 'row security' \
                                 WHEN NOT has_table_privilege(id, privilege) THEN privilege \
                            END AS why \
               FROM (SELECT name, privilege, to_regclass(name)::oid AS id \
                     FROM (VALUES {}) AS listed (name, privilege)) AS found \
               WHERE id IS NOT NULL) AS needed \
         WHERE needed.why IS NOT NULL), '')",
        needs.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_of_the_migrations_is_listed() {
        let root = env!("CARGO_MANIFEST_DIR");
        let folder = format!("{root}/migrations/postgres");
        let mut made = Vec::new();
        for migration in std::fs::read_dir(folder).expect("migrations") {
            let file = migration.expect("a migration").path().join("up.sql");
            let sql = std::fs::read_to_string(file).expect("a migration");
            for line in sql.lines() {
                if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
                    let name = rest.split([' ', '(']).next().expect("a name");
                    made.push(name.to_owned());
                }
            }
        }
        made.sort_unstable();
        // Some were replaced by others of the same name.
        made.dedup();
        assert_eq!(made, READ);
        assert!(WRITTEN.iter().all(|(table, _)| READ.contains(table)));
    }
}
