CREATE TABLE point_wallets (
    user_id    BINARY(16)      NOT NULL,
    balance    DECIMAL(15, 2)  NOT NULL,
    -- Optimistic lock: a change is written WHERE version is what was read.
    version    BIGINT UNSIGNED NOT NULL,
    updated_at DATETIME(6)     NOT NULL,
    PRIMARY KEY (user_id),
    CONSTRAINT fk_point_wallets_user FOREIGN KEY (user_id) REFERENCES users (id),
    -- Rule: a balance is never negative, nor above its limit.
    CONSTRAINT ck_point_wallets_balance CHECK (balance >= 0 AND balance <= 999999999999.99),
    -- Rule: a wallet begins with its first change.
    CONSTRAINT ck_point_wallets_version CHECK (version >= 1)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
