DROP TABLE api_key_uses;
ALTER TABLE api_keys DROP COLUMN previous_until;
ALTER TABLE api_keys DROP COLUMN previous_hash;
ALTER TABLE api_keys DROP COLUMN rotated_at;
ALTER TABLE api_keys DROP COLUMN secret_version;
ALTER TABLE api_keys DROP COLUMN allow_from;
ALTER TABLE api_keys DROP COLUMN expires_at;
