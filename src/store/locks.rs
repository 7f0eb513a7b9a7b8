//! The advisory locks that processes hold on PostgreSQL. Their numbers are part of the database's contract: replicas of
//! different versions have to agree on them.

/// Held by the session that applies migrations.
pub(super) const MIGRATIONS_LOCK: i64 = 8_468_773;

/// Held until COMMIT: shared by transactions that mint, exclusively by those that change who has authority.
pub const AUTHORITY_LOCK: i64 = 8_468_774;
