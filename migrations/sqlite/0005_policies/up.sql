-- Which policies permitted a grant.

-- The ids of the policies that permitted it, separated by spaces, 16 at most; `+3` at the end: three more.
ALTER TABLE grants ADD COLUMN policies TEXT NOT NULL DEFAULT '';
-- SHA-256 in hex of the files of the set of policies that they are of; NULL: older than this is recorded.
ALTER TABLE grants ADD COLUMN policy_set TEXT;
