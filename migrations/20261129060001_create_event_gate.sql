-- Who writes events looks whether any webhook is sent them, and who registers a webhook waits for those who have looked.
-- Rule: an event that is committed after a webhook was registered is sent to it. Its writer shares the gate's row until
-- its commit; the registration has it alone.
CREATE TABLE event_gate (
    -- Always 1: the one row comes with the table.
    id TINYINT UNSIGNED NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
SELECT 1 AS id
