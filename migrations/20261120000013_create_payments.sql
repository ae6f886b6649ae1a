CREATE TABLE payments (
    id          BINARY(16)     NOT NULL,
    booking_id  BINARY(16)     NOT NULL,
    user_id     BINARY(16)     NOT NULL,
    amount      DECIMAL(15, 2) NOT NULL,
    status      ENUM('COMPLETED', 'REFUNDED') NOT NULL,
    paid_at     DATETIME(6)    NOT NULL,
    refunded_at DATETIME(6)    NULL,
    PRIMARY KEY (id),
    -- Rule: a booking is paid once.
    UNIQUE KEY uq_payments_booking (booking_id),
    -- Query: a user's payments, newest first.
    KEY ix_payments_user (user_id, id),
    -- Rule: of exactly the booking's total.
    CONSTRAINT fk_payments_booking FOREIGN KEY (booking_id, amount) REFERENCES bookings (id, total_price),
    CONSTRAINT fk_payments_user FOREIGN KEY (user_id) REFERENCES users (id),
    -- Rule: refunded means since when.
    CONSTRAINT ck_payments_refunded CHECK ((status = 'REFUNDED') = (refunded_at IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
