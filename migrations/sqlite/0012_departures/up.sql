-- Numbers that left the carrier, or came anew: what was delegated before does not revive when they return.

-- Counts the changes of the inventory; one row.
CREATE TABLE change_counter (
    -- Always 1.
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- The sequence of the last change. It grows from one committed change to the next.
    last BIGINT NOT NULL
);
INSERT INTO change_counter (id, last) VALUES (1, 1);

-- Numbers that left: the delegations that covered them ended for them. One row a contiguous range, however many
-- delegations end.
CREATE TABLE departures (
    -- UUID of version 7, so in order of time.
    id TEXT NOT NULL PRIMARY KEY,
    -- ported-out, aging, returned (by the carrier), or acquired (the carrier had not held them just before).
    kind TEXT NOT NULL,
    -- id of the exclusion (ported-out, aging) or of the allocation (returned, acquired) that caused it.
    cause_id TEXT NOT NULL,
    -- The first number: digits * 10^15 + value.
    first_position BIGINT NOT NULL,
    -- The last number, which belongs to the range.
    last_position BIGINT NOT NULL,
    -- The smallest power of ten that is not below the count of numbers; for the index.
    span BIGINT NOT NULL,
    -- When they leave; may be in the future.
    valid_from BIGINT NOT NULL,
    -- Always NULL: a departure has no end. For the queries that all tables of the inventory share.
    valid_until BIGINT CHECK (valid_until IS NULL),
    -- The change that recorded it, from change_counter. It ends delegations of a lower sequence.
    sequence BIGINT NOT NULL,
    -- When it was recorded.
    recorded_at BIGINT NOT NULL,
    -- When it was called off before it took effect, or undone; NULL: it counts.
    superseded_at BIGINT,
    CHECK (first_position <= last_position)
);
CREATE INDEX departures_by_number ON departures (span, first_position);
CREATE INDEX departures_by_cause ON departures (cause_id) WHERE superseded_at IS NULL;

-- The change that made the delegation, from change_counter; the same in all versions. 0: made before there was a counter.
ALTER TABLE delegations ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
-- When its first version was recorded; the same in all versions.
ALTER TABLE delegations ADD COLUMN made_at BIGINT NOT NULL DEFAULT 0;
UPDATE delegations SET made_at =
    (SELECT v.recorded_at FROM delegations v WHERE v.id = delegations.id ORDER BY v.version LIMIT 1);

-- What is out now, or known to leave, does not revive. What had come back before is left as it is.
INSERT INTO departures
    (id, kind, cause_id, first_position, last_position, span, valid_from, valid_until, sequence, recorded_at, superseded_at)
SELECT id, reason, id, first_position, last_position, span, valid_from, NULL, 1,
    CAST(strftime('%s', 'now') AS BIGINT), NULL
FROM exclusions
WHERE superseded_at IS NULL AND reason IN ('ported-out', 'aging')
    AND (valid_until IS NULL OR valid_until > CAST(strftime('%s', 'now') AS BIGINT));
