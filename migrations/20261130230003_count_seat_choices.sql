ALTER TABLE seat_choices
    -- Rule: on a cluster of databases, two choices of best-available seats, or blocks and unblocks of seats, at different nodes
    -- change the same row, so that one of them fails. The seats that they change may differ.
    ADD COLUMN write_count INT UNSIGNED NOT NULL DEFAULT 0
