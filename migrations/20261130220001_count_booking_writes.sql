ALTER TABLE bookings
    -- Rule: on a cluster of databases, a use of a ticket and a refund at different nodes change the same row, so that one of
    -- them fails. The foreign keys of used_tickets weren't enough: Galera let both a new child and a change of its parent pass.
    ADD COLUMN write_count INT UNSIGNED NOT NULL DEFAULT 0
