-- Static once written. Its rows are what SELECT … FOR UPDATE locks, in ascending order of id, before a claim changes.
CREATE TABLE seats (
    id             BIGINT UNSIGNED   NOT NULL AUTO_INCREMENT,
    performance_id BIGINT UNSIGNED   NOT NULL,
    section        VARCHAR(200)      NOT NULL,
    row_name       VARCHAR(8)        NOT NULL,
    -- 1 is the front.
    row_rank       SMALLINT UNSIGNED NOT NULL,
    -- Counts along the row from 1: neighbours differ by 1.
    number         SMALLINT UNSIGNED NOT NULL,
    grade          VARCHAR(200)      NOT NULL,
    price          DECIMAL(15, 2)    NOT NULL,
    PRIMARY KEY (id),
    -- Rule: a place exists once. Query: the layout of a performance.
    UNIQUE KEY uq_seats_place (performance_id, section, row_rank, number),
    CONSTRAINT fk_seats_performance FOREIGN KEY (performance_id) REFERENCES performances (id),
    -- Rule: rows and places count from 1.
    CONSTRAINT ck_seats_numbers CHECK (row_rank >= 1 AND number >= 1),
    -- Rule: no price is negative.
    CONSTRAINT ck_seats_price CHECK (price >= 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
