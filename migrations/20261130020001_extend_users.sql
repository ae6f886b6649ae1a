ALTER TABLE users
    -- Set while an administrator has blocked the account.
    ADD COLUMN blocked_at DATETIME(6) NULL,
    -- Set when a code that was mailed to the address came back.
    ADD COLUMN email_verified_at DATETIME(6) NULL,
    -- Query: the administrators, locked before one of them is demoted, blocked or deleted.
    ADD KEY ix_users_role (role)
