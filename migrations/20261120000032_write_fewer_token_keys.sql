ALTER TABLE queue_tokens
    -- Query: the tokens of a user who deletes the account. Whether they are live is read from the few rows.
    DROP KEY ix_queue_tokens_user,
    ADD KEY ix_queue_tokens_user (user_id)
