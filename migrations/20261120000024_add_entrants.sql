-- SHA-256 of the text of a token from before the opening, as it was given out: what takes part in the draw. Kept, so that
-- the draw can still be checked when the key that signed the text is gone; NULL again for who left before the draw.
ALTER TABLE queue_tokens ADD COLUMN entrant BINARY(32) NULL
