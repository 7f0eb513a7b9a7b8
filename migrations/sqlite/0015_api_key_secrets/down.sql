ALTER TABLE webhooks DROP COLUMN derived_by;
ALTER TABLE api_keys DROP COLUMN previous_hashed_by;
ALTER TABLE api_keys DROP COLUMN hashed_by;
