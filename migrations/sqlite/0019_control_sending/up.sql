-- Sending codes: attempts that may have sent one, and receipts that any replica can get.

-- How many attempts may have sent the code. One counts from its lease on, until it is known that it did not.
ALTER TABLE control_messages ADD COLUMN unclear_attempts INTEGER NOT NULL DEFAULT 0;

-- Codes that an SMSC accepted, and whose delivery receipts may come, to any replica. Rows are removed after an hour.
CREATE TABLE control_receipts (
    -- As in control_proofs.
    gateway TEXT NOT NULL,
    -- How the SMSC names the message: in lower case, without leading zeros.
    message_id TEXT NOT NULL,
    -- The proof that the code is for.
    proof_id TEXT NOT NULL REFERENCES control_proofs (id),
    -- When the SMSC accepted it.
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, message_id)
);
CREATE INDEX control_receipts_sent ON control_receipts (sent_at);
