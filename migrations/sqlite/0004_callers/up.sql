-- API keys get an end, a second secret while they are rotated, and a list of networks; and it is seen when they were used.

-- The first second at which the key no longer works; NULL: no known end.
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
-- The networks that it works from, as 192.0.2.0/24, separated by spaces; empty: from anywhere.
ALTER TABLE api_keys ADD COLUMN allow_from TEXT NOT NULL DEFAULT '';
-- Which secret secret_hash is of: counts from 1, one more with each rotation.
ALTER TABLE api_keys ADD COLUMN secret_version INTEGER NOT NULL DEFAULT 1;
-- When the secret was last rotated; NULL: never.
ALTER TABLE api_keys ADD COLUMN rotated_at BIGINT;
-- As secret_hash, of the secret before; NULL: there was none, or it ended with the rotation.
ALTER TABLE api_keys ADD COLUMN previous_hash BLOB;
-- The first second at which the secret before no longer works; NULL as long as previous_hash is.
ALTER TABLE api_keys ADD COLUMN previous_until BIGINT;

-- When keys were last used. Beside the keys, since it is written often and read seldom.
CREATE TABLE api_key_uses (
    -- The key.
    api_key_id TEXT NOT NULL PRIMARY KEY REFERENCES api_keys (id),
    -- When a caller was last proven by it; written at most every half minute.
    last_used_at BIGINT NOT NULL
);
