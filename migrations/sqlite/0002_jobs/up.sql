-- Long work that is answered later, such as an import over HTTP. Times are whole seconds since 1970, UTC.

-- One piece of such work. Unlike the inventory, a row follows its work and keeps no versions.
CREATE TABLE jobs (
    -- UUID of version 7, so in order of time.
    id TEXT NOT NULL PRIMARY KEY,
    -- queued, running, done, failed or lost.
    state TEXT NOT NULL,
    -- The format of the table that is imported.
    format TEXT NOT NULL,
    -- The codes whose lines are the carrier's, with commas; may be empty.
    ocns TEXT NOT NULL,
    -- Service provider code that holds the numbers; NULL: the table names it, or none is needed.
    spc TEXT,
    -- Whether it only says what would be done.
    dry_run BOOLEAN NOT NULL,
    -- Whether much may end by it.
    confirm BOOLEAN NOT NULL,
    -- Who asked: the id of an API key or another proof.
    caller TEXT NOT NULL,
    -- UUID of the request, as in the log.
    request_id TEXT NOT NULL,
    -- UUID of the process that has the file and does the work.
    runner TEXT NOT NULL,
    -- Size of the file.
    bytes_total BIGINT NOT NULL,
    -- How many bytes of it are read.
    bytes_read BIGINT NOT NULL,
    -- How many lines of it are read.
    lines_read BIGINT NOT NULL,
    -- What was done, or would be, as JSON; NULL: nothing yet.
    result TEXT,
    -- Code of the failure; NULL: none.
    failure_code TEXT,
    -- The failure in words; NULL as long as failure_code is.
    failure TEXT,
    -- When it was asked for.
    created_at BIGINT NOT NULL,
    -- When its work began; NULL: not yet.
    started_at BIGINT,
    -- When its process last said that it is alive.
    heartbeat_at BIGINT NOT NULL,
    -- When it was done, failed or taken for lost; NULL: not yet.
    finished_at BIGINT
);
CREATE INDEX jobs_unfinished ON jobs (heartbeat_at) WHERE finished_at IS NULL;
