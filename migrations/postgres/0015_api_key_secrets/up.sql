-- Which API key secret made the hashes of a key, and the secret of a webhook, so that both can be moved to another API key
-- secret while the previous one still works.

ALTER TABLE api_keys ADD COLUMN hashed_by TEXT;
COMMENT ON COLUMN api_keys.hashed_by IS 'The name of the API key secret that secret_hash was made with: 16 hex digits, derived from it; NULL: not recorded, by an older version.';
ALTER TABLE api_keys ADD COLUMN previous_hashed_by TEXT;
COMMENT ON COLUMN api_keys.previous_hashed_by IS 'The same for previous_hash.';
ALTER TABLE webhooks ADD COLUMN derived_by TEXT;
COMMENT ON COLUMN webhooks.derived_by IS 'Names the API key secret that the newest secret is derived from: 16 hex digits, others than in api_keys.hashed_by; NULL: not recorded, by an older version.';
