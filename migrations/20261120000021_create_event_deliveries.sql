-- One event to one destination.
CREATE TABLE event_deliveries (
    event_id        BINARY(16)        NOT NULL,
    -- `data-platform`, or a webhook's id.
    destination     VARCHAR(36)       NOT NULL,
    stream_id       BINARY(16)        NOT NULL,
    sequence        TINYINT UNSIGNED  NOT NULL,
    status          ENUM('PENDING', 'DELIVERED', 'PARKED') NOT NULL,
    attempts        SMALLINT UNSIGNED NOT NULL,
    last_error      VARCHAR(500)      NULL,
    created_at      DATETIME(6)       NOT NULL,
    -- Moved on by whoever takes the delivery, so that two instances do not send it at once.
    next_attempt_at DATETIME(6)       NOT NULL,
    PRIMARY KEY (event_id, destination),
    -- Query: what is due at a destination; the administrator's list.
    KEY ix_event_deliveries_due (status, next_attempt_at),
    -- Query: whether an earlier event of the stream is still to be delivered there.
    KEY ix_event_deliveries_stream (stream_id, destination, sequence),
    CONSTRAINT fk_event_deliveries_event FOREIGN KEY (event_id) REFERENCES outbox_events (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
