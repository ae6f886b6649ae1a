-- The one live claim on a seat. No row, or one whose held_until is past, means available: expiry needs no job.
-- Rows change only under the lock of their seat.
CREATE TABLE seat_claims (
    -- Rule: a seat belongs to at most one live booking.
    seat_id        BIGINT UNSIGNED NOT NULL,
    performance_id BIGINT UNSIGNED NOT NULL,
    booking_id     BINARY(16)      NOT NULL,
    -- NULL: sold. A released claim keeps its row, with the instant of its release.
    held_until     DATETIME(6)     NULL,
    -- What made it sold.
    payment_id     BINARY(16)      NULL,
    changed_at     DATETIME(6)     NOT NULL,
    PRIMARY KEY (seat_id),
    -- Query: the claims of a performance, for its seat map; their count, from the index alone.
    KEY ix_seat_claims_performance (performance_id, held_until, changed_at),
    CONSTRAINT fk_seat_claims_seat FOREIGN KEY (booking_id, seat_id) REFERENCES booking_seats (booking_id, seat_id),
    CONSTRAINT fk_seat_claims_payment FOREIGN KEY (payment_id) REFERENCES payments (id),
    -- Rule: sold means paid.
    CONSTRAINT ck_seat_claims_sold CHECK ((held_until IS NULL) = (payment_id IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
