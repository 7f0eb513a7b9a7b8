DROP INDEX audit_events_by_request;
DROP INDEX audit_events_by_caller;
DROP INDEX audit_events_by_account;
ALTER TABLE audit_events DROP COLUMN caller_account_id;
ALTER TABLE audit_events DROP COLUMN account_id;
