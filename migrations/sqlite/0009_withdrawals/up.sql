-- Grants that were taken back, in an order that readers can follow; who is told of it. Times are whole
-- seconds since 1970, UTC.

-- Each time that a grant was taken back; one that is taken back earlier than was said before has two rows.
CREATE TABLE withdrawals (
    -- Grows from one committed transaction to the next, which the lock of the writer orders. Starts from the time in microseconds, so that gaps tell nothing.
    sequence BIGINT NOT NULL PRIMARY KEY,
    -- The grant.
    jti TEXT NOT NULL REFERENCES grants (jti),
    -- Who got the token, as in grants.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- From when on it is taken back; may lie ahead.
    at BIGINT NOT NULL,
    -- The exp claim, as in grants.
    expires_at BIGINT NOT NULL,
    -- Why: ported-out, contaminated, aging, suspended, reserved, delegation-ended, allocation-returned, account-suspended, or the words of a person.
    reason TEXT NOT NULL,
    -- The row by which authority ended: exclusion:ID, delegation:ID, allocation:ID or suspension:ID; NULL: a person took back this grant alone.
    cause TEXT,
    -- When it was recorded.
    recorded_at BIGINT NOT NULL
);
CREATE INDEX withdrawals_by_account ON withdrawals (account_id, sequence);
CREATE INDEX withdrawals_by_expiry ON withdrawals (expires_at, at, jti);

-- Losses of authority that touched more grants than one transaction takes back: what is left to do. Empty most of the time.
CREATE TABLE withdrawal_sweeps (
    -- UUID of version 7, so in order of time.
    id TEXT NOT NULL PRIMARY KEY,
    -- Grants of this account and of all below it; NULL: of everybody.
    account_id TEXT REFERENCES accounts (id),
    -- Grants that touch numbers from this one on: digits * 10^15 + value; NULL: whatever their numbers.
    first_position BIGINT,
    -- The last of these numbers; NULL as long as first_position is.
    last_position BIGINT,
    -- From when on they are taken back.
    at BIGINT NOT NULL,
    -- Why, as in withdrawals.
    reason TEXT NOT NULL,
    -- The row by which authority ended, as in withdrawals.
    cause TEXT,
    -- Up to this jti it is done.
    after_jti TEXT NOT NULL,
    -- The last jti that there was when authority ended; what was granted later is not touched.
    last_jti TEXT NOT NULL,
    -- When authority was taken.
    recorded_at BIGINT NOT NULL
);

-- Who is told of what happens, and where. The outbox is the table withdrawals: each row here has its own position in it.
CREATE TABLE webhooks (
    -- UUID of version 7, so in order of time.
    id TEXT NOT NULL PRIMARY KEY,
    -- It is told of this account; NULL: of everybody, for the carrier.
    account_id TEXT REFERENCES accounts (id),
    -- Whether it is told of all below the account too.
    below BOOLEAN NOT NULL,
    -- Where to: https, a public host.
    url TEXT NOT NULL,
    -- The kinds of events, separated by spaces.
    kinds TEXT NOT NULL,
    -- Which secret signs, from 1. The secret itself is derived from this and the id, by a key that is not in the database.
    generation INTEGER NOT NULL,
    -- Until when the secret before it signs too; NULL: it does not.
    previous_until BIGINT,
    -- The last sequence of withdrawals that a delivery was made of.
    position BIGINT NOT NULL,
    -- Not before this is anything sent to it.
    next_attempt_at BIGINT NOT NULL,
    -- UUID of the process that sends now; NULL: none does.
    leased_by TEXT,
    -- Until when no other process sends; NULL as long as leased_by is.
    leased_until BIGINT,
    -- When it was made.
    created_at BIGINT NOT NULL,
    -- Who made it: the id of an API key or another proof.
    created_by TEXT NOT NULL,
    -- When it was given up; NULL: it is in use.
    ended_at BIGINT
);
CREATE INDEX webhooks_in_use ON webhooks (next_attempt_at) WHERE ended_at IS NULL;

-- What was sent, or is to be sent, to a webhook. A row follows its delivery and keeps no versions.
CREATE TABLE webhook_deliveries (
    -- UUID of version 7; it is the webhook-id header of each attempt.
    id TEXT NOT NULL PRIMARY KEY,
    -- Where to.
    webhook_id TEXT NOT NULL REFERENCES webhooks (id),
    -- The kind of the event.
    kind TEXT NOT NULL,
    -- The first withdrawal that it tells of.
    first_sequence BIGINT NOT NULL,
    -- The last one.
    last_sequence BIGINT NOT NULL,
    -- How many withdrawals it tells of.
    items INTEGER NOT NULL,
    -- pending, delivered or dead.
    state TEXT NOT NULL,
    -- How often it was sent.
    attempts INTEGER NOT NULL,
    -- When it was sent last; NULL: not yet.
    last_attempt_at BIGINT,
    -- The HTTP status of the last answer; NULL: there was none.
    last_status INTEGER,
    -- Why the last attempt failed, in one word; NULL: it did not.
    last_failure TEXT,
    -- The delivery that this one repeats; NULL: none.
    replay_of TEXT,
    -- When it was made.
    created_at BIGINT NOT NULL,
    -- After this it is sent no more.
    give_up_at BIGINT NOT NULL,
    -- When it was delivered or given up; NULL: not yet.
    finished_at BIGINT
);
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, id) WHERE finished_at IS NULL;

-- What an account can still redeem, without reading all that it ever got.
CREATE INDEX grants_by_account_expiry ON grants (account_id, expires_at);
