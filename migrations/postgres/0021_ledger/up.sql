-- The ledger with one row for each grant: its audit event and its first range of numbers are part of it, and what many
-- grants have in common is in tables of its own. Times are whole seconds since 1970, UTC.

ALTER TABLE grants RENAME TO old_grants;
ALTER TABLE grant_numbers RENAME TO old_grant_numbers;
ALTER INDEX grants_pkey RENAME TO old_grants_pkey;
ALTER INDEX grant_numbers_pkey RENAME TO old_grant_numbers_pkey;
DROP INDEX grants_by_account;
DROP INDEX grants_by_chain;
DROP INDEX grants_by_account_expiry;
DROP INDEX grant_numbers_by_number;

CREATE TABLE grant_terms (
    id BIGINT NOT NULL PRIMARY KEY,
    chain TEXT COLLATE "C" NOT NULL,
    policies TEXT COLLATE "C" NOT NULL,
    policy_set TEXT COLLATE "C" NOT NULL,
    tktype TEXT COLLATE "C" NOT NULL,
    dialect TEXT COLLATE "C" NOT NULL,
    ca BOOLEAN NOT NULL,
    iss TEXT COLLATE "C" NOT NULL
);
COMMENT ON TABLE grant_terms IS 'What many grants have in common. A row never changes.';
COMMENT ON COLUMN grant_terms.id IS 'The first 64 bits of the SHA-256 of the other columns, so that replicas agree on it; below 2^32: a row that the upgrade of an older ledger made.';
COMMENT ON COLUMN grant_terms.chain IS 'SHA-256 in hex of the certificate chain of the signing key, as x5u names it.';
COMMENT ON COLUMN grant_terms.policies IS 'The ids of the policies that permitted it, separated by spaces, 16 at most; `+3` at the end: three more.';
COMMENT ON COLUMN grant_terms.policy_set IS 'SHA-256 in hex of the files of the set of policies that they are of; empty: older than this is recorded.';
COMMENT ON COLUMN grant_terms.tktype IS 'The tktype of the token: TNAuthList or JWTClaimConstraints.';
COMMENT ON COLUMN grant_terms.dialect IS 'How strictly the request was read: strict or legacy.';
COMMENT ON COLUMN grant_terms.ca IS 'The ca of the token.';
COMMENT ON COLUMN grant_terms.iss IS 'The iss of the token; empty: older than this is recorded.';

CREATE TABLE grant_callers (
    id BIGINT NOT NULL PRIMARY KEY,
    caller TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL
);
COMMENT ON TABLE grant_callers IS 'Who asked for grants. A row never changes.';
COMMENT ON COLUMN grant_callers.id IS 'The first 64 bits of the SHA-256 of the other columns, as in grant_terms.';
COMMENT ON COLUMN grant_callers.caller IS 'The id of an API key or another proof.';
COMMENT ON COLUMN grant_callers.account_id IS 'The account that the caller is confined to; empty: the caller is the carrier''s, or speaks for several.';
-- The events of one caller: audit_events by caller.
CREATE INDEX grant_callers_by_caller ON grant_callers (caller);

CREATE TABLE ledger_bounds (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    longest_lifetime BIGINT NOT NULL
);
COMMENT ON TABLE ledger_bounds IS 'Bounds that spare the ledger an index. One row.';
COMMENT ON COLUMN ledger_bounds.id IS 'Always 1.';
COMMENT ON COLUMN ledger_bounds.longest_lifetime IS 'The longest time in seconds between the issue and the expiry of any grant, or more; never less. A token that can be redeemed after T was issued after T minus this.';

CREATE TABLE grants (
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    first_position BIGINT,
    last_position BIGINT,
    span BIGINT,
    withdrawn_at BIGINT,
    log_index BIGINT,
    caller_id BIGINT NOT NULL,
    terms_id BIGINT NOT NULL,
    jti BYTEA NOT NULL PRIMARY KEY,
    request_id BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    tkvalue TEXT COLLATE "C" NOT NULL,
    justified_by TEXT COLLATE "C" NOT NULL,
    withdrawal_reason TEXT COLLATE "C",
    event TEXT COLLATE "C",
    nonce BYTEA
);
COMMENT ON TABLE grants IS 'The record behind each token, with its audit event; written and committed before the token is signed. No foreign keys: rows of accounts, grant_terms and grant_callers are never deleted, and are read or written by the transaction that inserts a grant.';
COMMENT ON COLUMN grants.issued_at IS 'The iat claim.';
COMMENT ON COLUMN grants.expires_at IS 'The exp claim.';
COMMENT ON COLUMN grants.first_position IS 'The first number of the first range of the list: digits * 10^15 + value; NULL: it has no numbers.';
COMMENT ON COLUMN grants.last_position IS 'The last number of this range; NULL as long as first_position is.';
COMMENT ON COLUMN grants.span IS 'The smallest power of ten that is not below the count of its numbers; NULL as long as first_position is.';
COMMENT ON COLUMN grants.withdrawn_at IS 'From when on the carrier withdrew it; NULL: never.';
COMMENT ON COLUMN grants.log_index IS 'Reserved: the index of its entry in a public log; always NULL.';
COMMENT ON COLUMN grants.caller_id IS 'Who asked: a row of grant_callers.';
COMMENT ON COLUMN grants.terms_id IS 'A row of grant_terms.';
COMMENT ON COLUMN grants.jti IS 'The jti claim (RFC 9448 section 5.3): the UUID of the audit event, and 96 random bits. Older ones, of 22 bytes: 48 bits of time, and 128 random bits.';
COMMENT ON COLUMN grants.request_id IS 'UUID of the request, as in the log.';
COMMENT ON COLUMN grants.fingerprint IS 'SHA-256 of the ACME account key: the fingerprint of the token (RFC 9448 section 5.4).';
COMMENT ON COLUMN grants.account_id IS 'Who got the token.';
COMMENT ON COLUMN grants.tkvalue IS 'What the token is about, character for character as asked and signed: base64 of the DER of its tktype, base64url unless the dialect is legacy.';
COMMENT ON COLUMN grants.justified_by IS 'The rows that justified it: delegation:ID/VERSION and allocation:ID/VERSION, separated by spaces.';
COMMENT ON COLUMN grants.withdrawal_reason IS 'Why it was withdrawn; NULL as long as withdrawn_at is.';
COMMENT ON COLUMN grants.event IS 'What the detail of its audit event has beyond the grant, as JSON; NULL: the event is a row of audit_events.';
COMMENT ON COLUMN grants.nonce IS 'Reserved: bits that hide it in a public log; always NULL.';

