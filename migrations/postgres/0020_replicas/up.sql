-- The replicas that run now, and what they must have in common.

CREATE TABLE replicas (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    secrets TEXT COLLATE "C" NOT NULL,
    spcs TEXT COLLATE "C" NOT NULL,
    previous_spcs TEXT COLLATE "C",
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);
COMMENT ON TABLE replicas IS 'The replicas that run now. Each writes its own row every second; this shows that it can write. A row that is not written any more expires.';
COMMENT ON COLUMN replicas.id IS 'UUID of version 7, a new one at each start.';
COMMENT ON COLUMN replicas.name IS 'The name of the machine, and the process id.';
COMMENT ON COLUMN replicas.version IS 'The version of the program.';
COMMENT ON COLUMN replicas.secrets IS 'Keyed fingerprints of its API key secrets, the newest first, separated by spaces. They reveal nothing about the secrets.';
COMMENT ON COLUMN replicas.spcs IS 'The service provider codes of the carrier that it is configured with, in order, separated by spaces.';
COMMENT ON COLUMN replicas.previous_spcs IS 'The codes that other replicas may still be configured with, as in spcs; NULL: none.';
COMMENT ON COLUMN replicas.started_at IS 'When it wrote its row for the first time, by the clock of the database.';
COMMENT ON COLUMN replicas.seen_at IS 'When it last wrote its row, by the clock of the database.';

CREATE TABLE compatible_migrations (
    version TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    needs TEXT COLLATE "C" NOT NULL
);
COMMENT ON TABLE compatible_migrations IS 'Migrations that older versions of the program can write beside, as during a rolling upgrade. Such a migration adds its own row.';
COMMENT ON COLUMN compatible_migrations.version IS 'The version of the migration, such as 0021.';
COMMENT ON COLUMN compatible_migrations.needs IS 'The version of the newest migration that a program has to know to write.';
