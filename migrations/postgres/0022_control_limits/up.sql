-- Samples are of delegations, and no longer of lists, which those who ask for tokens choose.

DROP TABLE control_samples;

CREATE TABLE control_samples (
    account_id TEXT COLLATE "C" NOT NULL REFERENCES accounts (id),
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL,
    size BIGINT NOT NULL,
    positions TEXT COLLATE "C" NOT NULL,
    drawn_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, first_position, last_position)
);
COMMENT ON TABLE control_samples IS 'Which numbers of a delegation have to be proven in place of long ranges of it, when a policy asks for control.';
COMMENT ON COLUMN control_samples.account_id IS 'Whose delegation.';
COMMENT ON COLUMN control_samples.first_position IS 'The first number of the delegation: digits * 10^15 + value.';
COMMENT ON COLUMN control_samples.last_position IS 'The last number of the delegation.';
COMMENT ON COLUMN control_samples.size IS 'How many numbers were wanted; there are fewer if the account had authority over fewer.';
COMMENT ON COLUMN control_samples.positions IS 'The numbers that were drawn, as positions, separated by spaces.';
COMMENT ON COLUMN control_samples.drawn_at IS 'When they were drawn, or one was last replaced.';

-- Rights to renew may have to prove other numbers now.
UPDATE renewals SET control_due_at = 0 WHERE control_due_at IS NOT NULL;

CREATE TABLE control_early_receipts (
    gateway TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    is_delivered BOOLEAN NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, message_id)
);
CREATE INDEX control_early_receipts_received ON control_early_receipts (received_at);
COMMENT ON TABLE control_early_receipts IS 'Receipts that came before it was known which code they are about, as to another replica. Rows are removed after a minute.';
COMMENT ON COLUMN control_early_receipts.gateway IS 'As in control_receipts.';
COMMENT ON COLUMN control_early_receipts.message_id IS 'How the receipt names the message: in lower case, without leading zeros.';
COMMENT ON COLUMN control_early_receipts.is_delivered IS 'Whether it reached the number.';
COMMENT ON COLUMN control_early_receipts.received_at IS 'When it came.';
