-- Long work that is answered later, such as an import over HTTP. Times are whole seconds since 1970, UTC.

CREATE TABLE jobs (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    ocns TEXT COLLATE "C" NOT NULL,
    spc TEXT COLLATE "C",
    dry_run BOOLEAN NOT NULL,
    confirm BOOLEAN NOT NULL,
    caller TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    runner TEXT COLLATE "C" NOT NULL,
    bytes_total BIGINT NOT NULL,
    bytes_read BIGINT NOT NULL,
    lines_read BIGINT NOT NULL,
    result TEXT COLLATE "C",
    failure_code TEXT COLLATE "C",
    failure TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    heartbeat_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX jobs_unfinished ON jobs (heartbeat_at) WHERE finished_at IS NULL;
COMMENT ON TABLE jobs IS 'One piece of such work. Unlike the inventory, a row follows its work and keeps no versions.';
COMMENT ON COLUMN jobs.id IS 'UUID of version 7, so in order of time.';
COMMENT ON COLUMN jobs.state IS 'queued, running, done, failed or lost.';
COMMENT ON COLUMN jobs.format IS 'The format of the table that is imported.';
COMMENT ON COLUMN jobs.ocns IS 'The codes whose lines are the carrier''s, with commas; may be empty.';
COMMENT ON COLUMN jobs.spc IS 'Service provider code that holds the numbers; NULL: the table names it, or none is needed.';
COMMENT ON COLUMN jobs.dry_run IS 'Whether it only says what would be done.';
COMMENT ON COLUMN jobs.confirm IS 'Whether much may end by it.';
COMMENT ON COLUMN jobs.caller IS 'Who asked: the id of an API key or another proof.';
COMMENT ON COLUMN jobs.request_id IS 'UUID of the request, as in the log.';
COMMENT ON COLUMN jobs.runner IS 'UUID of the process that has the file and does the work.';
COMMENT ON COLUMN jobs.bytes_total IS 'Size of the file.';
COMMENT ON COLUMN jobs.bytes_read IS 'How many bytes of it are read.';
COMMENT ON COLUMN jobs.lines_read IS 'How many lines of it are read.';
COMMENT ON COLUMN jobs.result IS 'What was done, or would be, as JSON; NULL: nothing yet.';
COMMENT ON COLUMN jobs.failure_code IS 'Code of the failure; NULL: none.';
COMMENT ON COLUMN jobs.failure IS 'The failure in words; NULL as long as failure_code is.';
COMMENT ON COLUMN jobs.created_at IS 'When it was asked for.';
COMMENT ON COLUMN jobs.started_at IS 'When its work began; NULL: not yet.';
COMMENT ON COLUMN jobs.heartbeat_at IS 'When its process last said that it is alive.';
COMMENT ON COLUMN jobs.finished_at IS 'When it was done, failed or taken for lost; NULL: not yet.';
