-- Proofs of control end with their delegation. Those of delegations that have ended, or are known to end, end then.
UPDATE control_proofs SET ends_at = d.valid_until, end_reason = 'delegation-ended' FROM delegations d
WHERE d.id = control_proofs.delegation_id AND d.superseded_at IS NULL AND d.valid_until IS NOT NULL
AND (control_proofs.ends_at IS NULL OR control_proofs.ends_at > d.valid_until)
AND (control_proofs.confirmed_at IS NOT NULL OR control_proofs.expires_at > d.valid_until);

-- Of some no version is left.
UPDATE control_proofs SET ends_at = d.at, end_reason = 'delegation-ended' FROM
(SELECT id, MAX(superseded_at) AS at FROM delegations GROUP BY id HAVING COUNT(superseded_at) = COUNT(*)) d
WHERE d.id = control_proofs.delegation_id AND (control_proofs.ends_at IS NULL OR control_proofs.ends_at > d.at)
AND (control_proofs.confirmed_at IS NOT NULL OR control_proofs.expires_at > d.at);

-- control_proofs.end_reason is wrong-codes, not-sent, number-excluded, number-left, account-suspended, delegation-ended,
-- cancelled, superseded or renewal-revoked.
