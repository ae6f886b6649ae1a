CREATE TABLE performances (
    id           BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    concert_id   BIGINT UNSIGNED NOT NULL,
    venue_id     BIGINT UNSIGNED NOT NULL,
    starts_at    DATETIME(6)     NOT NULL,
    -- Its seats never change after creation, so neither do these.
    total_seats  INT UNSIGNED    NOT NULL,
    min_price    DECIMAL(15, 2)  NOT NULL,
    max_price    DECIMAL(15, 2)  NOT NULL,
    created_at   DATETIME(6)     NOT NULL,
    -- Set at once by its cancellation; the bookings follow in batches.
    cancelled_at DATETIME(6)     NULL,
    PRIMARY KEY (id),
    -- Query: the performances of a concert, soonest first.
    KEY ix_performances_concert (concert_id, starts_at, id),
    -- Query: a filter of the concerts by dates.
    KEY ix_performances_starts (starts_at, concert_id),
    -- Query: cancelled performances whose bookings are still to be given back.
    KEY ix_performances_cancelled (cancelled_at),
    CONSTRAINT fk_performances_concert FOREIGN KEY (concert_id) REFERENCES concerts (id),
    CONSTRAINT fk_performances_venue FOREIGN KEY (venue_id) REFERENCES venues (id),
    -- Rule: a performance has 1 to 100,000 seats.
    CONSTRAINT ck_performances_seats CHECK (total_seats BETWEEN 1 AND 100000),
    -- Rule: prices are a range that isn't negative.
    CONSTRAINT ck_performances_prices CHECK (min_price >= 0 AND min_price <= max_price)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
