ALTER TABLE seat_claims
    -- NULL: a block, which an administrator set. Its deadline is the last day, 9999-12-31, or the instant of its release.
    -- So a seat is blocked or claimed by a booking, never both, and a server of the version before takes it for held.
    MODIFY COLUMN booking_id BINARY(16) NULL
