ALTER TABLE queues
    -- Every token up to this number has ended.
    ADD COLUMN ended_number INT UNSIGNED NOT NULL DEFAULT 0,
    -- 1 while a token may be live or a draw isn't done. It follows from what every version of the server writes.
    ADD COLUMN occupied TINYINT GENERATED ALWAYS AS (CASE WHEN last_number > ended_number
        OR (sales_open_at IS NOT NULL AND drawn_at IS NULL) OR draw_placed < entrant_count THEN 1 END) STORED,
    -- Query: the queues that a tick and the census look at, however many have ended.
    ADD KEY ix_queues_occupied (occupied, concert_id)
