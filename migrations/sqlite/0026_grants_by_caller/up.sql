-- Most callers are confined to one account and get tokens for it, and so are found by the index of that account. An index
-- by caller is kept for the others: one page less is written for most tokens. The id of a row of grant_callers is below 0 if
-- all grants that refer to it are of its account_id.

DROP INDEX grants_by_caller;
UPDATE grants SET caller_id = ~caller_id WHERE caller_id < 0;
UPDATE grant_callers SET id = ~id WHERE id < 0;

-- The events of a caller that is not confined to the account of the grant: audit_events by caller.
CREATE INDEX grants_by_caller ON grants (caller_id, jti) WHERE caller_id >= 0;
