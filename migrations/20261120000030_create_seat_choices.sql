-- The lock on choosing the best seats of a performance: whoever chooses holds its row, so that each choice sees the one
-- before. It is made by the first choice, and says nothing.
CREATE TABLE seat_choices (
    -- Rule: one choice of a performance at a time.
    performance_id BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (performance_id),
    CONSTRAINT fk_seat_choices_performance FOREIGN KEY (performance_id) REFERENCES performances (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
