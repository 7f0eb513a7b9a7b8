-- Samples are of delegations, and no longer of lists, which those who ask for tokens choose.

DROP TABLE control_samples;

-- Which numbers of a delegation have to be proven in place of long ranges of it, when a policy asks for control.
CREATE TABLE control_samples (
    -- Whose delegation.
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- The first number of the delegation: digits * 10^15 + value.
    first_position BIGINT NOT NULL,
    -- The last number of the delegation.
    last_position BIGINT NOT NULL,
    -- How many numbers were wanted; there are fewer if the account had authority over fewer.
    size BIGINT NOT NULL,
    -- The numbers that were drawn, as positions, separated by spaces.
    positions TEXT NOT NULL,
    -- When they were drawn, or one was last replaced.
    drawn_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, first_position, last_position)
);

-- Rights to renew may have to prove other numbers now.
UPDATE renewals SET control_due_at = 0 WHERE control_due_at IS NOT NULL;

-- Receipts that came before it was known which code they are about, as to another replica. Rows are removed after a minute.
CREATE TABLE control_early_receipts (
    -- As in control_receipts.
    gateway TEXT NOT NULL,
    -- How the receipt names the message: in lower case, without leading zeros.
    message_id TEXT NOT NULL,
    -- Whether it reached the number.
    is_delivered BOOLEAN NOT NULL,
    -- When it came.
    received_at BIGINT NOT NULL,
    PRIMARY KEY (gateway, message_id)
);
CREATE INDEX control_early_receipts_received ON control_early_receipts (received_at);
