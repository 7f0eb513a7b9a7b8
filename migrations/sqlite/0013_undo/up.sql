-- What a mistake changed, so that it can be undone: imports, disconnects.

-- Which rows of the inventory one change wrote, superseded or cancelled, if it can be undone as a whole.
CREATE TABLE row_changes (
    -- id of the job of the import, or of the aging exclusion of the disconnect.
    cause_id TEXT NOT NULL,
    -- id of the row that changed.
    row_id TEXT NOT NULL,
    -- allocation, delegation or exclusion: the table of the row.
    kind TEXT NOT NULL,
    -- The version that it superseded; NULL: the row is new.
    version_before INTEGER,
    -- The version that it wrote; NULL: it cancelled the row.
    version_after INTEGER,
    PRIMARY KEY (cause_id, row_id),
    CHECK (version_before IS NOT NULL OR version_after IS NOT NULL)
);
CREATE INDEX row_changes_by_row ON row_changes (row_id);

-- How many rows of the inventory it changed, each with a row in row_changes; NULL: not known, so it cannot be undone.
ALTER TABLE jobs ADD COLUMN changed_rows BIGINT;
-- When its changes were undone; NULL: they were not.
ALTER TABLE jobs ADD COLUMN undone_at BIGINT;
-- Who undid it: the id of an API key or another proof; NULL as long as undone_at is.
ALTER TABLE jobs ADD COLUMN undone_by TEXT;
-- Why, as the caller wrote it; NULL as long as undone_at is.
ALTER TABLE jobs ADD COLUMN undo_reason TEXT;
