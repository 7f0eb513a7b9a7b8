-- What older versions do not know is lost: the iss of tokens. The events of grants lose the names of policies, which the
-- grants have.
ALTER TABLE grants RENAME TO new_grants;
ALTER TABLE grant_numbers RENAME TO new_grant_numbers;
ALTER TABLE withdrawals RENAME TO new_withdrawals;
DROP INDEX grants_by_account;
DROP INDEX grants_by_caller;
DROP INDEX grants_by_request;
DROP INDEX grants_by_number;
DROP INDEX grant_numbers_by_number;
DROP INDEX withdrawals_by_account;
DROP INDEX withdrawals_by_expiry;

CREATE TABLE grants (
    jti TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    tkvalue TEXT NOT NULL,
    ca BOOLEAN NOT NULL,
    fingerprint TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    chain TEXT NOT NULL,
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    justified_by TEXT NOT NULL,
    withdrawn_at BIGINT,
    withdrawal_reason TEXT,
    policies TEXT NOT NULL DEFAULT '',
    policy_set TEXT,
    tktype TEXT NOT NULL DEFAULT 'TNAuthList',
    dialect TEXT NOT NULL DEFAULT 'strict'
);
CREATE TABLE grant_numbers (
    jti TEXT NOT NULL REFERENCES grants (jti),
    entry INTEGER NOT NULL,
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    span BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (jti, entry),
    CHECK (first_position <= last_position)
);
CREATE TABLE withdrawals (
    sequence BIGINT NOT NULL PRIMARY KEY,
    jti TEXT NOT NULL REFERENCES grants (jti),
    account_id TEXT NOT NULL REFERENCES accounts (id),
    at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    cause TEXT,
    recorded_at BIGINT NOT NULL
);

INSERT INTO grants
SELECT lower(hex(g.jti)), g.account_id, g.tkvalue, t.ca,
    'SHA256 ' || (SELECT group_concat(byte, ':') FROM (SELECT substr(hex(g.fingerprint), 2 * n.value + 1, 2) AS byte
        FROM (WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM n WHERE value < 31) SELECT value FROM n) n)),
    g.issued_at, g.expires_at, t.chain, c.caller,
    lower(substr(hex(g.request_id), 1, 8) || '-' || substr(hex(g.request_id), 9, 4) || '-' || substr(hex(g.request_id), 13, 4)
        || '-' || substr(hex(g.request_id), 17, 4) || '-' || substr(hex(g.request_id), 21)),
    g.justified_by, g.withdrawn_at, g.withdrawal_reason, t.policies, nullif(t.policy_set, ''), t.tktype, t.dialect
FROM new_grants g JOIN grant_terms t ON t.id = g.terms_id JOIN grant_callers c ON c.id = g.caller_id;
INSERT INTO grant_numbers
SELECT lower(hex(jti)), 1, first_position, last_position, span, expires_at FROM new_grants WHERE span IS NOT NULL
UNION ALL SELECT lower(hex(jti)), entry, first_position, last_position, span, expires_at FROM new_grant_numbers;
INSERT INTO withdrawals
SELECT sequence, lower(hex(jti)), account_id, at, expires_at, reason, cause, recorded_at FROM new_withdrawals;
INSERT INTO audit_events (id, at, caller, action, subject, outcome, detail, request_id, account_id, caller_account_id)
SELECT lower(substr(hex(g.jti), 1, 8) || '-' || substr(hex(g.jti), 9, 4) || '-' || substr(hex(g.jti), 13, 4) || '-'
        || substr(hex(g.jti), 17, 4) || '-' || substr(hex(g.jti), 21, 12)),
    g.issued_at, c.caller, 'issue', g.account_id, 'done',
    json_patch(json_object('jti', lower(hex(g.jti)), 'expires', strftime('%Y-%m-%dT%H:%M:%SZ', g.expires_at, 'unixepoch')),
        g.event),
    (SELECT o.request_id FROM grants o WHERE o.jti = lower(hex(g.jti))), g.account_id, nullif(c.account_id, '')
FROM new_grants g JOIN grant_callers c ON c.id = g.caller_id WHERE g.event IS NOT NULL;

DROP TABLE new_withdrawals;
DROP TABLE new_grant_numbers;
DROP TABLE new_grants;
DROP TABLE ledger_bounds;
DROP TABLE grant_callers;
DROP TABLE grant_terms;
ALTER TABLE signing_chains DROP COLUMN last_expiry;
CREATE INDEX grants_by_account ON grants (account_id, jti);
CREATE INDEX grants_by_chain ON grants (chain, expires_at);
CREATE INDEX grants_by_account_expiry ON grants (account_id, expires_at);
CREATE INDEX grant_numbers_by_number ON grant_numbers (span, first_position, expires_at);
CREATE INDEX withdrawals_by_account ON withdrawals (account_id, sequence);
CREATE INDEX withdrawals_by_expiry ON withdrawals (expires_at, at, jti);
