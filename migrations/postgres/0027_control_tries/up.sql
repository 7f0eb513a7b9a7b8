-- Wrong codes are counted over all proofs of an account, and of a customer with all accounts below, so that an account
-- with many numbers has no more guesses than one with few.

-- The proofs of an account with wrong codes: Tx::control_tries.
CREATE INDEX control_proofs_tried ON control_proofs (account_id, started_at) WHERE tries > 0;

COMMENT ON COLUMN control_proofs.end_reason IS 'Why: wrong-codes, not-sent, number-excluded, number-left, account-suspended, delegation-ended, cancelled, revoked, superseded, renewal-revoked; NULL as long as ends_at is.';
