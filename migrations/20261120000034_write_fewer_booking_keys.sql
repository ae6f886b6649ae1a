ALTER TABLE bookings
    -- A concert's bookings are found by its performances.
    DROP KEY ix_bookings_concert,
    -- Query: a user's bookings of a performance (the seat limit), and those still held. What changes with the status is read
    -- from the few rows, so that a payment has one key less to move.
    DROP KEY ix_bookings_limit,
    ADD KEY ix_bookings_limit (user_id, performance_id)
