-- Standing rights to renew: an account may have tokens of one kind, again and again, as long as a delegation lasts. Times are
-- whole seconds since 1970, UTC.

CREATE TABLE renewals (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    delegation_id TEXT COLLATE "C" NOT NULL,
    tkvalue TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    lifetime INTEGER NOT NULL,
    not_after BIGINT,
    caller TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    revoked_at BIGINT
);

COMMENT ON TABLE renewals IS 'What an account may have tokens for again and again: one list, one key. A row is never edited but for its end.';
COMMENT ON COLUMN renewals.id IS 'UUID of version 7, so in order of time.';
COMMENT ON COLUMN renewals.account_id IS 'Who gets the tokens.';
COMMENT ON COLUMN renewals.delegation_id IS 'The delegation that it ends with, whatever its version. No foreign key, since a delegation has several rows.';
COMMENT ON COLUMN renewals.tkvalue IS 'The TNAuthList of each token, as in grants.';
COMMENT ON COLUMN renewals.fingerprint IS 'The ACME account key of each token, as in grants.';
COMMENT ON COLUMN renewals.lifetime IS 'How many seconds a token lives at most.';
COMMENT ON COLUMN renewals.not_after IS 'From then on there are no tokens; NULL: the delegation alone says so.';
COMMENT ON COLUMN renewals.caller IS 'The id of the API key, or another proof, that alone may use it; NULL: whoever may mint for the account.';
COMMENT ON COLUMN renewals.created_at IS 'When it was given.';
COMMENT ON COLUMN renewals.created_by IS 'Who gave it: the id of an API key or another proof.';
COMMENT ON COLUMN renewals.revoked_at IS 'When it was taken back; NULL: it was not.';

CREATE INDEX renewals_by_account ON renewals (account_id, id);
