-- Grants that were taken back, in an order that readers can follow; who is told of it. Times are whole
-- seconds since 1970, UTC.

CREATE TABLE withdrawals (
    sequence BIGINT NOT NULL PRIMARY KEY,
    jti TEXT COLLATE "C" NOT NULL REFERENCES grants (jti),
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C",
    recorded_at BIGINT NOT NULL
);
CREATE INDEX withdrawals_by_account ON withdrawals (account_id, sequence);
CREATE INDEX withdrawals_by_expiry ON withdrawals (expires_at, at, jti);
COMMENT ON TABLE withdrawals IS 'Each time that a grant was taken back; one that is taken back earlier than was said before has two rows.';
COMMENT ON COLUMN withdrawals.sequence IS 'Grows from one committed transaction to the next, which the lock of the writer orders. Starts from the time in microseconds, so that gaps tell nothing.';
COMMENT ON COLUMN withdrawals.jti IS 'The grant.';
COMMENT ON COLUMN withdrawals.account_id IS 'Who got the token, as in grants.';
COMMENT ON COLUMN withdrawals.at IS 'From when on it is taken back; may lie ahead.';
COMMENT ON COLUMN withdrawals.expires_at IS 'The exp claim, as in grants.';
COMMENT ON COLUMN withdrawals.reason IS 'Why: ported-out, contaminated, aging, suspended, reserved, delegation-ended, allocation-returned, account-suspended, or the words of a person.';
COMMENT ON COLUMN withdrawals.cause IS 'The row by which authority ended: exclusion:ID, delegation:ID, allocation:ID or suspension:ID; NULL: a person took back this grant alone.';
COMMENT ON COLUMN withdrawals.recorded_at IS 'When it was recorded.';

CREATE TABLE withdrawal_sweeps (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" REFERENCES accounts (id),
    first_position BIGINT,
    last_position BIGINT,
    at BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C",
    after_jti TEXT COLLATE "C" NOT NULL,
    last_jti TEXT COLLATE "C" NOT NULL,
    recorded_at BIGINT NOT NULL
);
COMMENT ON TABLE withdrawal_sweeps IS 'Losses of authority that touched more grants than one transaction takes back: what is left to do. Empty most of the time.';
COMMENT ON COLUMN withdrawal_sweeps.id IS 'UUID of version 7, so in order of time.';
COMMENT ON COLUMN withdrawal_sweeps.account_id IS 'Grants of this account and of all below it; NULL: of everybody.';
COMMENT ON COLUMN withdrawal_sweeps.first_position IS 'Grants that touch numbers from this one on: digits * 10^15 + value; NULL: whatever their numbers.';
COMMENT ON COLUMN withdrawal_sweeps.last_position IS 'The last of these numbers; NULL as long as first_position is.';
COMMENT ON COLUMN withdrawal_sweeps.at IS 'From when on they are taken back.';
COMMENT ON COLUMN withdrawal_sweeps.reason IS 'Why, as in withdrawals.';
COMMENT ON COLUMN withdrawal_sweeps.cause IS 'The row by which authority ended, as in withdrawals.';
COMMENT ON COLUMN withdrawal_sweeps.after_jti IS 'Up to this jti it is done.';
COMMENT ON COLUMN withdrawal_sweeps.last_jti IS 'The last jti that there was when authority ended; what was granted later is not touched.';
COMMENT ON COLUMN withdrawal_sweeps.recorded_at IS 'When authority was taken.';

