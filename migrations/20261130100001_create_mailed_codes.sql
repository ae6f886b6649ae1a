-- Codes that are mailed, each proof that its holder reads the mail of an account. A code is derived from its row's id by
-- the server's secret, so no table holds one.
CREATE TABLE mailed_codes (
    -- A UUIDv7.
    id         BINARY(16)   NOT NULL,
    -- NULL for a code without a recipient: a reset for an unknown address writes the same rows as for a known one.
    user_id    BINARY(16)   NULL,
    purpose    ENUM('VERIFY_EMAIL', 'RESET_PASSWORD') NOT NULL,
    -- SHA-256 of the code.
    digest     BINARY(32)   NOT NULL,
    -- The key that derives the code.
    key_id     INT UNSIGNED NOT NULL,
    -- The language of the mail: `en` or `ko`.
    language   CHAR(2)      NOT NULL,
    created_at DATETIME(6)  NOT NULL,
    expires_at DATETIME(6)  NOT NULL,
    -- Set when the code is used, or another one in its place.
    used_at    DATETIME(6)  NULL,
    PRIMARY KEY (id),
    -- Query: a code by its text.
    UNIQUE KEY uq_mailed_codes_digest (digest),
    -- Query: the codes that an account was sent lately; those that are void once one is used.
    KEY ix_mailed_codes_user (user_id, purpose, created_at),
    -- Query: the clean-up.
    KEY ix_mailed_codes_expires (expires_at),
    CONSTRAINT fk_mailed_codes_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
