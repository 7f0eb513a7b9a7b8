-- How strictly an account's requests are read, and what kind of token a grant stands behind.

CREATE TABLE legacy_accounts (
    account_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts (id),
    since BIGINT NOT NULL
);
COMMENT ON TABLE legacy_accounts IS 'Accounts whose requests are read in the legacy dialect; those of others are read strictly.';
COMMENT ON COLUMN legacy_accounts.account_id IS 'The account.';
COMMENT ON COLUMN legacy_accounts.since IS 'Since when.';

ALTER TABLE grants ADD COLUMN tktype TEXT COLLATE "C" NOT NULL DEFAULT 'TNAuthList';
ALTER TABLE grants ADD COLUMN dialect TEXT COLLATE "C" NOT NULL DEFAULT 'strict';
COMMENT ON COLUMN grants.tktype IS 'The tktype of the token: TNAuthList or JWTClaimConstraints.';
COMMENT ON COLUMN grants.dialect IS 'How strictly the request was read: strict or legacy. In legacy, tkvalue may be padded base64, and fingerprint that of the SubjectPublicKeyInfo.';
COMMENT ON COLUMN grants.tkvalue IS 'What the token is about, character for character as asked and signed: base64 of the DER of its tktype, base64url unless the dialect is legacy.';
