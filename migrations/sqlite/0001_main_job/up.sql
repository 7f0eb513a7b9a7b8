-- The main job: accounts, keys, inventory, grants, audit. Times are whole seconds since 1970, UTC.

-- Who asks for tokens: enterprises and resellers (RFC 9448 section 5.5, :id).
CREATE TABLE accounts (
    -- Chosen by the carrier: [A-Za-z0-9._~-]{1,64}.
    id TEXT NOT NULL PRIMARY KEY,
    -- A name for people; may be empty.
    name TEXT NOT NULL,
    -- The reseller that this account is a customer of; NULL: the carrier itself.
    parent_id TEXT REFERENCES accounts (id),
    -- The ids of the resellers above it and its own, each with a / in front, the topmost first.
    path TEXT NOT NULL,
    -- When the account was made.
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX accounts_by_path ON accounts (path);

-- When an account got no tokens. A row is closed by resuming, and kept.
CREATE TABLE suspensions (
    -- UUID.
    id TEXT NOT NULL PRIMARY KEY,
    -- The account.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- The reseller who suspended it; NULL: the carrier.
    suspended_by TEXT REFERENCES accounts (id),
    -- From when on.
    suspended_at BIGINT NOT NULL,
    -- Until when; NULL: still suspended.
    resumed_at BIGINT
);
CREATE UNIQUE INDEX suspensions_open ON suspensions (account_id) WHERE resumed_at IS NULL;

-- Keys of callers. The key itself is shown once and never stored.
CREATE TABLE api_keys (
    -- The public part of the key, which finds this row.
    id TEXT NOT NULL PRIMARY KEY,
    -- HMAC-SHA256 of the secret part, under a key that is not in this database.
    secret_hash BLOB NOT NULL,
    -- admin, provisioner, portal, account or auditor.
    role TEXT NOT NULL,
    -- The account of a key with role account; the reseller whose customers a provisioner or an auditor is confined to; else NULL.
    account_id TEXT REFERENCES accounts (id),
    -- What the key is for, in the words of who made it; may be empty.
    label TEXT NOT NULL,
    -- When the key was made.
    created_at BIGINT NOT NULL,
    -- When it stopped working; NULL: it works.
    revoked_at BIGINT
);

-- The accounts that a key with role portal was given.
CREATE TABLE api_key_accounts (
    -- The key.
    api_key_id TEXT NOT NULL REFERENCES api_keys (id),
    -- An account that it may mint for.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    PRIMARY KEY (api_key_id, account_id)
);

-- Numbers that the carrier holds. One row a version; the newest is not superseded.
CREATE TABLE allocations (
    -- UUID, the same for all versions.
    id TEXT NOT NULL,
    -- Counts from 1.
    version INTEGER NOT NULL,
    -- Service provider code that holds them, byte for byte.
    spc TEXT NOT NULL,
    -- The first number: digits * 10^15 + value.
    first_position BIGINT NOT NULL,
    -- The last number, which belongs to the range.
    last_position BIGINT NOT NULL,
    -- The smallest power of ten that is not below the count of numbers; for the index.
    span BIGINT NOT NULL,
    -- block, code, ported-in or toll-free.
    basis TEXT NOT NULL,
    -- From when on it holds.
    valid_from BIGINT NOT NULL,
    -- The first second at which it no longer holds; NULL: no known end.
    valid_until BIGINT,
    -- When this version was recorded.
    recorded_at BIGINT NOT NULL,
    -- When a newer version took its place; NULL: this is the newest.
    superseded_at BIGINT,
    PRIMARY KEY (id, version),
    CHECK (first_position <= last_position),
    CHECK (valid_until IS NULL OR valid_from < valid_until)
);
CREATE INDEX allocations_by_number ON allocations (span, first_position);
CREATE UNIQUE INDEX allocations_newest ON allocations (id) WHERE superseded_at IS NULL;

-- Numbers lent to an account. One row a version; the newest is not superseded.
CREATE TABLE delegations (
    -- UUID, the same for all versions.
    id TEXT NOT NULL,
    -- Counts from 1.
    version INTEGER NOT NULL,
    -- Who may get tokens for them.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- id of the delegation of a reseller that this one is cut from; NULL: the carrier lends.
    parent_id TEXT,
    -- The reseller who lends, which is the account of that delegation; NULL: the carrier lends.
    lender_id TEXT REFERENCES accounts (id),
    -- The first number: digits * 10^15 + value.
    first_position BIGINT NOT NULL,
    -- The last number, which belongs to the range.
    last_position BIGINT NOT NULL,
    -- The smallest power of ten that is not below the count of numbers; for the index.
    span BIGINT NOT NULL,
    -- Whether tokens for CA certificates are allowed (RFC 9447 section 4, ca).
    ca BOOLEAN NOT NULL,
    -- Whether the account may lend the numbers on to customers of its own.
    lend_on BOOLEAN NOT NULL,
    -- Whether the reseller who lends may still get tokens for the numbers itself.
    lender_keeps BOOLEAN NOT NULL,
    -- The carrier's own order or contract.
    reference TEXT,
    -- From when on it holds.
    valid_from BIGINT NOT NULL,
    -- The first second at which it no longer holds; NULL: no known end.
    valid_until BIGINT,
    -- When this version was recorded.
    recorded_at BIGINT NOT NULL,
    -- When a newer version took its place; NULL: this is the newest.
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

-- Numbers inside an allocation without authority now. One row a version; the newest is not superseded.
CREATE TABLE exclusions (
    -- UUID, the same for all versions.
    id TEXT NOT NULL,
    -- Counts from 1.
    version INTEGER NOT NULL,
    -- The first number: digits * 10^15 + value.
    first_position BIGINT NOT NULL,
    -- The last number, which belongs to the range.
    last_position BIGINT NOT NULL,
    -- The smallest power of ten that is not below the count of numbers; for the index.
    span BIGINT NOT NULL,
    -- ported-out, contaminated, aging, suspended or reserved.
    reason TEXT NOT NULL,
    -- From when on it holds.
    valid_from BIGINT NOT NULL,
    -- The first second at which it no longer holds; NULL: no known end.
    valid_until BIGINT,
    -- When this version was recorded.
    recorded_at BIGINT NOT NULL,
    -- When a newer version took its place; NULL: this is the newest.
    superseded_at BIGINT,
    PRIMARY KEY (id, version),
    CHECK (first_position <= last_position),
    CHECK (valid_until IS NULL OR valid_from < valid_until)
);
CREATE INDEX exclusions_by_number ON exclusions (span, first_position);
CREATE UNIQUE INDEX exclusions_newest ON exclusions (id) WHERE superseded_at IS NULL;

-- The record behind each token; written and committed before the token is signed.
CREATE TABLE grants (
    -- The jti claim (RFC 9448 section 5.3).
    jti TEXT NOT NULL PRIMARY KEY,
    -- Who got the token.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- The TNAuthList exactly as asked and signed: base64url of its DER.
    tkvalue TEXT NOT NULL,
    -- The ca of the token.
    ca BOOLEAN NOT NULL,
    -- The fingerprint of the token (RFC 9448 section 5.4).
    fingerprint TEXT NOT NULL,
    -- The iat claim.
    issued_at BIGINT NOT NULL,
    -- The exp claim.
    expires_at BIGINT NOT NULL,
    -- SHA-256 in hex of the certificate chain of the signing key, as x5u names it.
    chain TEXT NOT NULL,
    -- Who asked: the id of an API key or another proof.
    caller TEXT NOT NULL,
    -- UUID of the request, as in the log.
    request_id TEXT NOT NULL,
    -- The rows that justified it: delegation:ID/VERSION and allocation:ID/VERSION, separated by spaces.
    justified_by TEXT NOT NULL,
    -- When the carrier took it back; NULL: never.
    withdrawn_at BIGINT,
    -- Why; NULL as long as withdrawn_at is.
    withdrawal_reason TEXT
);
CREATE INDEX grants_by_account ON grants (account_id, jti);

-- The numbers of each grant, to find who was granted a number.
CREATE TABLE grant_numbers (
    -- The grant.
    jti TEXT NOT NULL REFERENCES grants (jti),
    -- Which range of its list, from 1.
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
);
CREATE INDEX grant_numbers_by_number ON grant_numbers (span, first_position, expires_at);

-- What was done and what was refused, by whom; only ever added to.
CREATE TABLE audit_events (
    -- UUID of version 7, so in order of time.
    id TEXT NOT NULL PRIMARY KEY,
    -- When.
    at BIGINT NOT NULL,
    -- Who: the id of an API key or another proof; command for the command line.
    caller TEXT NOT NULL,
    -- The verb, such as issue, allocate, withdraw.
    action TEXT NOT NULL,
    -- What it was done to: an account, a row, a jti.
    subject TEXT NOT NULL,
    -- done, or the code of the denial.
    outcome TEXT NOT NULL,
    -- More, as JSON; never a token or a key.
    detail TEXT NOT NULL,
    -- UUID of the request, as in the log.
    request_id TEXT NOT NULL
);
CREATE INDEX audit_events_by_subject ON audit_events (subject, id);
