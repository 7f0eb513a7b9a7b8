-- Sending codes: attempts that may have sent one, and receipts that any replica can get.

ALTER TABLE control_messages ADD COLUMN unclear_attempts INTEGER NOT NULL DEFAULT 0;
COMMENT ON COLUMN control_messages.unclear_attempts IS 'How many attempts may have sent the code. One counts from its lease on, until it is known that it did not.';

CREATE TABLE control_receipts (
    gateway TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    proof_id TEXT COLLATE "C" NOT NULL REFERENCES control_proofs (id),
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, message_id)
);
CREATE INDEX control_receipts_sent ON control_receipts (sent_at);
COMMENT ON TABLE control_receipts IS 'Codes that an SMSC accepted, and whose delivery receipts may come, to any replica. Rows are removed after an hour.';
COMMENT ON COLUMN control_receipts.gateway IS 'As in control_proofs.';
COMMENT ON COLUMN control_receipts.message_id IS 'How the SMSC names the message: in lower case, without leading zeros.';
COMMENT ON COLUMN control_receipts.proof_id IS 'The proof that the code is for.';
COMMENT ON COLUMN control_receipts.sent_at IS 'When the SMSC accepted it.';
