CREATE TABLE webhooks (
    id         BINARY(16)    NOT NULL,
    url        VARCHAR(2000) NOT NULL,
    -- The types of events it receives, separated by spaces.
    types      VARCHAR(500)  NOT NULL,
    -- What its deliveries are signed with: shown to the administrator once.
    secret     VARCHAR(100)  NOT NULL,
    created_at DATETIME(6)   NOT NULL,
    deleted_at DATETIME(6)   NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
