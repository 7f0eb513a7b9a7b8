DROP TABLE control_receipts;
ALTER TABLE control_messages DROP COLUMN unclear_attempts;
