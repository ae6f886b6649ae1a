-- The constraint is added without reading the rows, since its predecessor has checked them: so the sale goes on.
SET SESSION foreign_key_checks = 0;
ALTER TABLE refresh_tokens
    -- Without ON DELETE CASCADE: Group Replication with writes at every node refuses writes to such a table
    -- (group_replication_enforce_update_everywhere_checks). A session's tokens are deleted before it.
    DROP FOREIGN KEY fk_refresh_tokens_session,
    ADD CONSTRAINT fk_refresh_tokens_login FOREIGN KEY (session_id) REFERENCES sessions (id),
    ALGORITHM = INPLACE;
SET SESSION foreign_key_checks = 1
