-- Seat maps read only the claims that have changed since they last looked; counts of claims still need nothing but the
-- index.
ALTER TABLE seat_claims
    DROP KEY ix_seat_claims_performance,
    -- Query: the claims of a performance that changed lately, for its seat map; their count, from the index alone.
    ADD KEY ix_seat_claims_changed (performance_id, changed_at, held_until)
