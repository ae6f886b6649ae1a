-- The latest reconciliation with each payment provider.
CREATE TABLE reconciliations (
    provider    VARCHAR(20)  NOT NULL,
    started_at  DATETIME(6)  NOT NULL,
    -- NULL while it runs, or after it failed.
    finished_at DATETIME(6)  NULL,
    -- The differences found by the latest finished one.
    differences INT UNSIGNED NOT NULL,
    PRIMARY KEY (provider)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
