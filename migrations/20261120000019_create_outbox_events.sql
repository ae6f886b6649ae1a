-- Events, written in the transaction of the change they tell of, and delivered after it.
CREATE TABLE outbox_events (
    id            BINARY(16)       NOT NULL,
    -- What must be delivered in order: a booking and its payment; else the event stands alone.
    stream_id     BINARY(16)       NOT NULL,
    -- Fixed by the kind of event, so that one kind happens once to a booking.
    sequence      TINYINT UNSIGNED NOT NULL,
    type          VARCHAR(32)      NOT NULL,
    -- What it is about, for receivers: a booking, a payment, a transaction of points, a performance.
    subject       VARCHAR(64)      NOT NULL,
    -- JSON, sent as it stands.
    data          MEDIUMTEXT       NOT NULL,
    created_at    DATETIME(6)      NOT NULL,
    -- When its deliveries were written; NULL until then.
    dispatched_at DATETIME(6)      NULL,
    PRIMARY KEY (id),
    -- Rule: a change of a booking or payment has one event of its kind.
    UNIQUE KEY uq_outbox_events_stream (stream_id, sequence),
    -- Query: what is still to be dispatched, oldest first; the clean-up.
    KEY ix_outbox_events_dispatch (dispatched_at, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
