-- Effective control: the number itself is asked, beside the carrier's records.

CREATE TABLE control_proofs (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    position BIGINT NOT NULL,
    delegation_id TEXT COLLATE "C" NOT NULL,
    method TEXT COLLATE "C" NOT NULL,
    gateway TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C",
    renewal_id TEXT COLLATE "C" REFERENCES renewals (id),
    code_hash BYTEA NOT NULL,
    tries INTEGER NOT NULL,
    started_at BIGINT NOT NULL,
    started_by TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    sent_at BIGINT,
    delivered_at BIGINT,
    failure TEXT COLLATE "C",
    confirmed_at BIGINT,
    confirmed_by TEXT COLLATE "C",
    ends_at BIGINT,
    end_reason TEXT COLLATE "C",
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
COMMENT ON TABLE control_proofs IS 'Proofs that an account controls a number: a code that reached it and came back. Kept for ever.';
COMMENT ON COLUMN control_proofs.id IS 'UUID of version 7, so in order of time.';
COMMENT ON COLUMN control_proofs.account_id IS 'Who is to show control of the number.';
COMMENT ON COLUMN control_proofs.position IS 'The number: digits * 10^15 + value.';
COMMENT ON COLUMN control_proofs.delegation_id IS 'The delegation of the account that covered the number when the proof was started. No foreign key, since a delegation has several rows.';
COMMENT ON COLUMN control_proofs.method IS 'sms, voice or sip.';
COMMENT ON COLUMN control_proofs.gateway IS 'The name of the gateway in the configuration that sends the code.';
COMMENT ON COLUMN control_proofs.fingerprint IS 'The ACME account key whose tokens it is for, as in grants; by SIP that key signs the answer; NULL: every key.';
COMMENT ON COLUMN control_proofs.renewal_id IS 'The right to renew that started it; NULL: a caller did.';
COMMENT ON COLUMN control_proofs.code_hash IS 'Keyed hash of the code.';
COMMENT ON COLUMN control_proofs.tries IS 'How many wrong codes were tried.';
COMMENT ON COLUMN control_proofs.started_at IS 'When it was started.';
COMMENT ON COLUMN control_proofs.started_by IS 'Who started it: the id of an API key or another proof; the service itself for a right to renew.';
COMMENT ON COLUMN control_proofs.request_id IS 'The request that started it.';
COMMENT ON COLUMN control_proofs.expires_at IS 'Until when it can be confirmed.';
COMMENT ON COLUMN control_proofs.sent_at IS 'When a gateway accepted the code; NULL: not yet, or never.';
COMMENT ON COLUMN control_proofs.delivered_at IS 'When the gateway reported that the code reached the number; NULL: it did not, or it never reports that.';
COMMENT ON COLUMN control_proofs.failure IS 'Why the last attempt to send the code failed; NULL: it did not.';
COMMENT ON COLUMN control_proofs.confirmed_at IS 'When the code came back; NULL: it did not.';
COMMENT ON COLUMN control_proofs.confirmed_by IS 'Who returned it: the id of an API key or another proof, or the fingerprint of the ACME account key; NULL as long as confirmed_at is.';
COMMENT ON COLUMN control_proofs.ends_at IS 'When it stops to count, whatever its age; may be in the future; NULL: not known.';
COMMENT ON COLUMN control_proofs.end_reason IS 'Why: wrong-codes, not-sent, number-excluded, number-left, account-suspended, delegation-ended; NULL as long as ends_at is.';
COMMENT ON COLUMN control_proofs.failure_sequence IS 'Of a proof that a right to renew started: its entry in the feed of failures, in the sequence of withdrawals.sequence; 0: it failed, and has no entry, since the number or the account was lost; NULL: it has not failed, or not been reported yet.';

CREATE TABLE control_messages (
    proof_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES control_proofs (id),
    gateway TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    attempts INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    give_up_at BIGINT NOT NULL,
    leased_by TEXT COLLATE "C",
    leased_until BIGINT
);
CREATE INDEX control_messages_due ON control_messages (due_at);
COMMENT ON TABLE control_messages IS 'Codes that are still to be sent. A row is removed once its code was sent, or given up.';
COMMENT ON COLUMN control_messages.proof_id IS 'The proof that the code is for.';
COMMENT ON COLUMN control_messages.gateway IS 'As in control_proofs.';
COMMENT ON COLUMN control_messages.sealed IS 'The code, encrypted: nonce, ciphertext, tag. The key is not in the database.';
COMMENT ON COLUMN control_messages.attempts IS 'How many attempts were made.';
COMMENT ON COLUMN control_messages.due_at IS 'When the next attempt is due.';
COMMENT ON COLUMN control_messages.give_up_at IS 'From when on no attempt is made.';
COMMENT ON COLUMN control_messages.leased_by IS 'The process that is sending it; NULL: none is.';
COMMENT ON COLUMN control_messages.leased_until IS 'Until when the process may send it; NULL as long as leased_by is.';

CREATE TABLE control_samples (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    list TEXT COLLATE "C" NOT NULL,
    positions TEXT COLLATE "C" NOT NULL,
    drawn_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, list)
);
COMMENT ON TABLE control_samples IS 'Which numbers of a long list stand for all of it, when a policy asks for control.';
COMMENT ON COLUMN control_samples.account_id IS 'Whose list.';
COMMENT ON COLUMN control_samples.list IS 'SHA-256 of the ranges of the list, in order and without overlap, in hex.';
COMMENT ON COLUMN control_samples.positions IS 'The numbers that were drawn, as positions, separated by spaces.';
COMMENT ON COLUMN control_samples.drawn_at IS 'When they were drawn.';

CREATE TABLE account_keys (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    fingerprint TEXT COLLATE "C" NOT NULL,
    first_used_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, fingerprint)
);
COMMENT ON TABLE account_keys IS 'When an account first got a token for an ACME account key.';
COMMENT ON COLUMN account_keys.account_id IS 'Who got the token.';
COMMENT ON COLUMN account_keys.fingerprint IS 'The ACME account key, as in grants.';
COMMENT ON COLUMN account_keys.first_used_at IS 'When the first token for this key was issued.';

-- The keys of tokens that were issued before.
INSERT INTO account_keys (account_id, fingerprint, first_used_at)
SELECT account_id, fingerprint, MIN(issued_at) FROM grants GROUP BY account_id, fingerprint;

ALTER TABLE renewals ADD COLUMN control_method TEXT COLLATE "C";
COMMENT ON COLUMN renewals.control_method IS 'How control of the numbers is proven again, without a person: sms, voice or sip; NULL: it is not.';
ALTER TABLE renewals ADD COLUMN control_max_age BIGINT;
COMMENT ON COLUMN renewals.control_max_age IS 'The age, in seconds, that the proofs must not reach; NULL as long as control_method is.';
ALTER TABLE renewals ADD COLUMN control_due_at BIGINT;
COMMENT ON COLUMN renewals.control_due_at IS 'When its numbers are checked next, and proofs are started; NULL as long as control_method is, and once the right is over.';
CREATE INDEX renewals_control_due ON renewals (control_due_at, id) WHERE control_due_at IS NOT NULL;
