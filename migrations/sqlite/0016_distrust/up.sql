-- Signing keys that are distrusted, such as stolen ones: which chains, why, and what is still to be withdrawn.

-- Certificate chains whose key is distrusted, permanently: one row a chain that was recorded for the key. A chain that
-- comes later with the same key is never recorded in signing_chains.
CREATE TABLE distrusted_chains (
    -- The chain.
    chain TEXT NOT NULL PRIMARY KEY REFERENCES signing_chains (name),
    -- UUID of version 7 of the deed; the same for all chains of the key.
    id TEXT NOT NULL,
    -- SHA-256 in hex of the SubjectPublicKeyInfo of the key: named curve, uncompressed point.
    public_key TEXT NOT NULL,
    -- SHA-256 in hex of the signing certificate.
    certificate TEXT NOT NULL,
    -- Why, in the words of a person.
    reason TEXT NOT NULL,
    -- When it was distrusted.
    distrusted_at BIGINT NOT NULL,
    -- Who did it: the id of an API key or another credential; command for the command line.
    distrusted_by TEXT NOT NULL
);

-- Only grants of this certificate chain, whose key is distrusted; NULL: of all chains. Such a sweep goes by expiry: its
-- after_jti and last_jti enclose all ids. It has the reason key-distrusted and the cause distrust:ID, and so have its
-- rows in withdrawals.
ALTER TABLE withdrawal_sweeps ADD COLUMN chain TEXT;
-- Grants of the chain that expire before this are done; NULL as long as chain is.
ALTER TABLE withdrawal_sweeps ADD COLUMN from_expiry BIGINT;
