-- The comments of API keys name the role renewer, which was added with renewals.

COMMENT ON COLUMN api_keys.role IS 'admin, provisioner, portal, account, renewer or auditor.';
COMMENT ON COLUMN api_keys.account_id IS 'The account of a key with role account or renewer; the reseller whose customers a provisioner or an auditor is confined to; else NULL.';
