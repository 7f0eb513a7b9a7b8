-- Which policies permitted a grant.

ALTER TABLE grants ADD COLUMN policies TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN policy_set TEXT COLLATE "C";
COMMENT ON COLUMN grants.policies IS 'The ids of the policies that permitted it, separated by spaces, 16 at most; `+3` at the end: three more.';
COMMENT ON COLUMN grants.policy_set IS 'SHA-256 in hex of the files of the set of policies that they are of; NULL: older than this is recorded.';
