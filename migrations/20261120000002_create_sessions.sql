CREATE TABLE sessions (
    id         BINARY(16)  NOT NULL,
    user_id    BINARY(16)  NOT NULL,
    created_at DATETIME(6) NOT NULL,
    -- When the newest refresh token of the session ends.
    expires_at DATETIME(6) NOT NULL,
    -- Set by logout, by the second use of a refresh token, and by the account's deletion.
    revoked_at DATETIME(6) NULL,
    PRIMARY KEY (id),
    -- Query: every instance reads the newly revoked sessions several times a second.
    KEY ix_sessions_revoked (revoked_at),
    -- Query: the clean-up of ended sessions.
    KEY ix_sessions_expires (expires_at),
    CONSTRAINT fk_sessions_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
