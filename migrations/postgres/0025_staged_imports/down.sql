-- What never counted must not begin to.
DELETE FROM delegations WHERE sequence IN (SELECT sequence FROM staged_imports WHERE effective_at IS NULL);
DROP TABLE staged_imports;
