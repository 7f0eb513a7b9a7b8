ALTER TABLE grants DROP COLUMN dialect;
ALTER TABLE grants DROP COLUMN tktype;
DROP TABLE legacy_accounts;
