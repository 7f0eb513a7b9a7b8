-- Keys of accounts as bytes and without a foreign key, since a token for a new key writes one.

ALTER TABLE account_keys DROP CONSTRAINT account_keys_account_id_fkey;
ALTER TABLE account_keys
    ALTER COLUMN fingerprint TYPE BYTEA USING decode(replace(substr(fingerprint, 8), ':', ''), 'hex');
COMMENT ON TABLE account_keys IS 'When an account first got a token for an ACME account key. No foreign key: accounts are never deleted, and are read by the transaction that inserts a row.';
