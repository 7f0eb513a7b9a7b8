DROP TABLE control_early_receipts;
DROP TABLE control_samples;

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
