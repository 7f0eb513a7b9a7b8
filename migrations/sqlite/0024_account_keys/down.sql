-- The fingerprint is text again: SHA256 and the bytes in hex, separated by colons.

ALTER TABLE account_keys RENAME TO new_account_keys;

CREATE TABLE account_keys (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    fingerprint TEXT NOT NULL,
    first_used_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, fingerprint)
);

WITH RECURSIVE places (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM places WHERE n < 31)
INSERT INTO account_keys (account_id, fingerprint, first_used_at)
SELECT account_id,
    'SHA256 ' || (SELECT group_concat(substr(hex(fingerprint), 2 * n + 1, 2), ':') FROM places),
    first_used_at
FROM new_account_keys;
DROP TABLE new_account_keys;
