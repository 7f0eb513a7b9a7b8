-- How strictly an account's requests are read, and what kind of token a grant stands behind.

-- Accounts whose requests are read in the legacy dialect; those of others are read strictly.
CREATE TABLE legacy_accounts (
    -- The account.
    account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
    -- Since when.
    since BIGINT NOT NULL
);

-- The tktype of the token: TNAuthList or JWTClaimConstraints.
ALTER TABLE grants ADD COLUMN tktype TEXT NOT NULL DEFAULT 'TNAuthList';
-- How strictly the request was read: strict or legacy. In legacy, tkvalue may be padded base64, and fingerprint that of the
-- SubjectPublicKeyInfo.
ALTER TABLE grants ADD COLUMN dialect TEXT NOT NULL DEFAULT 'strict';
