ALTER TABLE grants DROP COLUMN dialect;
ALTER TABLE grants DROP COLUMN tktype;
DROP TABLE legacy_accounts;
COMMENT ON COLUMN grants.tkvalue IS 'The TNAuthList exactly as asked and signed: base64url of its DER.';
