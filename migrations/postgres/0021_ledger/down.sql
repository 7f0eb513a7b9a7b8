-- What older versions do not know is lost: the iss of tokens. The events of grants lose the names of policies, which the
-- grants have. The comments of columns are those of the migrations before.
ALTER TABLE grants RENAME TO new_grants;
ALTER TABLE grant_numbers RENAME TO new_grant_numbers;
ALTER INDEX grants_pkey RENAME TO new_grants_pkey;
ALTER INDEX grant_numbers_pkey RENAME TO new_grant_numbers_pkey;
DROP INDEX grants_by_account;
DROP INDEX grants_by_caller;
DROP INDEX grants_by_request;
DROP INDEX grants_by_number;
DROP INDEX grant_numbers_by_number;

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
    withdrawal_reason TEXT COLLATE "C",
    policies TEXT COLLATE "C" NOT NULL DEFAULT '',
    policy_set TEXT COLLATE "C",
    tktype TEXT COLLATE "C" NOT NULL DEFAULT 'TNAuthList',
    dialect TEXT COLLATE "C" NOT NULL DEFAULT 'strict'
);
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

INSERT INTO grants
SELECT encode(g.jti, 'hex'), g.account_id, g.tkvalue, t.ca,
    'SHA256 ' || upper(regexp_replace(encode(g.fingerprint, 'hex'), '(..)(?!$)', '\1:', 'g')),
    g.issued_at, g.expires_at, t.chain, c.caller, encode(g.request_id, 'hex')::uuid::text, g.justified_by,
    g.withdrawn_at, g.withdrawal_reason, t.policies, nullif(t.policy_set, ''), t.tktype, t.dialect
FROM new_grants g JOIN grant_terms t ON t.id = g.terms_id JOIN grant_callers c ON c.id = g.caller_id;
INSERT INTO grant_numbers
SELECT encode(jti, 'hex'), 1, first_position, last_position, span, expires_at FROM new_grants WHERE span IS NOT NULL
UNION ALL SELECT encode(jti, 'hex'), entry, first_position, last_position, span, expires_at FROM new_grant_numbers;
ALTER TABLE withdrawals ALTER COLUMN jti TYPE TEXT COLLATE "C" USING encode(jti, 'hex');
ALTER TABLE withdrawals ADD CONSTRAINT withdrawals_jti_fkey FOREIGN KEY (jti) REFERENCES grants (jti);
INSERT INTO audit_events (id, at, caller, action, subject, outcome, detail, request_id, account_id, caller_account_id)
SELECT substr(encode(g.jti, 'hex'), 1, 32)::uuid::text, g.issued_at, c.caller, 'issue', g.account_id, 'done',
    (jsonb_build_object('jti', encode(g.jti, 'hex'), 'expires',
        to_char(to_timestamp(g.expires_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) || g.event::jsonb)::text,
    encode(g.request_id, 'hex')::uuid::text, g.account_id, nullif(c.account_id, '')
FROM new_grants g JOIN grant_callers c ON c.id = g.caller_id WHERE g.event IS NOT NULL;

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
