-- Whoever sends a delivery has a lease on it, and every destination is asked for what is due there by itself. What
-- stands before a delivery is looked up by its event's stream.
ALTER TABLE event_deliveries
    -- Whose lease it is; next_attempt_at is when it runs out. NULL: nobody is sending it.
    ADD COLUMN lease BINARY(16) NULL,
    -- Query: what is due at one destination, whatever waits at others.
    ADD KEY ix_event_deliveries_destination (destination, status, next_attempt_at),
    -- Query: the administrator's list by status, newest event first; the oldest pending event.
    ADD KEY ix_event_deliveries_status (status, event_id, destination),
    DROP KEY ix_event_deliveries_due,
    DROP KEY ix_event_deliveries_stream,
    DROP COLUMN stream_id,
    DROP COLUMN sequence
