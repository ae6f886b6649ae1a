-- The ledger: append-only.
CREATE TABLE point_transactions (
    id            BINARY(16)      NOT NULL,
    user_id       BINARY(16)      NOT NULL,
    -- The wallet's version after the change.
    version       BIGINT UNSIGNED NOT NULL,
    type          ENUM('CHARGE', 'PAYMENT', 'REFUND') NOT NULL,
    -- Negative for a payment.
    amount        DECIMAL(15, 2)  NOT NULL,
    balance_after DECIMAL(15, 2)  NOT NULL,
    booking_id    BINARY(16)      NULL,
    payment_id    BINARY(16)      NULL,
    created_at    DATETIME(6)     NOT NULL,
    PRIMARY KEY (id),
    -- Rule: one change per version, no gap hidden. Query: a user's changes, newest first.
    UNIQUE KEY uq_point_transactions_version (user_id, version),
    -- Rule: a payment takes points once and gives them back once.
    UNIQUE KEY uq_point_transactions_payment (payment_id, type),
    CONSTRAINT fk_point_transactions_user FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT fk_point_transactions_payment FOREIGN KEY (payment_id) REFERENCES payments (id),
    -- Rule: payments take, charges and refunds give.
    CONSTRAINT ck_point_transactions_sign CHECK ((type = 'PAYMENT' AND amount <= 0) OR (type = 'REFUND' AND amount >= 0) OR (type = 'CHARGE' AND amount > 0)),
    -- Rule: all but charges are for a payment and its booking.
    CONSTRAINT ck_point_transactions_payment CHECK ((type = 'CHARGE') = (payment_id IS NULL) AND (type = 'CHARGE') = (booking_id IS NULL)),
    -- Rule: no change leaves a negative balance.
    CONSTRAINT ck_point_transactions_balance CHECK (balance_after >= 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
