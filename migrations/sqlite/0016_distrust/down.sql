ALTER TABLE withdrawal_sweeps DROP COLUMN chains;
DROP TABLE distrusted_chains;
