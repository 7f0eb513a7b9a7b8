-- What makes requests repeatable: their keys, and what they were answered. Times are whole seconds since 1970, UTC.

CREATE TABLE idempotency_keys (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    request TEXT COLLATE "C" NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    jti TEXT COLLATE "C",
    answer BYTEA,
    lease_until BIGINT NOT NULL,
    keep_until BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_by_keep_until ON idempotency_keys (keep_until);
COMMENT ON TABLE idempotency_keys IS 'A request that came with an Idempotency-Key, or one of the requests of such a bulk. A row goes when its time is over.';
COMMENT ON COLUMN idempotency_keys.name IS 'HMAC-SHA256 in hex of the tenant and the key, under a secret that is not in the database.';
COMMENT ON COLUMN idempotency_keys.request IS 'SHA-256 in hex of the request''s method, its path with the query, and its body.';
COMMENT ON COLUMN idempotency_keys.holder IS 'UUID of the one request, of all that came with the key, that may answer.';
COMMENT ON COLUMN idempotency_keys.jti IS 'The grant that was recorded for it, and whose token is answered; NULL: none.';
COMMENT ON COLUMN idempotency_keys.answer IS 'Status, headers and body of the answer, encrypted; NULL: there is none yet.';
COMMENT ON COLUMN idempotency_keys.lease_until IS 'Until when the holder is taken to be at work, as long as there is no answer.';
COMMENT ON COLUMN idempotency_keys.keep_until IS 'When the key is forgotten.';
