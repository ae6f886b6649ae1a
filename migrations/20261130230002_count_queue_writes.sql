ALTER TABLE queues
    -- Rule: on a cluster of databases, two decisions about a queue at different nodes change the same row, so that one of them
    -- fails. A departure before the draw changes no other column, if its instant is that of the last decision.
    ADD COLUMN write_count INT UNSIGNED NOT NULL DEFAULT 0
