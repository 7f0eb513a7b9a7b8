-- Whom an audit event concerns, so that a reseller sees the events of its own accounts, and finds them fast.

ALTER TABLE audit_events ADD COLUMN account_id TEXT COLLATE "C";
ALTER TABLE audit_events ADD COLUMN caller_account_id TEXT COLLATE "C";
COMMENT ON COLUMN audit_events.account_id IS 'The account that it is about; NULL: none, several, or none that the caller speaks for.';
COMMENT ON COLUMN audit_events.caller_account_id IS 'The account that the caller is confined to; NULL: the caller is the carrier''s, or speaks for several.';

-- What was refused as not the caller's stays the carrier's to know.
UPDATE audit_events SET account_id = subject
    WHERE outcome <> 'forbidden' AND subject IN (SELECT id FROM accounts)
    AND action IN ('issue', 'put-account', 'suspend', 'resume', 'set-lifetime');
UPDATE audit_events SET account_id = (SELECT account_id FROM delegations WHERE id = subject AND version = 1)
    WHERE action IN ('delegate', 'end-delegation');
UPDATE audit_events SET account_id = (SELECT account_id FROM grants WHERE jti = subject)
    WHERE action = 'withdraw';

CREATE INDEX audit_events_by_account ON audit_events (account_id, id);
CREATE INDEX audit_events_by_caller ON audit_events (caller, id);
CREATE INDEX audit_events_by_request ON audit_events (request_id);
