-- How far back events are whole. Delivered ones are removed after a while; the audit asks for none from before this.
CREATE TABLE outbox_horizon (
    -- Always 1: there is one row.
    id             TINYINT UNSIGNED NOT NULL,
    -- Every event that was removed was created before this.
    removed_before DATETIME(6)      NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
