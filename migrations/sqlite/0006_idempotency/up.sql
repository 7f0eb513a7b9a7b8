-- What makes requests repeatable: their keys, and what they were answered. Times are whole seconds since 1970, UTC.

-- A request that came with an Idempotency-Key, or one of the requests of such a bulk. A row goes when its time is over.
CREATE TABLE idempotency_keys (
    -- HMAC-SHA256 in hex of the tenant and the key, under a secret that is not in the database.
    name TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 in hex of the request's method, its path with the query, and its body.
    request TEXT NOT NULL,
    -- UUID of the one request, of all that came with the key, that may answer.
    holder TEXT NOT NULL,
    -- The grant that was recorded for it, and whose token is answered; NULL: none.
    jti TEXT,
    -- Status, headers and body of the answer, encrypted; NULL: there is none yet.
    answer BLOB,
    -- Until when the holder is taken to be at work, as long as there is no answer.
    lease_until BIGINT NOT NULL,
    -- When the key is forgotten.
    keep_until BIGINT NOT NULL
);

-- What is to be forgotten is found by its time.
CREATE INDEX idempotency_keys_by_keep_until ON idempotency_keys (keep_until);
