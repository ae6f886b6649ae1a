-- The memory of the sandbox, a payment provider for development that the server plays itself. No rule reads it.
CREATE TABLE sandbox_checkouts (
    id          BINARY(16)     NOT NULL,
    top_up_id   BINARY(16)     NOT NULL,
    amount      DECIMAL(15, 2) NOT NULL,
    state       ENUM('OPEN', 'PAID', 'FAILED', 'EXPIRED') NOT NULL,
    created_at  DATETIME(6)    NOT NULL,
    expires_at  DATETIME(6)    NOT NULL,
    refunded_at DATETIME(6)    NULL,
    PRIMARY KEY (id),
    -- Rule: creating a checkout again gives the same one. Query: the checkout of a top-up.
    UNIQUE KEY uq_sandbox_checkouts_top_up (top_up_id),
    -- Query: the paid checkouts that a reconciliation compares.
    KEY ix_sandbox_checkouts_created (created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
