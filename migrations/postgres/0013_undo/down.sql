ALTER TABLE jobs DROP COLUMN undo_reason;
ALTER TABLE jobs DROP COLUMN undone_by;
ALTER TABLE jobs DROP COLUMN undone_at;
ALTER TABLE jobs DROP COLUMN changed_rows;
DROP TABLE row_changes;
