-- Numbers that left the carrier, or came anew: what was delegated before does not revive when they return.

CREATE TABLE change_counter (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    last BIGINT NOT NULL
);
COMMENT ON TABLE change_counter IS 'Counts the changes of the inventory; one row.';
COMMENT ON COLUMN change_counter.id IS 'Always 1.';
COMMENT ON COLUMN change_counter.last IS 'The sequence of the last change. It grows from one committed change to the next, since each holds the row until COMMIT.';
INSERT INTO change_counter (id, last) VALUES (1, 1);

CREATE TABLE departures (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    cause_id TEXT COLLATE "C" NOT NULL,
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    span BIGINT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT CHECK (valid_until IS NULL),
    sequence BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    superseded_at BIGINT,
    CHECK (first_position <= last_position)
);
CREATE INDEX departures_by_number ON departures (span, first_position);
CREATE INDEX departures_by_cause ON departures (cause_id) WHERE superseded_at IS NULL;
COMMENT ON TABLE departures IS 'Numbers that left: the delegations that covered them ended for them. One row a contiguous range, however many delegations end.';
COMMENT ON COLUMN departures.id IS 'UUID of version 7, so in order of time.';
COMMENT ON COLUMN departures.kind IS 'ported-out, aging, returned (by the carrier), or acquired (the carrier had not held them just before).';
COMMENT ON COLUMN departures.cause_id IS 'id of the exclusion (ported-out, aging) or of the allocation (returned, acquired) that caused it.';
COMMENT ON COLUMN departures.first_position IS 'The first number: digits * 10^15 + value.';
COMMENT ON COLUMN departures.last_position IS 'The last number, which belongs to the range.';
COMMENT ON COLUMN departures.span IS 'The smallest power of ten that is not below the count of numbers; for the index.';
COMMENT ON COLUMN departures.valid_from IS 'When they leave; may be in the future.';
COMMENT ON COLUMN departures.valid_until IS 'Always NULL: a departure has no end. For the queries that all tables of the inventory share.';
COMMENT ON COLUMN departures.sequence IS 'The change that recorded it, from change_counter. It ends delegations of a lower sequence.';
COMMENT ON COLUMN departures.recorded_at IS 'When it was recorded.';
COMMENT ON COLUMN departures.superseded_at IS 'When it was called off before it took effect, or undone; NULL: it counts.';

ALTER TABLE delegations ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE delegations ADD COLUMN made_at BIGINT NOT NULL DEFAULT 0;
UPDATE delegations SET made_at =
    (SELECT v.recorded_at FROM delegations v WHERE v.id = delegations.id ORDER BY v.version LIMIT 1);
COMMENT ON COLUMN delegations.sequence IS 'The change that made the delegation, from change_counter; the same in all versions. 0: made before there was a counter.';
COMMENT ON COLUMN delegations.made_at IS 'When its first version was recorded; the same in all versions.';

-- What is out now, or known to leave, does not revive. What had come back before is left as it is.
INSERT INTO departures
    (id, kind, cause_id, first_position, last_position, span, valid_from, valid_until, sequence, recorded_at, superseded_at)
SELECT id, reason, id, first_position, last_position, span, valid_from, NULL, 1,
    CAST(EXTRACT(EPOCH FROM now()) AS BIGINT), NULL
FROM exclusions
WHERE superseded_at IS NULL AND reason IN ('ported-out', 'aging')
    AND (valid_until IS NULL OR valid_until > CAST(EXTRACT(EPOCH FROM now()) AS BIGINT));
