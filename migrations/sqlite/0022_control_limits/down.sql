DROP TABLE control_early_receipts;
DROP TABLE control_samples;

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
