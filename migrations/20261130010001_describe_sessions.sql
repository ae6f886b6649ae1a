ALTER TABLE sessions
    -- The login, or the newest exchange of a refresh token. NULL for sessions that began before this column: their login.
    ADD COLUMN last_used_at DATETIME(6) NULL,
    -- The User-Agent of the login, for the owner's list of sessions.
    ADD COLUMN user_agent VARCHAR(200) NULL
