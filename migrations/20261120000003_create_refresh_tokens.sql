CREATE TABLE refresh_tokens (
    -- SHA-256 of the token: the database never holds what a client could present.
    digest     BINARY(32)  NOT NULL,
    -- The family: using one of its tokens twice revokes the session.
    session_id BINARY(16)  NOT NULL,
    issued_at  DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    used_at    DATETIME(6) NULL,
    PRIMARY KEY (digest),
    CONSTRAINT fk_refresh_tokens_session FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
