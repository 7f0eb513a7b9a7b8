//! PostgreSQL advisory locks. Their numbers never change: replicas of different versions have to
//! agree on them.

/// Held by the session that applies migrations.
pub(super) const MIGRATIONS_LOCK: i64 = 8_468_773;

/// Held until COMMIT: shared by transactions that mint, exclusive in those that change who has
/// authority.
pub const AUTHORITY_LOCK: i64 = 8_468_774;

/// Held until COMMIT by transactions that start proofs of control while minting continues.
pub(super) const REPROOF_LOCK: i64 = 8_468_775;
