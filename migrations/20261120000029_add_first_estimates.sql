-- What somebody was told of the wait when they joined: how it turned out is measured when they are let in, by whichever
-- instance does that. NULL for those from before the opening, and while nobody is admitted.
ALTER TABLE queue_tokens
    ADD COLUMN estimated_p50_seconds INT UNSIGNED NULL,
    ADD COLUMN estimated_p90_seconds INT UNSIGNED NULL