CREATE TABLE webhooks (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" REFERENCES accounts (id),
    below BOOLEAN NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    kinds TEXT COLLATE "C" NOT NULL,
    generation INTEGER NOT NULL,
    previous_until BIGINT,
    position BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    leased_by TEXT COLLATE "C",
    leased_until BIGINT,
    created_at BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    ended_at BIGINT
);
CREATE INDEX webhooks_in_use ON webhooks (next_attempt_at) WHERE ended_at IS NULL;
COMMENT ON TABLE webhooks IS 'Who is told of what happens, and where. The outbox is the table withdrawals: each row here has its own position in it.';
COMMENT ON COLUMN webhooks.id IS 'UUID of version 7, so in order of time.';
COMMENT ON COLUMN webhooks.account_id IS 'It is told of this account; NULL: of everybody, for the carrier.';
COMMENT ON COLUMN webhooks.below IS 'Whether it is told of all below the account too.';
COMMENT ON COLUMN webhooks.url IS 'Where to: https, a public host.';
COMMENT ON COLUMN webhooks.kinds IS 'The kinds of events, separated by spaces.';
COMMENT ON COLUMN webhooks.generation IS 'Which secret signs, from 1. The secret itself is derived from this and the id, by a key that is not in the database.';
COMMENT ON COLUMN webhooks.previous_until IS 'Until when the secret before it signs too; NULL: it does not.';
COMMENT ON COLUMN webhooks.position IS 'The last sequence of withdrawals that a delivery was made of.';
COMMENT ON COLUMN webhooks.next_attempt_at IS 'Not before this is anything sent to it.';
COMMENT ON COLUMN webhooks.leased_by IS 'UUID of the process that sends now; NULL: none does.';
COMMENT ON COLUMN webhooks.leased_until IS 'Until when no other process sends; NULL as long as leased_by is.';
COMMENT ON COLUMN webhooks.created_at IS 'When it was made.';
COMMENT ON COLUMN webhooks.created_by IS 'Who made it: the id of an API key or another proof.';
COMMENT ON COLUMN webhooks.ended_at IS 'When it was given up; NULL: it is in use.';

CREATE TABLE webhook_deliveries (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id),
    kind TEXT COLLATE "C" NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    items INTEGER NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    attempts INTEGER NOT NULL,
    last_attempt_at BIGINT,
    last_status INTEGER,
    last_failure TEXT COLLATE "C",
    replay_of TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    give_up_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, id) WHERE finished_at IS NULL;
COMMENT ON TABLE webhook_deliveries IS 'What was sent, or is to be sent, to a webhook. A row follows its delivery and keeps no versions.';
COMMENT ON COLUMN webhook_deliveries.id IS 'UUID of version 7; it is the webhook-id header of each attempt.';
COMMENT ON COLUMN webhook_deliveries.webhook_id IS 'Where to.';
COMMENT ON COLUMN webhook_deliveries.kind IS 'The kind of the event.';
COMMENT ON COLUMN webhook_deliveries.first_sequence IS 'The first withdrawal that it tells of.';
COMMENT ON COLUMN webhook_deliveries.last_sequence IS 'The last one.';
COMMENT ON COLUMN webhook_deliveries.items IS 'How many withdrawals it tells of.';
COMMENT ON COLUMN webhook_deliveries.state IS 'pending, delivered or dead.';
COMMENT ON COLUMN webhook_deliveries.attempts IS 'How often it was sent.';
COMMENT ON COLUMN webhook_deliveries.last_attempt_at IS 'When it was sent last; NULL: not yet.';
COMMENT ON COLUMN webhook_deliveries.last_status IS 'The HTTP status of the last answer; NULL: there was none.';
COMMENT ON COLUMN webhook_deliveries.last_failure IS 'Why the last attempt failed, in one word; NULL: it did not.';
COMMENT ON COLUMN webhook_deliveries.replay_of IS 'The delivery that this one repeats; NULL: none.';
COMMENT ON COLUMN webhook_deliveries.created_at IS 'When it was made.';
COMMENT ON COLUMN webhook_deliveries.give_up_at IS 'After this it is sent no more.';
COMMENT ON COLUMN webhook_deliveries.finished_at IS 'When it was delivered or given up; NULL: not yet.';

-- What an account can still redeem, without reading all that it ever got.
CREATE INDEX grants_by_account_expiry ON grants (account_id, expires_at);
