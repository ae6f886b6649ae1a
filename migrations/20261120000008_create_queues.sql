-- One waiting queue per concert. Its row is the lock under which places are handed out and people admitted.
CREATE TABLE queues (
    concert_id             BIGINT UNSIGNED NOT NULL,
    mode                   ENUM('QUEUE', 'OPEN', 'PAUSED') NOT NULL,
    admit_count            INT UNSIGNED    NOT NULL,
    admit_interval_seconds INT UNSIGNED    NOT NULL,
    max_active             INT UNSIGNED    NOT NULL,
    active_seconds         INT UNSIGNED    NOT NULL,
    claim_seconds          INT UNSIGNED    NOT NULL,
    -- NULL: open from the beginning.
    sales_open_at          DATETIME(6)     NULL,
    -- The draw: fixed when sales_open_at is set; its SHA-256 is the public commitment.
    draw_seed              BINARY(32)      NULL,
    drawn_at               DATETIME(6)     NULL,
    entrant_count          INT UNSIGNED    NULL,
    -- Tokens and places handed out so far.
    last_number            INT UNSIGNED    NOT NULL DEFAULT 0,
    last_place             INT UNSIGNED    NOT NULL DEFAULT 0,
    -- Every place up to here was admitted, has ended, or was passed over.
    head                   INT UNSIGNED    NOT NULL DEFAULT 0,
    -- How many left while waiting: tells an instance that its list of empty places is old.
    departures             INT UNSIGNED    NOT NULL DEFAULT 0,
    -- The latest instant anything was decided at: time in a queue never runs backwards between instances.
    decided_at             DATETIME(6)     NOT NULL,
    PRIMARY KEY (concert_id),
    CONSTRAINT fk_queues_concert FOREIGN KEY (concert_id) REFERENCES concerts (id),
    -- Rule: the bounds of the admission rate.
    CONSTRAINT ck_queues_admission CHECK (admit_count BETWEEN 1 AND 100000 AND admit_interval_seconds BETWEEN 1 AND 3600),
    -- Rule: the bounds of the room and of a token's life.
    CONSTRAINT ck_queues_active CHECK (max_active BETWEEN 1 AND 1000000 AND active_seconds BETWEEN 1 AND 86400 AND claim_seconds BETWEEN 1 AND 3600),
    -- Rule: nobody is admitted beyond the last place that was given out.
    CONSTRAINT ck_queues_head CHECK (head <= last_place),
    -- Rule: a draw has entrants and comes from a seed.
    CONSTRAINT ck_queues_draw CHECK ((drawn_at IS NULL) = (entrant_count IS NULL) AND (drawn_at IS NULL OR draw_seed IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
