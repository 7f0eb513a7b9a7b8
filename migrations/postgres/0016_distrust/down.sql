ALTER TABLE withdrawal_sweeps DROP COLUMN from_expiry;
ALTER TABLE withdrawal_sweeps DROP COLUMN chain;
DROP TABLE distrusted_chains;
