-- The ledger with one row for each grant: its audit event and its first range of numbers are part of it, and what many
-- grants have in common is in tables of its own. Times are whole seconds since 1970, UTC. Needs SQLite 3.41, for unhex.

ALTER TABLE grants RENAME TO old_grants;
ALTER TABLE grant_numbers RENAME TO old_grant_numbers;
ALTER TABLE withdrawals RENAME TO old_withdrawals;
DROP INDEX grants_by_account;
DROP INDEX grants_by_chain;
DROP INDEX grants_by_account_expiry;
DROP INDEX grant_numbers_by_number;
DROP INDEX withdrawals_by_account;
DROP INDEX withdrawals_by_expiry;

-- What many grants have in common. A row never changes.
CREATE TABLE grant_terms (
    -- The first 64 bits of the SHA-256 of the other columns, so that replicas agree on it; below 2^32: a row that the upgrade of an older ledger made.
    id INTEGER NOT NULL PRIMARY KEY,
    -- SHA-256 in hex of the certificate chain of the signing key, as x5u names it.
    chain TEXT NOT NULL,
    -- The ids of the policies that permitted it, separated by spaces, 16 at most; `+3` at the end: three more.
    policies TEXT NOT NULL,
    -- SHA-256 in hex of the files of the set of policies that they are of; empty: older than this is recorded.
    policy_set TEXT NOT NULL,
    -- The tktype of the token: TNAuthList or JWTClaimConstraints.
    tktype TEXT NOT NULL,
    -- How strictly the request was read: strict or legacy.
    dialect TEXT NOT NULL,
    -- The ca of the token.
    ca BOOLEAN NOT NULL,
    -- The iss of the token; empty: older than this is recorded.
    iss TEXT NOT NULL
);

-- Who asked for grants. A row never changes.
CREATE TABLE grant_callers (
    -- The first 64 bits of the SHA-256 of the other columns, as in grant_terms.
    id INTEGER NOT NULL PRIMARY KEY,
    -- The id of an API key or another proof.
    caller TEXT NOT NULL,
    -- The account that the caller is confined to; empty: the caller is the carrier's, or speaks for several.
    account_id TEXT NOT NULL
);
-- The events of one caller: audit_events by caller.
CREATE INDEX grant_callers_by_caller ON grant_callers (caller);

-- Bounds that spare the ledger an index. One row.
CREATE TABLE ledger_bounds (
    -- Always 1.
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- The longest time in seconds between the issue and the expiry of any grant, or more; never less. A token that can be redeemed after T was issued after T minus this.
    longest_lifetime BIGINT NOT NULL
);

-- The record behind each token, with its audit event; written and committed before the token is signed. No foreign keys: rows of accounts, grant_terms and grant_callers are never deleted, and are read or written by the transaction that inserts a grant.
CREATE TABLE grants (
    -- The iat claim.
    issued_at BIGINT NOT NULL,
    -- The exp claim.
    expires_at BIGINT NOT NULL,
    -- The first number of the first range of the list: digits * 10^15 + value; NULL: it has no numbers.
    first_position BIGINT,
    -- The last number of this range; NULL as long as first_position is.
    last_position BIGINT,
    -- The smallest power of ten that is not below the count of its numbers; NULL as long as first_position is.
    span BIGINT,
    -- From when on the carrier withdrew it; NULL: never.
    withdrawn_at BIGINT,
    -- Reserved: the index of its entry in a public log; always NULL.
    log_index BIGINT,
    -- Who asked: a row of grant_callers.
    caller_id BIGINT NOT NULL,
    -- A row of grant_terms.
    terms_id BIGINT NOT NULL,
    -- The jti claim (RFC 9448 section 5.3): the UUID of the audit event, and 96 random bits. Older ones, of 22 bytes: 48 bits of time, and 128 random bits.
    jti BLOB NOT NULL PRIMARY KEY,
    -- UUID of the request, as in the log.
    request_id BLOB NOT NULL,
    -- SHA-256 of the ACME account key: the fingerprint of the token (RFC 9448 section 5.4).
    fingerprint BLOB NOT NULL,
    -- Who got the token.
    account_id TEXT NOT NULL,
    -- What the token is about, character for character as asked and signed: base64 of the DER of its tktype, base64url unless the dialect is legacy.
    tkvalue TEXT NOT NULL,
    -- The rows that justified it: delegation:ID/VERSION and allocation:ID/VERSION, separated by spaces.
    justified_by TEXT NOT NULL,
    -- Why it was withdrawn; NULL as long as withdrawn_at is.
    withdrawal_reason TEXT,
    -- What the detail of its audit event has beyond the grant, as JSON; NULL: the event is a row of audit_events.
    event TEXT,
    -- Reserved: bits that hide it in a public log; always NULL.
    nonce BLOB
);

