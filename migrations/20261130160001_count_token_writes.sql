ALTER TABLE queue_tokens
    -- Rule: a write of an active token changes its row even if it sets the values that the row has. A cluster of databases
    -- replicates changes, not locks: of two holds on different nodes for one user, the second must fail at its commit.
    ADD COLUMN write_count INT UNSIGNED NOT NULL DEFAULT 0
