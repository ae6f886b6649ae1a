CREATE TABLE queue_tokens (
    -- concert_id * 2^32 + the token's number in its concert: one column, so that a set of them is one range read,
    -- and the tokens of a concert lie together in the order they were issued.
    id            BIGINT UNSIGNED NOT NULL,
    concert_id    BIGINT UNSIGNED NOT NULL,
    user_id       BINARY(16)      NOT NULL,
    -- Which signing key made the token's text, so that joining again gives the same text after a rotation.
    key_id        INT UNSIGNED    NOT NULL,
    status        ENUM('SCHEDULED', 'WAITING', 'ACTIVE', 'COMPLETED', 'EXPIRED', 'LEFT') NOT NULL,
    -- The place in the line, dense per concert; NULL until it is drawn.
    place         INT UNSIGNED    NULL,
    issued_at     DATETIME(6)     NOT NULL,
    admitted_at   DATETIME(6)     NULL,
    -- The first use after admission.
    claimed_at    DATETIME(6)     NULL,
    -- How long an active token lives; a hold moves it on.
    expires_at    DATETIME(6)     NULL,
    -- When an active token ends as things stand: the claim's deadline until it is claimed, then expires_at.
    lapses_at     DATETIME(6)     NULL,
    ended_at      DATETIME(6)     NULL,
    -- Until when someone waiting counts as present: known for those near the head only.
    present_until DATETIME(6)     NULL,
    live          TINYINT GENERATED ALWAYS AS (CASE WHEN status IN ('SCHEDULED', 'WAITING', 'ACTIVE') THEN 1 END) STORED,
    PRIMARY KEY (id),
    -- Rule: a place belongs to one token. It comes first, so that MariaDB checks fk_queue_tokens_queue when it changes:
    -- with the next one first, it would lock the queue's row whenever a token ends, behind tokens that are locked.
    UNIQUE KEY uq_queue_tokens_place (concert_id, place),
    -- Rule: a user has at most one live token per concert.
    UNIQUE KEY uq_queue_tokens_live (concert_id, user_id, live),
    -- Query: who is next; who left.
    KEY ix_queue_tokens_waiting (concert_id, status, place),
    -- Query: how many are active; which of them have lapsed.
    KEY ix_queue_tokens_active (concert_id, status, lapses_at),
    -- Query: the tokens of a user who deletes the account.
    KEY ix_queue_tokens_user (user_id, live),
    CONSTRAINT fk_queue_tokens_queue FOREIGN KEY (concert_id) REFERENCES queues (concert_id),
    CONSTRAINT fk_queue_tokens_user FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT ck_queue_tokens_id CHECK (id DIV 4294967296 = concert_id),
    CONSTRAINT ck_queue_tokens_place CHECK (place IS NOT NULL OR status IN ('SCHEDULED', 'LEFT')),
    CONSTRAINT ck_queue_tokens_active CHECK (status <> 'ACTIVE' OR (admitted_at IS NOT NULL AND expires_at IS NOT NULL AND lapses_at IS NOT NULL AND lapses_at <= expires_at)),
    CONSTRAINT ck_queue_tokens_ended CHECK ((ended_at IS NULL) = (status IN ('SCHEDULED', 'WAITING', 'ACTIVE')))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
