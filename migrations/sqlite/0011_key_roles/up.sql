-- The comments of API keys name the role renewer, which was added with renewals:
-- api_keys.role is admin, provisioner, portal, account, renewer or auditor;
-- api_keys.account_id is the account of a key with role account or renewer, the reseller whose customers a provisioner or an
-- auditor is confined to, else NULL.
-- SQLite has comments only in the text of a migration, so there is nothing to run.
SELECT 1;
