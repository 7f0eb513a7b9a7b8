DROP INDEX grants_by_chain;
DROP TABLE horizon_accounts;
DROP TABLE signing_chains;
