ALTER TABLE queue_tokens
    -- Rule: until when an active token makes new holds, activeSeconds after its admission: what is held moves expires_at
    -- on, and not this. NULL for a token that the version before let in, until it is written again.
    ADD COLUMN books_until DATETIME(6) NULL AFTER claimed_at,
    -- Query: ended tokens that are old enough to be removed.
    ADD KEY ix_queue_tokens_ended (ended_at),
    DROP CONSTRAINT ck_queue_tokens_place,
    -- Rule: only a token from before the draw has no place: it is scheduled, or has ended without a draw.
    ADD CONSTRAINT ck_queue_tokens_place CHECK (place IS NOT NULL OR status IN ('SCHEDULED', 'EXPIRED', 'LEFT'))
