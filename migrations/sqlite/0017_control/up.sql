-- Effective control: the number itself is asked, beside the carrier's records.

-- Proofs that an account controls a number: a code that reached it and came back. Kept for ever.
CREATE TABLE control_proofs (
    -- UUID of version 7, so in order of time.
    id TEXT NOT NULL PRIMARY KEY,
    -- Who is to show control of the number.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- The number: digits * 10^15 + value.
    position BIGINT NOT NULL,
    -- The delegation of the account that covered the number when the proof was started. No foreign key, since a delegation has several rows.
    delegation_id TEXT NOT NULL,
    -- sms, voice or sip.
    method TEXT NOT NULL,
    -- The name of the gateway in the configuration that sends the code.
    gateway TEXT NOT NULL,
    -- The ACME account key whose tokens it is for, as in grants; by SIP that key signs the answer; NULL: every key.
    fingerprint TEXT,
    -- The right to renew that started it; NULL: a caller did.
    renewal_id TEXT REFERENCES renewals (id),
    -- Keyed hash of the code.
    code_hash BLOB NOT NULL,
    -- How many wrong codes were tried.
    tries INTEGER NOT NULL,
    -- When it was started.
    started_at BIGINT NOT NULL,
    -- Who started it: the id of an API key or another proof; the service itself for a right to renew.
    started_by TEXT NOT NULL,
    -- The request that started it.
    request_id TEXT NOT NULL,
    -- Until when it can be confirmed.
    expires_at BIGINT NOT NULL,
    -- When a gateway accepted the code; NULL: not yet, or never.
    sent_at BIGINT,
    -- When the gateway reported that the code reached the number; NULL: it did not, or it never reports that.
    delivered_at BIGINT,
    -- Why the last attempt to send the code failed; NULL: it did not.
    failure TEXT,
    -- When the code came back; NULL: it did not.
    confirmed_at BIGINT,
    -- Who returned it: the id of an API key or another proof, or the fingerprint of the ACME account key; NULL as long as confirmed_at is.
    confirmed_by TEXT,
    -- When it stops to count, whatever its age; may be in the future; NULL: not known.
    ends_at BIGINT,
    -- Why: wrong-codes, not-sent, number-excluded, number-left, account-suspended, delegation-ended; NULL as long as ends_at is.
    end_reason TEXT,
    -- Of a proof that a right to renew started: its entry in the feed of failures, in the sequence of withdrawals.sequence; 0: it failed, and has no entry, since the number or the account was lost; NULL: it has not failed, or not been reported yet.
    failure_sequence BIGINT
);
CREATE INDEX control_proofs_by_account ON control_proofs (account_id, id);
CREATE INDEX control_proofs_by_number ON control_proofs (position, started_at);
CREATE INDEX control_proofs_by_gateway ON control_proofs (gateway, started_at);
CREATE INDEX control_proofs_started_by_account ON control_proofs (account_id, started_at);
CREATE INDEX control_proofs_confirmed ON control_proofs (account_id, position, confirmed_at) WHERE confirmed_at IS NOT NULL;
CREATE INDEX control_proofs_by_renewal ON control_proofs (renewal_id, id) WHERE renewal_id IS NOT NULL;
CREATE INDEX control_proofs_unreported ON control_proofs (expires_at)
    WHERE renewal_id IS NOT NULL AND confirmed_at IS NULL AND failure_sequence IS NULL;
CREATE INDEX control_proofs_unreported_ends ON control_proofs (ends_at)
    WHERE renewal_id IS NOT NULL AND confirmed_at IS NULL AND failure_sequence IS NULL AND ends_at IS NOT NULL;
CREATE UNIQUE INDEX control_proofs_failures ON control_proofs (failure_sequence) WHERE failure_sequence > 0;

-- Codes that are still to be sent. A row is removed once its code was sent, or given up.
CREATE TABLE control_messages (
    -- The proof that the code is for.
    proof_id TEXT NOT NULL PRIMARY KEY REFERENCES control_proofs (id),
    -- As in control_proofs.
    gateway TEXT NOT NULL,
    -- The code, encrypted: nonce, ciphertext, tag. The key is not in the database.
    sealed BLOB NOT NULL,
    -- How many attempts were made.
    attempts INTEGER NOT NULL,
    -- When the next attempt is due.
    due_at BIGINT NOT NULL,
    -- From when on no attempt is made.
    give_up_at BIGINT NOT NULL,
    -- The process that is sending it; NULL: none is.
    leased_by TEXT,
    -- Until when the process may send it; NULL as long as leased_by is.
    leased_until BIGINT
);
CREATE INDEX control_messages_due ON control_messages (due_at);

-- Which numbers of a long list stand for all of it, when a policy asks for control.
CREATE TABLE control_samples (
    -- Whose list.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- SHA-256 of the ranges of the list, in order and without overlap, in hex.
    list TEXT NOT NULL,
    -- The numbers that were drawn, as positions, separated by spaces.
    positions TEXT NOT NULL,
    -- When they were drawn.
    drawn_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, list)
);

-- When an account first got a token for an ACME account key.
CREATE TABLE account_keys (
    -- Who got the token.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- The ACME account key, as in grants.
    fingerprint TEXT NOT NULL,
    -- When the first token for this key was issued.
    first_used_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, fingerprint)
);

-- The keys of tokens that were issued before.
INSERT INTO account_keys (account_id, fingerprint, first_used_at)
SELECT account_id, fingerprint, MIN(issued_at) FROM grants GROUP BY account_id, fingerprint;

-- How control of the numbers is proven again, without a person: sms, voice or sip; NULL: it is not.
ALTER TABLE renewals ADD COLUMN control_method TEXT;
-- The age, in seconds, that the proofs must not reach; NULL as long as control_method is.
ALTER TABLE renewals ADD COLUMN control_max_age BIGINT;
-- When its numbers are checked next, and proofs are started; NULL as long as control_method is, and once the right is over.
ALTER TABLE renewals ADD COLUMN control_due_at BIGINT;
CREATE INDEX renewals_control_due ON renewals (control_due_at, id) WHERE control_due_at IS NOT NULL;