-- The ranges of lists from the second on; the first one is in grants.
CREATE TABLE grant_numbers (
    -- The grant. No foreign key, so that grants can be partitioned.
    jti BLOB NOT NULL,
    -- Which range of its list, from 2.
    entry INTEGER NOT NULL,
    -- The first number: digits * 10^15 + value.
    first_position BIGINT NOT NULL,
    -- The last number, which belongs to the range.
    last_position BIGINT NOT NULL,
    -- The smallest power of ten that is not below the count of numbers; for the index.
    span BIGINT NOT NULL,
    -- As in grants, so that one index finds what is outstanding.
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (jti, entry),
    CHECK (first_position <= last_position)
) WITHOUT ROWID;

-- Each time that a grant was withdrawn; one that is withdrawn earlier than was said before has two rows.
CREATE TABLE withdrawals (
    -- Grows from one committed transaction to the next, which the lock of the writer orders. Starts from the time in microseconds, so that gaps reveal nothing.
    sequence BIGINT NOT NULL PRIMARY KEY,
    -- The grant. No foreign key, so that grants can be partitioned.
    jti BLOB NOT NULL,
    -- Who got the token, as in grants.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- From when on it is withdrawn; may lie ahead.
    at BIGINT NOT NULL,
    -- The exp claim, as in grants.
    expires_at BIGINT NOT NULL,
    -- Why: ported-out, contaminated, aging, suspended, reserved, delegation-ended, allocation-returned, account-suspended, key-distrusted, or the words of a person.
    reason TEXT NOT NULL,
    -- The row by which authority ended, such as exclusion:ID; NULL: a person withdrew this grant alone.
    cause TEXT,
    -- When it was recorded.
    recorded_at BIGINT NOT NULL
);

-- Until when the tokens that the chain signed can be redeemed, or later: rounded up to ten minutes, so that it seldom changes; NULL: it has signed none.
ALTER TABLE signing_chains ADD COLUMN last_expiry BIGINT;

INSERT INTO grant_terms (chain, policies, policy_set, tktype, dialect, ca, iss)
SELECT DISTINCT chain, policies, coalesce(policy_set, ''), tktype, dialect, ca, '' FROM old_grants;
INSERT INTO grant_callers (caller, account_id) SELECT DISTINCT caller, '' FROM old_grants;
CREATE INDEX grant_terms_by_chain ON grant_terms (chain, policy_set);

INSERT INTO grants (issued_at, expires_at, first_position, last_position, span, withdrawn_at, caller_id, terms_id, jti,
    request_id, fingerprint, account_id, tkvalue, justified_by, withdrawal_reason)
SELECT g.issued_at, g.expires_at, n.first_position, n.last_position, n.span, g.withdrawn_at,
    (SELECT c.id FROM grant_callers c WHERE c.caller = g.caller),
    (SELECT t.id FROM grant_terms t WHERE t.chain = g.chain AND t.policies = g.policies
        AND t.policy_set = coalesce(g.policy_set, '') AND t.tktype = g.tktype AND t.dialect = g.dialect AND t.ca = g.ca),
    unhex(g.jti), unhex(g.request_id, '-'), unhex(substr(g.fingerprint, 8), ':'), g.account_id, g.tkvalue,
    g.justified_by, g.withdrawal_reason
FROM old_grants g LEFT JOIN old_grant_numbers n ON n.jti = g.jti AND n.entry = 1
ORDER BY g.jti;

INSERT INTO grant_numbers (jti, entry, first_position, last_position, span, expires_at)
SELECT unhex(jti), entry, first_position, last_position, span, expires_at FROM old_grant_numbers
WHERE entry > 1 ORDER BY jti, entry;

INSERT INTO withdrawals (sequence, jti, account_id, at, expires_at, reason, cause, recorded_at)
SELECT sequence, unhex(jti), account_id, at, expires_at, reason, cause, recorded_at FROM old_withdrawals
ORDER BY sequence;

INSERT INTO ledger_bounds (id, longest_lifetime)
SELECT 1, coalesce(max(expires_at - issued_at), 0) FROM old_grants;
UPDATE signing_chains SET last_expiry = (signed.until + 599) / 600 * 600
FROM (SELECT chain, max(expires_at) AS until FROM old_grants GROUP BY chain) signed
WHERE signed.chain = signing_chains.name;

DROP INDEX grant_terms_by_chain;
DROP TABLE old_withdrawals;
DROP TABLE old_grant_numbers;
DROP TABLE old_grants;

-- The grants of one account, and its events: GET /v1/grants?account= and audit_events by account.
CREATE INDEX grants_by_account ON grants (account_id, jti);
-- The events of one caller: audit_events by caller.
CREATE INDEX grants_by_caller ON grants (caller_id, jti);
-- The events of one request: audit_events by request.
CREATE INDEX grants_by_request ON grants (request_id);
-- Which grants overlap some numbers, and whether they are outstanding.
CREATE INDEX grants_by_number ON grants (span, first_position, expires_at);
-- The same for the ranges from the second on.
CREATE INDEX grant_numbers_by_number ON grant_numbers (span, first_position, expires_at);
-- The feed of one account.
CREATE INDEX withdrawals_by_account ON withdrawals (account_id, sequence);
-- How many withdrawn grants can still be redeemed.
CREATE INDEX withdrawals_by_expiry ON withdrawals (expires_at, at, jti);
