-- Long tables of delegations: rows that are written over a time, and count from one instant on. Versions that do not
-- know them would let them count at once, so none of them may write beside this one.
CREATE TABLE staged_imports (
    sequence BIGINT NOT NULL PRIMARY KEY,
    import_id TEXT COLLATE "C" NOT NULL,
    heartbeat_at BIGINT,
    effective_at BIGINT,
    last_id TEXT COLLATE "C"
);
CREATE UNIQUE INDEX staged_imports_by_import ON staged_imports (import_id);
COMMENT ON TABLE staged_imports IS 'Imports of long tables of delegations. Their rows are written over a time, and count from one instant on.';
COMMENT ON COLUMN staged_imports.sequence IS 'The sequence of the delegations that it adds, from change_counter.';
COMMENT ON COLUMN staged_imports.import_id IS 'id of its job, as in jobs; lower than the ids of the delegations.';
COMMENT ON COLUMN staged_imports.heartbeat_at IS 'When its process last wrote to it; NULL: it was given up, or has finished.';
COMMENT ON COLUMN staged_imports.effective_at IS 'From when on its delegations count; NULL: they do not.';
COMMENT ON COLUMN staged_imports.last_id IS 'Not below the id of any of its delegations; NULL as long as effective_at is.';
