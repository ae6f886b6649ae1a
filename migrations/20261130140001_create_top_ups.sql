-- Money in: points that a user buys through a payment provider.
CREATE TABLE top_ups (
    -- A UUIDv7. The ledger's entry of the top-up has the same id, so the ledger's primary key refuses a second one.
    id                     BINARY(16)        NOT NULL,
    user_id                BINARY(16)        NOT NULL,
    -- The name of the payment provider, such as `stripe`.
    provider               VARCHAR(20)       NOT NULL,
    amount                 DECIMAL(15, 2)    NOT NULL,
    status                 ENUM('PENDING', 'COMPLETED', 'FAILED', 'EXPIRED') NOT NULL,
    -- Why it failed.
    failure                VARCHAR(40)       NULL,
    -- The provider's checkout; NULL until its creation was answered.
    checkout_id            VARCHAR(255)      NULL,
    checkout_url           VARCHAR(2000)     NULL,
    created_at             DATETIME(6)       NOT NULL,
    expires_at             DATETIME(6)       NOT NULL,
    ended_at               DATETIME(6)       NULL,
    -- The ledger's entry that credited it.
    transaction_id         BINARY(16)        NULL,
    -- When the money has to go back to the payer; when the provider has confirmed that.
    refund_requested_at    DATETIME(6)       NULL,
    refunded_at            DATETIME(6)       NULL,
    -- The ledger's entry that took the points back; NULL if they were never credited.
    refund_transaction_id  BINARY(16)        NULL,
    -- The next call of the provider by the job, or the end of the lease of a caller under way; NULL if nothing is left to do.
    next_attempt_at        DATETIME(6)       NULL,
    attempts               INT UNSIGNED      NOT NULL,
    -- The idempotency key and body of the request until it is answered: its repetition continues this top-up.
    request_digest         BINARY(32)        NULL,
    request_fingerprint    BINARY(32)        NULL,
    PRIMARY KEY (id),
    -- Rule: an unanswered request has one top-up.
    UNIQUE KEY uq_top_ups_request (request_digest),
    -- Rule: an entry takes the points of one top-up back.
    UNIQUE KEY uq_top_ups_refund (refund_transaction_id),
    -- Query: a user's top-ups, newest first.
    KEY ix_top_ups_user (user_id, id),
    -- Query: the top-ups that the job attends to.
    KEY ix_top_ups_next (next_attempt_at),
    -- Query: the top-ups that a reconciliation compares.
    KEY ix_top_ups_created (created_at),
    CONSTRAINT fk_top_ups_user FOREIGN KEY (user_id) REFERENCES users (id),
    CONSTRAINT fk_top_ups_transaction FOREIGN KEY (transaction_id) REFERENCES point_transactions (id),
    CONSTRAINT fk_top_ups_refund FOREIGN KEY (refund_transaction_id) REFERENCES point_transactions (id),
    -- Rule: completed means credited, by the entry with the same id.
    CONSTRAINT ck_top_ups_credited CHECK ((status = 'COMPLETED') = (transaction_id IS NOT NULL) AND COALESCE(transaction_id = id, TRUE)),
    -- Rule: what has ended has an instant, and what failed a reason.
    CONSTRAINT ck_top_ups_ended CHECK ((status = 'PENDING') = (ended_at IS NULL) AND (status = 'FAILED') = (failure IS NOT NULL)),
    -- Rule: points are taken back of a credited top-up alone, and money goes back of an ended one.
    CONSTRAINT ck_top_ups_refund CHECK ((refund_transaction_id IS NULL OR (status = 'COMPLETED' AND refund_requested_at IS NOT NULL)) AND (refund_requested_at IS NULL OR status IN ('COMPLETED', 'FAILED')) AND (refunded_at IS NULL OR refund_requested_at IS NOT NULL)),
    CONSTRAINT ck_top_ups_amount CHECK (amount > 0) -- Rule: nothing isn't bought.
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
