ALTER TABLE concerts
    -- Rule: on a cluster of databases, two changes of a concert's performances at different nodes change the same row, so that one
    -- of them fails. Otherwise the dates and prices that follow from the performances could miss one of them.
    ADD COLUMN write_count INT UNSIGNED NOT NULL DEFAULT 0
