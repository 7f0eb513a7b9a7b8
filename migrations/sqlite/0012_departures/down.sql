ALTER TABLE delegations DROP COLUMN made_at;
ALTER TABLE delegations DROP COLUMN sequence;
DROP TABLE departures;
DROP TABLE change_counter;
