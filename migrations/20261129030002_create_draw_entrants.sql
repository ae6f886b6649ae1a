-- The published lists of entrants, in drawn order. They don't change, and outlive the tokens.
CREATE TABLE draw_entrants (
    concert_id BIGINT UNSIGNED NOT NULL,
    -- The drawn number of the first entrant of this part, from 1.
    first_rank INT UNSIGNED    NOT NULL,
    -- 32 bytes each: what one transaction placed.
    entrants   MEDIUMBLOB      NOT NULL,
    -- Query: a list, a page at a time.
    PRIMARY KEY (concert_id, first_rank),
    CONSTRAINT fk_draw_entrants_queue FOREIGN KEY (concert_id) REFERENCES queues (concert_id),
    -- Rule: ranks count from 1.
    CONSTRAINT ck_draw_entrants_rank CHECK (first_rank > 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
