-- What a booking is of: history, whatever becomes of the claims.
CREATE TABLE booking_seats (
    booking_id BINARY(16)      NOT NULL,
    seat_id    BIGINT UNSIGNED NOT NULL,
    price      DECIMAL(15, 2)  NOT NULL,
    PRIMARY KEY (booking_id, seat_id),
    CONSTRAINT fk_booking_seats_booking FOREIGN KEY (booking_id) REFERENCES bookings (id),
    CONSTRAINT fk_booking_seats_seat FOREIGN KEY (seat_id) REFERENCES seats (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
