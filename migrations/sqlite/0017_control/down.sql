DROP INDEX renewals_control_due;
ALTER TABLE renewals DROP COLUMN control_due_at;
ALTER TABLE renewals DROP COLUMN control_max_age;
ALTER TABLE renewals DROP COLUMN control_method;
DROP TABLE account_keys;
DROP TABLE control_samples;
DROP TABLE control_messages;
DROP TABLE control_proofs;
