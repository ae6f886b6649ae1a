CREATE TABLE users (
    id            BINARY(16)   NOT NULL,
    -- As the user wrote it; NULL once the account is deleted (personal data goes, money records stay).
    email         VARCHAR(254) NULL,
    -- The address in lower case: two accounts never share it.
    email_key     VARCHAR(254) NULL,
    -- Argon2id in PHC format.
    password_hash VARCHAR(255) NULL,
    name          VARCHAR(200) NOT NULL,
    role          ENUM('USER', 'ADMIN') NOT NULL,
    created_at    DATETIME(6)  NOT NULL,
    deleted_at    DATETIME(6)  NULL,
    PRIMARY KEY (id),
    -- Rule: one account per e-mail address. Query: login.
    UNIQUE KEY uq_users_email_key (email_key),
    -- Rule: an account has an address and a password until it is deleted, and none of them after.
    CONSTRAINT ck_users_personal_data CHECK ((deleted_at IS NULL) = (email IS NOT NULL AND email_key IS NOT NULL AND password_hash IS NOT NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
