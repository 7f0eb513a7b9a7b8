-- The main job: accounts, keys, inventory, grants, audit. Times are whole seconds since 1970, UTC.

CREATE TABLE accounts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    parent_id TEXT COLLATE "C" REFERENCES accounts (id),
    path TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX accounts_by_path ON accounts (path);
COMMENT ON TABLE accounts IS 'Who asks for tokens: enterprises and resellers (RFC 9448 section 5.5, :id).';
COMMENT ON COLUMN accounts.id IS 'Chosen by the carrier: [A-Za-z0-9._~-]{1,64}.';
COMMENT ON COLUMN accounts.name IS 'A name for people; may be empty.';
COMMENT ON COLUMN accounts.parent_id IS 'The reseller that this account is a customer of; NULL: the carrier itself.';
COMMENT ON COLUMN accounts.path IS 'The ids of the resellers above it and its own, each with a / in front, the topmost first.';
COMMENT ON COLUMN accounts.created_at IS 'When the account was made.';

CREATE TABLE suspensions (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    suspended_by TEXT COLLATE "C" REFERENCES accounts (id),
    suspended_at BIGINT NOT NULL,
    resumed_at BIGINT
);
CREATE UNIQUE INDEX suspensions_open ON suspensions (account_id) WHERE resumed_at IS NULL;
COMMENT ON TABLE suspensions IS 'When an account got no tokens. A row is closed by resuming, and kept.';
COMMENT ON COLUMN suspensions.id IS 'UUID.';
COMMENT ON COLUMN suspensions.account_id IS 'The account.';
COMMENT ON COLUMN suspensions.suspended_by IS 'The reseller who suspended it; NULL: the carrier.';
COMMENT ON COLUMN suspensions.suspended_at IS 'From when on.';
COMMENT ON COLUMN suspensions.resumed_at IS 'Until when; NULL: still suspended.';

CREATE TABLE api_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    secret_hash BYTEA NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" REFERENCES accounts (id),
    label TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
COMMENT ON TABLE api_keys IS 'Keys of callers. The key itself is shown once and never stored.';
COMMENT ON COLUMN api_keys.id IS 'The public part of the key, which finds this row.';
COMMENT ON COLUMN api_keys.secret_hash IS 'HMAC-SHA256 of the secret part, under a key that is not in this database.';
COMMENT ON COLUMN api_keys.role IS 'admin, provisioner, portal, account or auditor.';
COMMENT ON COLUMN api_keys.account_id IS 'The account of a key with role account; the reseller whose customers a provisioner or an auditor is confined to; else NULL.';
COMMENT ON COLUMN api_keys.label IS 'What the key is for, in the words of who made it; may be empty.';
COMMENT ON COLUMN api_keys.created_at IS 'When the key was made.';
COMMENT ON COLUMN api_keys.revoked_at IS 'When it stopped working; NULL: it works.';

CREATE TABLE api_key_accounts (
    api_key_id TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (api_key_id, account_id)
);
COMMENT ON TABLE api_key_accounts IS 'The accounts that a key with role portal was given.';
COMMENT ON COLUMN api_key_accounts.api_key_id IS 'The key.';
COMMENT ON COLUMN api_key_accounts.account_id IS 'An account that it may mint for.';

CREATE TABLE allocations (
    id TEXT COLLATE "C" NOT NULL,
    version INTEGER NOT NULL,
    spc TEXT COLLATE "C" NOT NULL,
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    span BIGINT NOT NULL,
    basis TEXT COLLATE "C" NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT,
    recorded_at BIGINT NOT NULL,
    superseded_at BIGINT,
    PRIMARY KEY (id, version),
    CHECK (first_position <= last_position),
    CHECK (valid_until IS NULL OR valid_from < valid_until)
);
CREATE INDEX allocations_by_number ON allocations (span, first_position);
CREATE UNIQUE INDEX allocations_newest ON allocations (id) WHERE superseded_at IS NULL;
COMMENT ON TABLE allocations IS 'Numbers that the carrier holds. One row a version; the newest is not superseded.';
COMMENT ON COLUMN allocations.id IS 'UUID, the same for all versions.';
COMMENT ON COLUMN allocations.version IS 'Counts from 1.';
COMMENT ON COLUMN allocations.spc IS 'Service provider code that holds them, byte for byte.';
COMMENT ON COLUMN allocations.first_position IS 'The first number: digits * 10^15 + value.';
COMMENT ON COLUMN allocations.last_position IS 'The last number, which belongs to the range.';
COMMENT ON COLUMN allocations.span IS 'The smallest power of ten that is not below the count of numbers; for the index.';
COMMENT ON COLUMN allocations.basis IS 'block, code, ported-in or toll-free.';
COMMENT ON COLUMN allocations.valid_from IS 'From when on it holds.';
COMMENT ON COLUMN allocations.valid_until IS 'The first second at which it no longer holds; NULL: no known end.';
COMMENT ON COLUMN allocations.recorded_at IS 'When this version was recorded.';
COMMENT ON COLUMN allocations.superseded_at IS 'When a newer version took its place; NULL: this is the newest.';

