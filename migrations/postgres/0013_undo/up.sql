-- What a mistake changed, so that it can be undone: imports, disconnects.

CREATE TABLE row_changes (
    cause_id TEXT COLLATE "C" NOT NULL,
    row_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    version_before INTEGER,
    version_after INTEGER,
    PRIMARY KEY (cause_id, row_id),
    CHECK (version_before IS NOT NULL OR version_after IS NOT NULL)
);
CREATE INDEX row_changes_by_row ON row_changes (row_id);
COMMENT ON TABLE row_changes IS 'Which rows of the inventory one change wrote, superseded or cancelled, if it can be undone as a whole.';
COMMENT ON COLUMN row_changes.cause_id IS 'id of the job of the import, or of the aging exclusion of the disconnect.';
COMMENT ON COLUMN row_changes.row_id IS 'id of the row that changed.';
COMMENT ON COLUMN row_changes.kind IS 'allocation, delegation or exclusion: the table of the row.';
COMMENT ON COLUMN row_changes.version_before IS 'The version that it superseded; NULL: the row is new.';
COMMENT ON COLUMN row_changes.version_after IS 'The version that it wrote; NULL: it cancelled the row.';

ALTER TABLE jobs ADD COLUMN changed_rows BIGINT;
ALTER TABLE jobs ADD COLUMN undone_at BIGINT;
ALTER TABLE jobs ADD COLUMN undone_by TEXT COLLATE "C";
ALTER TABLE jobs ADD COLUMN undo_reason TEXT COLLATE "C";
COMMENT ON COLUMN jobs.changed_rows IS 'How many rows of the inventory it changed, each with a row in row_changes; NULL: not known, so it cannot be undone.';
COMMENT ON COLUMN jobs.undone_at IS 'When its changes were undone; NULL: they were not.';
COMMENT ON COLUMN jobs.undone_by IS 'Who undid it: the id of an API key or another proof; NULL as long as undone_at is.';
COMMENT ON COLUMN jobs.undo_reason IS 'Why, as the caller wrote it; NULL as long as undone_at is.';
