-- API keys get an end, a second secret while they are rotated, and a list of networks; and it is seen when they were used.

ALTER TABLE api_keys
    ADD COLUMN expires_at BIGINT,
    ADD COLUMN allow_from TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN secret_version INTEGER NOT NULL DEFAULT 1,
    ADD COLUMN rotated_at BIGINT,
    ADD COLUMN previous_hash BYTEA,
    ADD COLUMN previous_until BIGINT;
COMMENT ON COLUMN api_keys.expires_at IS 'The first second at which the key no longer works; NULL: no known end.';
COMMENT ON COLUMN api_keys.allow_from IS 'The networks that it works from, as 192.0.2.0/24, separated by spaces; empty: from anywhere.';
COMMENT ON COLUMN api_keys.secret_version IS 'Which secret secret_hash is of: counts from 1, one more with each rotation.';
COMMENT ON COLUMN api_keys.rotated_at IS 'When the secret was last rotated; NULL: never.';
COMMENT ON COLUMN api_keys.previous_hash IS 'As secret_hash, of the secret before; NULL: there was none, or it ended with the rotation.';
COMMENT ON COLUMN api_keys.previous_until IS 'The first second at which the secret before no longer works; NULL as long as previous_hash is.';

CREATE TABLE api_key_uses (
    api_key_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES api_keys (id),
    last_used_at BIGINT NOT NULL
);
COMMENT ON TABLE api_key_uses IS 'When keys were last used. Beside the keys, since it is written often and read seldom.';
COMMENT ON COLUMN api_key_uses.api_key_id IS 'The key.';
COMMENT ON COLUMN api_key_uses.last_used_at IS 'When a caller was last proven by it; written at most every half minute.';
