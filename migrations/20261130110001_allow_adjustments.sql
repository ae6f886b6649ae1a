ALTER TABLE point_transactions
    -- An administrator's correction: positive or negative, without a payment.
    MODIFY COLUMN type ENUM('CHARGE', 'PAYMENT', 'REFUND', 'ADJUSTMENT') NOT NULL,
    -- Neither rule knows adjustments, and both databases copy the table to add a constraint: the ledger grows forever, and
    -- a copy would stop the sale. That an entry has the sign and the references of its type is for the audit to check.
    DROP CONSTRAINT ck_point_transactions_sign,
    DROP CONSTRAINT ck_point_transactions_payment
