-- Standing rights to renew: an account may have tokens of one kind, again and again, as long as a delegation lasts. Times are
-- whole seconds since 1970, UTC.

-- What an account may have tokens for again and again: one list, one key. A row is never edited but for its end.
CREATE TABLE renewals (
    -- UUID of version 7, so in order of time.
    id TEXT NOT NULL PRIMARY KEY,
    -- Who gets the tokens.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- The delegation that it ends with, whatever its version. No foreign key, since a delegation has several rows.
    delegation_id TEXT NOT NULL,
    -- The TNAuthList of each token, as in grants.
    tkvalue TEXT NOT NULL,
    -- The ACME account key of each token, as in grants.
    fingerprint TEXT NOT NULL,
    -- How many seconds a token lives at most.
    lifetime INTEGER NOT NULL,
    -- From then on there are no tokens; NULL: the delegation alone says so.
    not_after BIGINT,
    -- The id of the API key, or another proof, that alone may use it; NULL: whoever may mint for the account.
    caller TEXT,
    -- When it was given.
    created_at BIGINT NOT NULL,
    -- Who gave it: the id of an API key or another proof.
    created_by TEXT NOT NULL,
    -- When it was taken back; NULL: it was not.
    revoked_at BIGINT
);

CREATE INDEX renewals_by_account ON renewals (account_id, id);
