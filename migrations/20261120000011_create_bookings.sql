CREATE TABLE bookings (
    id             BINARY(16)       NOT NULL,
    user_id        BINARY(16)       NOT NULL,
    concert_id     BIGINT UNSIGNED  NOT NULL,
    performance_id BIGINT UNSIGNED  NOT NULL,
    status         ENUM('PENDING', 'CONFIRMED', 'CANCELLED', 'EXPIRED', 'REFUNDED') NOT NULL,
    seat_count     INT UNSIGNED     NOT NULL,
    total_price    DECIMAL(15, 2)   NOT NULL,
    held_until     DATETIME(6)      NOT NULL,
    extended       BOOLEAN          NOT NULL,
    payment_id     BINARY(16)       NULL,
    created_at     DATETIME(6)      NOT NULL,
    confirmed_at   DATETIME(6)      NULL,
    cancelled_at   DATETIME(6)      NULL,
    PRIMARY KEY (id),
    -- A payment refers to both, so that it cannot be of another amount.
    UNIQUE KEY uq_bookings_total (id, total_price),
    -- Query: a user's bookings, newest first.
    KEY ix_bookings_user (user_id, id),
    -- Query: a user's live seats of a performance (the seat limit).
    KEY ix_bookings_limit (user_id, performance_id, status, held_until, seat_count),
    -- Query: holds past their deadline.
    KEY ix_bookings_expiry (status, held_until),
    -- Query: the live bookings of a performance that is cancelled.
    KEY ix_bookings_performance (performance_id, status),
    -- Query: whether a concert has live bookings.
    KEY ix_bookings_concert (concert_id, status),
    CONSTRAINT fk_bookings_user FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT fk_bookings_performance FOREIGN KEY (performance_id) REFERENCES performances (id),
    -- Rule: a booking has a seat, and a total that isn't negative.
    CONSTRAINT ck_bookings_seats CHECK (seat_count >= 1 AND total_price >= 0),
    -- Rule: confirmed or refunded means that there was a payment.
    CONSTRAINT ck_bookings_paid CHECK ((status IN ('CONFIRMED', 'REFUNDED')) = (payment_id IS NOT NULL AND confirmed_at IS NOT NULL)),
    -- Rule: given up means since when.
    CONSTRAINT ck_bookings_cancelled CHECK ((status IN ('CANCELLED', 'REFUNDED')) = (cancelled_at IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
