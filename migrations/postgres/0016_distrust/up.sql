-- Signing keys that are distrusted, such as stolen ones: which chains, why, and what is still to be withdrawn.

CREATE TABLE distrusted_chains (
    chain TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES signing_chains (name),
    id TEXT COLLATE "C" NOT NULL,
    public_key TEXT COLLATE "C" NOT NULL,
    certificate TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    distrusted_at BIGINT NOT NULL,
    distrusted_by TEXT COLLATE "C" NOT NULL
);
COMMENT ON TABLE distrusted_chains IS 'Certificate chains whose key is distrusted, permanently: one row a chain that was recorded for the key. A chain that comes later with the same key is never recorded in signing_chains.';
COMMENT ON COLUMN distrusted_chains.chain IS 'The chain.';
COMMENT ON COLUMN distrusted_chains.id IS 'UUID of version 7 of the deed; the same for all chains of the key.';
COMMENT ON COLUMN distrusted_chains.public_key IS 'SHA-256 in hex of the SubjectPublicKeyInfo of the key: named curve, uncompressed point.';
COMMENT ON COLUMN distrusted_chains.certificate IS 'SHA-256 in hex of the signing certificate.';
COMMENT ON COLUMN distrusted_chains.reason IS 'Why, in the words of a person.';
COMMENT ON COLUMN distrusted_chains.distrusted_at IS 'When it was distrusted.';
COMMENT ON COLUMN distrusted_chains.distrusted_by IS 'Who did it: the id of an API key or another credential; command for the command line.';

ALTER TABLE withdrawal_sweeps ADD COLUMN chain TEXT COLLATE "C";
COMMENT ON COLUMN withdrawal_sweeps.chain IS 'Only grants of this certificate chain, whose key is distrusted; NULL: of all chains. Such a sweep goes by expiry: its after_jti and last_jti enclose all ids.';
ALTER TABLE withdrawal_sweeps ADD COLUMN from_expiry BIGINT;
COMMENT ON COLUMN withdrawal_sweeps.from_expiry IS 'Grants of the chain that expire before this are done; NULL as long as chain is.';
COMMENT ON COLUMN withdrawals.reason IS 'Why: ported-out, contaminated, aging, suspended, reserved, delegation-ended, allocation-returned, account-suspended, key-distrusted, or the words of a person.';
COMMENT ON COLUMN withdrawals.cause IS 'The row by which authority ended: exclusion:ID, delegation:ID, allocation:ID, suspension:ID or distrust:ID; NULL: a person took back this grant alone.';
