ALTER TABLE users
    -- Rule: on a cluster of databases, two demotions at different nodes change the same rows, so that one of them fails.
    ADD COLUMN write_count INT UNSIGNED NOT NULL DEFAULT 0