CREATE TABLE grant_numbers (
    jti BYTEA NOT NULL,
    entry INTEGER NOT NULL,
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    span BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (jti, entry),
    CHECK (first_position <= last_position)
);
COMMENT ON TABLE grant_numbers IS 'The ranges of lists from the second on; the first one is in grants.';
COMMENT ON COLUMN grant_numbers.jti IS 'The grant. No foreign key, so that grants can be partitioned.';
COMMENT ON COLUMN grant_numbers.entry IS 'Which range of its list, from 2.';
COMMENT ON COLUMN grant_numbers.first_position IS 'The first number: digits * 10^15 + value.';
COMMENT ON COLUMN grant_numbers.last_position IS 'The last number, which belongs to the range.';
COMMENT ON COLUMN grant_numbers.span IS 'The smallest power of ten that is not below the count of numbers; for the index.';
COMMENT ON COLUMN grant_numbers.expires_at IS 'As in grants, so that one index finds what is outstanding.';

ALTER TABLE withdrawals DROP CONSTRAINT withdrawals_jti_fkey;
ALTER TABLE withdrawals ALTER COLUMN jti TYPE BYTEA USING decode(jti, 'hex');
COMMENT ON COLUMN withdrawals.jti IS 'The grant. No foreign key, so that grants can be partitioned.';

ALTER TABLE signing_chains ADD COLUMN last_expiry BIGINT;
COMMENT ON COLUMN signing_chains.last_expiry IS 'Until when the tokens that the chain signed can be redeemed, or later: rounded up to ten minutes, so that it seldom changes; NULL: it has signed none.';

INSERT INTO grant_terms (id, chain, policies, policy_set, tktype, dialect, ca, iss)
SELECT row_number() OVER (), t.* FROM (SELECT DISTINCT chain, policies, coalesce(policy_set, ''), tktype, dialect, ca, ''
    FROM old_grants) t;
INSERT INTO grant_callers (id, caller, account_id)
SELECT row_number() OVER (), c.* FROM (SELECT DISTINCT caller, '' FROM old_grants) c;
CREATE INDEX grant_terms_by_chain ON grant_terms (chain, policy_set);

INSERT INTO grants (issued_at, expires_at, first_position, last_position, span, withdrawn_at, caller_id, terms_id, jti,
    request_id, fingerprint, account_id, tkvalue, justified_by, withdrawal_reason)
SELECT g.issued_at, g.expires_at, n.first_position, n.last_position, n.span, g.withdrawn_at,
    (SELECT c.id FROM grant_callers c WHERE c.caller = g.caller),
    (SELECT t.id FROM grant_terms t WHERE t.chain = g.chain AND t.policies = g.policies
        AND t.policy_set = coalesce(g.policy_set, '') AND t.tktype = g.tktype AND t.dialect = g.dialect AND t.ca = g.ca),
    decode(g.jti, 'hex'), decode(replace(g.request_id, '-', ''), 'hex'),
    decode(replace(substr(g.fingerprint, 8), ':', ''), 'hex'), g.account_id, g.tkvalue,
    g.justified_by, g.withdrawal_reason
FROM old_grants g LEFT JOIN old_grant_numbers n ON n.jti = g.jti AND n.entry = 1
ORDER BY g.jti;

INSERT INTO grant_numbers (jti, entry, first_position, last_position, span, expires_at)
SELECT decode(jti, 'hex'), entry, first_position, last_position, span, expires_at FROM old_grant_numbers
WHERE entry > 1 ORDER BY jti, entry;

INSERT INTO ledger_bounds (id, longest_lifetime)
SELECT 1, coalesce(max(expires_at - issued_at), 0) FROM old_grants;
UPDATE signing_chains SET last_expiry = (signed.until + 599) / 600 * 600
FROM (SELECT chain, max(expires_at) AS until FROM old_grants GROUP BY chain) signed
WHERE signed.chain = signing_chains.name;

DROP INDEX grant_terms_by_chain;
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
