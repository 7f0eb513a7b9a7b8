-- The replicas that run now, and what they must have in common.

-- The replicas that run now. Each writes its own row every second; this shows that it can write. A row that is not written any more expires.
CREATE TABLE replicas (
    -- UUID of version 7, a new one at each start.
    id TEXT NOT NULL PRIMARY KEY,
    -- The name of the machine, and the process id.
    name TEXT NOT NULL,
    -- The version of the program.
    version TEXT NOT NULL,
    -- Keyed fingerprints of its API key secrets, the newest first, separated by spaces. They reveal nothing about the secrets.
    secrets TEXT NOT NULL,
    -- The service provider codes of the carrier that it is configured with, in order, separated by spaces.
    spcs TEXT NOT NULL,
    -- The codes that other replicas may still be configured with, as in spcs; NULL: none.
    previous_spcs TEXT,
    -- When it wrote its row for the first time, by the clock of the database.
    started_at BIGINT NOT NULL,
    -- When it last wrote its row, by the clock of the database.
    seen_at BIGINT NOT NULL
);

-- Migrations that older versions of the program can write beside, as during a rolling upgrade. Such a migration adds its own row.
CREATE TABLE compatible_migrations (
    -- The version of the migration, such as 0021.
    version TEXT NOT NULL PRIMARY KEY,
    -- The version of the newest migration that a program has to know to write.
    needs TEXT NOT NULL
);
