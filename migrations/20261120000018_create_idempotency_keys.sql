-- Written in the transaction of the effect: a key has at most one.
CREATE TABLE idempotency_keys (
    -- SHA-256 of user, method, path and key: one column, so that a set of them is one read.
    digest      BINARY(32)        NOT NULL,
    user_id     BINARY(16)        NOT NULL,
    -- SHA-256 of the request's body: the same key with another body is refused.
    fingerprint BINARY(32)        NOT NULL,
    status      SMALLINT UNSIGNED NOT NULL,
    -- The answer, byte for byte.
    body        MEDIUMBLOB        NOT NULL,
    created_at  DATETIME(6)       NOT NULL,
    PRIMARY KEY (digest),
    -- Query: the clean-up of keys older than a day.
    KEY ix_idempotency_keys_created (created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
