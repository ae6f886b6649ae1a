ALTER TABLE point_wallets
    -- Set by the account's deletion, also for a user who never had points. Rule: a charge or payment that was decided before
    -- the deletion and is written after it finds the wallet closed.
    ADD COLUMN closed_at DATETIME(6) NULL,
    -- A wallet may close before its first change. That the version is the number of changes is for the audit to check: both
    -- databases copy the table to add a constraint.
    DROP CONSTRAINT ck_point_wallets_version
