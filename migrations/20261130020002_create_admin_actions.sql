-- The action log: one row for each successful write of an administrator, inserted by its transaction and never changed.
CREATE TABLE admin_actions (
    -- A UUIDv7. Query: the log, newest first.
    id          BINARY(16)   NOT NULL,
    actor_id    BINARY(16)   NOT NULL,
    -- Such as `user.updated`.
    action      VARCHAR(40)  NOT NULL,
    -- The id of what was written; its kind is the action's first word.
    target_id   VARCHAR(36)  NOT NULL,
    -- What was asked for, in words.
    details     VARCHAR(500) NOT NULL,
    reason      VARCHAR(500) NULL,
    created_at  DATETIME(6)  NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT fk_admin_actions_actor FOREIGN KEY (actor_id) REFERENCES users (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
