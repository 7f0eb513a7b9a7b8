DROP INDEX grants_by_caller;
-- The events of one caller: audit_events by caller.
CREATE INDEX grants_by_caller ON grants (caller_id, jti);
