COMMENT ON COLUMN api_keys.role IS 'admin, provisioner, portal, account or auditor.';
COMMENT ON COLUMN api_keys.account_id IS 'The account of a key with role account; the reseller whose customers a provisioner or an auditor is confined to; else NULL.';