CREATE TABLE delegations (
    id TEXT COLLATE "C" NOT NULL,
    version INTEGER NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    parent_id TEXT COLLATE "C",
    lender_id TEXT COLLATE "C" REFERENCES accounts (id),
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    span BIGINT NOT NULL,
    ca BOOLEAN NOT NULL,
    lend_on BOOLEAN NOT NULL,
    lender_keeps BOOLEAN NOT NULL,
    reference TEXT COLLATE "C",
    valid_from BIGINT NOT NULL,
    valid_until BIGINT,
    recorded_at BIGINT NOT NULL,
    superseded_at BIGINT,
    PRIMARY KEY (id, version),
    CHECK (first_position <= last_position),
    CHECK (valid_until IS NULL OR valid_from < valid_until)
);
CREATE INDEX delegations_by_number ON delegations (span, first_position);
CREATE UNIQUE INDEX delegations_newest ON delegations (id) WHERE superseded_at IS NULL;
CREATE INDEX delegations_by_account ON delegations (account_id, span, first_position) WHERE superseded_at IS NULL;
CREATE INDEX delegations_by_lender ON delegations (lender_id, span, first_position)
    WHERE superseded_at IS NULL AND lender_id IS NOT NULL;
CREATE INDEX delegations_by_parent ON delegations (parent_id) WHERE superseded_at IS NULL AND parent_id IS NOT NULL;
COMMENT ON TABLE delegations IS 'Numbers lent to an account. One row a version; the newest is not superseded.';
COMMENT ON COLUMN delegations.id IS 'UUID, the same for all versions.';
COMMENT ON COLUMN delegations.version IS 'Counts from 1.';
COMMENT ON COLUMN delegations.account_id IS 'Who may get tokens for them.';
COMMENT ON COLUMN delegations.parent_id IS 'id of the delegation of a reseller that this one is cut from; NULL: the carrier lends.';
COMMENT ON COLUMN delegations.lender_id IS 'The reseller who lends, which is the account of that delegation; NULL: the carrier lends.';
COMMENT ON COLUMN delegations.first_position IS 'The first number: digits * 10^15 + value.';
COMMENT ON COLUMN delegations.last_position IS 'The last number, which belongs to the range.';
COMMENT ON COLUMN delegations.span IS 'The smallest power of ten that is not below the count of numbers; for the index.';
COMMENT ON COLUMN delegations.ca IS 'Whether tokens for CA certificates are allowed (RFC 9447 section 4, ca).';
COMMENT ON COLUMN delegations.lend_on IS 'Whether the account may lend the numbers on to customers of its own.';
COMMENT ON COLUMN delegations.lender_keeps IS 'Whether the reseller who lends may still get tokens for the numbers itself.';
COMMENT ON COLUMN delegations.reference IS 'The carrier''s own order or contract.';
COMMENT ON COLUMN delegations.valid_from IS 'From when on it holds.';
COMMENT ON COLUMN delegations.valid_until IS 'The first second at which it no longer holds; NULL: no known end.';
COMMENT ON COLUMN delegations.recorded_at IS 'When this version was recorded.';
COMMENT ON COLUMN delegations.superseded_at IS 'When a newer version took its place; NULL: this is the newest.';

CREATE TABLE exclusions (
    id TEXT COLLATE "C" NOT NULL,
    version INTEGER NOT NULL,
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    span BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT,
    recorded_at BIGINT NOT NULL,
    superseded_at BIGINT,
    PRIMARY KEY (id, version),
    CHECK (first_position <= last_position),
    CHECK (valid_until IS NULL OR valid_from < valid_until)
);
CREATE INDEX exclusions_by_number ON exclusions (span, first_position);
CREATE UNIQUE INDEX exclusions_newest ON exclusions (id) WHERE superseded_at IS NULL;
COMMENT ON TABLE exclusions IS 'Numbers inside an allocation without authority now. One row a version; the newest is not superseded.';
COMMENT ON COLUMN exclusions.id IS 'UUID, the same for all versions.';
COMMENT ON COLUMN exclusions.version IS 'Counts from 1.';
COMMENT ON COLUMN exclusions.first_position IS 'The first number: digits * 10^15 + value.';
COMMENT ON COLUMN exclusions.last_position IS 'The last number, which belongs to the range.';
COMMENT ON COLUMN exclusions.span IS 'The smallest power of ten that is not below the count of numbers; for the index.';
COMMENT ON COLUMN exclusions.reason IS 'ported-out, contaminated, aging, suspended or reserved.';
COMMENT ON COLUMN exclusions.valid_from IS 'From when on it holds.';
COMMENT ON COLUMN exclusions.valid_until IS 'The first second at which it no longer holds; NULL: no known end.';
COMMENT ON COLUMN exclusions.recorded_at IS 'When this version was recorded.';
COMMENT ON COLUMN exclusions.superseded_at IS 'When a newer version took its place; NULL: this is the newest.';

