ALTER TABLE refresh_tokens
    -- Of a used token: the id of the key that signed the token it was exchanged for. A second use within seconds signs the
    -- same token again. Rows with a key may be removed early, because the token's text names its session.
    ADD COLUMN successor_key INT UNSIGNED NULL
