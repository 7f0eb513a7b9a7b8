ALTER TABLE account_keys
    ALTER COLUMN fingerprint TYPE TEXT COLLATE "C"
    USING 'SHA256 ' || rtrim(regexp_replace(upper(encode(fingerprint, 'hex')), '(..)', '\1:', 'g'), ':');
ALTER TABLE account_keys ADD FOREIGN KEY (account_id) REFERENCES accounts (id);
COMMENT ON TABLE account_keys IS 'When an account first got a token for an ACME account key.';
