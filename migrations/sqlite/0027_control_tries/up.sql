-- Wrong codes are counted over all proofs of an account, and of a customer with all accounts below, so that an account
-- with many numbers has no more guesses than one with few.

-- The proofs of an account with wrong codes: Tx::control_tries.
CREATE INDEX control_proofs_tried ON control_proofs (account_id, started_at) WHERE tries > 0;

-- control_proofs.end_reason can be `revoked` as well: the carrier took a confirmed proof back.
