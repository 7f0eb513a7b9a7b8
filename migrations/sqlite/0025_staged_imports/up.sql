-- Long tables of delegations: rows that are written over a time, and count from one instant on. Versions that do not
-- know them would let them count at once, so none of them may write beside this one.
CREATE TABLE staged_imports (
    -- The sequence of the delegations that it adds, from change_counter.
    sequence BIGINT NOT NULL PRIMARY KEY,
    -- id of its job, as in jobs; lower than the ids of the delegations.
    import_id TEXT NOT NULL,
    -- When its process last wrote to it; NULL: it was given up, or has finished.
    heartbeat_at BIGINT,
    -- From when on its delegations count; NULL: they do not.
    effective_at BIGINT,
    -- Not below the id of any of its delegations; NULL as long as effective_at is.
    last_id TEXT
);
CREATE UNIQUE INDEX staged_imports_by_import ON staged_imports (import_id);
