-- Which certificate chains are published and which one signs, the same for all replicas; how long tokens of an account live.

-- Certificate chains of signing keys. What none uses any more stays, since old grants name it.
CREATE TABLE signing_chains (
    -- SHA-256 in hex of what is published, as x5u names it.
    name TEXT NOT NULL PRIMARY KEY,
    -- The service provider codes of its certificate, separated by spaces.
    spcs TEXT NOT NULL,
    -- What is published: PEM, the signing certificate first.
    pem TEXT NOT NULL,
    -- From when on all of its certificates are valid.
    not_before BIGINT NOT NULL,
    -- The last second at which all of them are.
    not_after BIGINT NOT NULL,
    -- When the replicas began to publish it.
    published_at BIGINT NOT NULL,
    -- From when on it signs, unless a later one does.
    active_from BIGINT NOT NULL,
    -- From when on it is not published any more; NULL: no such time is known.
    retired_at BIGINT,
    -- The last state that the audit trail tells of: published, active, retiring or retired.
    noted TEXT NOT NULL
);

-- Accounts whose tokens live as long as the numbers are vouched for (grant-horizon mode); others are in proof mode.
CREATE TABLE horizon_accounts (
    -- The account.
    account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
    -- Since when.
    since BIGINT NOT NULL
);

-- A chain is published until the last of its tokens has expired.
CREATE INDEX grants_by_chain ON grants (chain, expires_at);
