DROP INDEX grants_by_account_expiry;
DROP TABLE webhook_deliveries;
DROP TABLE webhooks;
DROP TABLE withdrawal_sweeps;
DROP TABLE withdrawals;
