ALTER TABLE grants DROP COLUMN policy_set;
ALTER TABLE grants DROP COLUMN policies;
