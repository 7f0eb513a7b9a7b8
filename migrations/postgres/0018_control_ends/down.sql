-- A proof that has ended stays so.
COMMENT ON COLUMN control_proofs.end_reason IS 'Why: wrong-codes, not-sent, number-excluded, number-left, account-suspended, delegation-ended; NULL as long as ends_at is.';
