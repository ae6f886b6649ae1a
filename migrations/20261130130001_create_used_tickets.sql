-- The tickets that were used at a door. A ticket itself has no row: it follows from its booking and seat.
-- Rows are inserted under the lock of their booking, and never change.
CREATE TABLE used_tickets (
    booking_id  BINARY(16)      NOT NULL,
    seat_id     BIGINT UNSIGNED NOT NULL,
    -- What made the booking confirmed.
    payment_id  BINARY(16)      NOT NULL,
    admitted_at DATETIME(6)     NOT NULL,
    -- The administrator at the door.
    admitted_by BINARY(16)      NOT NULL,
    -- Rule: a ticket is used once. Query: the uses of a booking.
    PRIMARY KEY (booking_id, seat_id),
    -- Rule: a ticket is of a seat of its booking.
    CONSTRAINT fk_used_tickets_seat FOREIGN KEY (booking_id, seat_id) REFERENCES booking_seats (booking_id, seat_id),
    -- Rule: only a ticket of a paid booking is used.
    CONSTRAINT fk_used_tickets_payment FOREIGN KEY (payment_id) REFERENCES payments (id),
    CONSTRAINT fk_used_tickets_admin FOREIGN KEY (admitted_by) REFERENCES users (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
