-- Keys of accounts as bytes and in one B-tree, since a token for a new key writes one. Needs SQLite 3.41, for unhex.

ALTER TABLE account_keys RENAME TO old_account_keys;

-- When an account first got a token for an ACME account key. No foreign key: accounts are never deleted, and are read by the transaction that inserts a row.
CREATE TABLE account_keys (
    -- Who got the token.
    account_id TEXT NOT NULL,
    -- The ACME account key, as in grants.
    fingerprint BLOB NOT NULL,
    -- When the first token for this key was issued.
    first_used_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, fingerprint)
) WITHOUT ROWID;

INSERT INTO account_keys (account_id, fingerprint, first_used_at)
SELECT account_id, unhex(substr(fingerprint, 8), ':'), first_used_at FROM old_account_keys ORDER BY 1, 2;
DROP TABLE old_account_keys;
