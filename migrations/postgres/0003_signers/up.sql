-- Which certificate chains are published and which one signs, the same for all replicas; how long tokens of an account live.

CREATE TABLE signing_chains (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    spcs TEXT COLLATE "C" NOT NULL,
    pem TEXT COLLATE "C" NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    retired_at BIGINT,
    noted TEXT COLLATE "C" NOT NULL
);
COMMENT ON TABLE signing_chains IS 'Certificate chains of signing keys. What none uses any more stays, since old grants name it.';
COMMENT ON COLUMN signing_chains.name IS 'SHA-256 in hex of what is published, as x5u names it.';
COMMENT ON COLUMN signing_chains.spcs IS 'The service provider codes of its certificate, separated by spaces.';
COMMENT ON COLUMN signing_chains.pem IS 'What is published: PEM, the signing certificate first.';
COMMENT ON COLUMN signing_chains.not_before IS 'From when on all of its certificates are valid.';
COMMENT ON COLUMN signing_chains.not_after IS 'The last second at which all of them are.';
COMMENT ON COLUMN signing_chains.published_at IS 'When the replicas began to publish it.';
COMMENT ON COLUMN signing_chains.active_from IS 'From when on it signs, unless a later one does.';
COMMENT ON COLUMN signing_chains.retired_at IS 'From when on it is not published any more; NULL: no such time is known.';
COMMENT ON COLUMN signing_chains.noted IS 'The last state that the audit trail tells of: published, active, retiring or retired.';

CREATE TABLE horizon_accounts (
    account_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts (id),
    since BIGINT NOT NULL
);
COMMENT ON TABLE horizon_accounts IS 'Accounts whose tokens live as long as the numbers are vouched for (grant-horizon mode); others are in proof mode.';
COMMENT ON COLUMN horizon_accounts.account_id IS 'The account.';
COMMENT ON COLUMN horizon_accounts.since IS 'Since when.';

-- A chain is published until the last of its tokens has expired.
CREATE INDEX grants_by_chain ON grants (chain, expires_at);
