-- One row for each instant at which somebody was admitted, with the limits then in force: the sliding window is
-- counted from it, and the audit holds the tokens against it.
CREATE TABLE queue_admissions (
    concert_id             BIGINT UNSIGNED NOT NULL,
    admitted_at            DATETIME(6)     NOT NULL,
    admitted               INT UNSIGNED    NOT NULL,
    -- How many were active when it was done.
    active                 INT UNSIGNED    NOT NULL,
    mode                   ENUM('QUEUE', 'OPEN', 'PAUSED') NOT NULL,
    admit_count            INT UNSIGNED    NOT NULL,
    admit_interval_seconds INT UNSIGNED    NOT NULL,
    max_active             INT UNSIGNED    NOT NULL,
    PRIMARY KEY (concert_id, admitted_at),
    -- Query: the clean-up.
    KEY ix_queue_admissions_admitted (admitted_at),
    CONSTRAINT fk_queue_admissions_queue FOREIGN KEY (concert_id) REFERENCES queues (concert_id),
    -- Rule: nobody is admitted beyond max_active.
    CONSTRAINT ck_queue_admissions_active CHECK (admitted >= 1 AND active <= max_active)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