CREATE TABLE grants (
    jti TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    tkvalue TEXT COLLATE "C" NOT NULL,
    ca BOOLEAN NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    chain TEXT COLLATE "C" NOT NULL,
    caller TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    justified_by TEXT COLLATE "C" NOT NULL,
    withdrawn_at BIGINT,
    withdrawal_reason TEXT COLLATE "C"
);
CREATE INDEX grants_by_account ON grants (account_id, jti);
COMMENT ON TABLE grants IS 'The record behind each token; written and committed before the token is signed.';
COMMENT ON COLUMN grants.jti IS 'The jti claim (RFC 9448 section 5.3).';
COMMENT ON COLUMN grants.account_id IS 'Who got the token.';
COMMENT ON COLUMN grants.tkvalue IS 'The TNAuthList exactly as asked and signed: base64url of its DER.';
COMMENT ON COLUMN grants.ca IS 'The ca of the token.';
COMMENT ON COLUMN grants.fingerprint IS 'The fingerprint of the token (RFC 9448 section 5.4).';
COMMENT ON COLUMN grants.issued_at IS 'The iat claim.';
COMMENT ON COLUMN grants.expires_at IS 'The exp claim.';
COMMENT ON COLUMN grants.chain IS 'SHA-256 in hex of the certificate chain of the signing key, as x5u names it.';
COMMENT ON COLUMN grants.caller IS 'Who asked: the id of an API key or another proof.';
COMMENT ON COLUMN grants.request_id IS 'UUID of the request, as in the log.';
COMMENT ON COLUMN grants.justified_by IS 'The rows that justified it: delegation:ID/VERSION and allocation:ID/VERSION, separated by spaces.';
COMMENT ON COLUMN grants.withdrawn_at IS 'When the carrier took it back; NULL: never.';
COMMENT ON COLUMN grants.withdrawal_reason IS 'Why; NULL as long as withdrawn_at is.';

CREATE TABLE grant_numbers (
    jti TEXT COLLATE "C" NOT NULL REFERENCES grants (jti),
    entry INTEGER NOT NULL,
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    span BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (jti, entry),
    CHECK (first_position <= last_position)
);
CREATE INDEX grant_numbers_by_number ON grant_numbers (span, first_position, expires_at);
COMMENT ON TABLE grant_numbers IS 'The numbers of each grant, to find who was granted a number.';
COMMENT ON COLUMN grant_numbers.jti IS 'The grant.';
COMMENT ON COLUMN grant_numbers.entry IS 'Which range of its list, from 1.';
COMMENT ON COLUMN grant_numbers.first_position IS 'The first number: digits * 10^15 + value.';
COMMENT ON COLUMN grant_numbers.last_position IS 'The last number, which belongs to the range.';
COMMENT ON COLUMN grant_numbers.span IS 'The smallest power of ten that is not below the count of numbers; for the index.';
COMMENT ON COLUMN grant_numbers.expires_at IS 'As in grants, so that one index finds what is outstanding.';

CREATE TABLE audit_events (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    caller TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_events_by_subject ON audit_events (subject, id);
COMMENT ON TABLE audit_events IS 'What was done and what was refused, by whom; only ever added to.';
COMMENT ON COLUMN audit_events.id IS 'UUID of version 7, so in order of time.';
COMMENT ON COLUMN audit_events.at IS 'When.';
COMMENT ON COLUMN audit_events.caller IS 'Who: the id of an API key or another proof; command for the command line.';
COMMENT ON COLUMN audit_events.action IS 'The verb, such as issue, allocate, withdraw.';
COMMENT ON COLUMN audit_events.subject IS 'What it was done to: an account, a row, a jti.';
COMMENT ON COLUMN audit_events.outcome IS 'done, or the code of the denial.';
COMMENT ON COLUMN audit_events.detail IS 'More, as JSON; never a token or a key.';
COMMENT ON COLUMN audit_events.request_id IS 'UUID of the request, as in the log.';
