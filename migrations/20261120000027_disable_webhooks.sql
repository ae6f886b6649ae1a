-- A receiver that answers 410 wants no more events; an administrator still sees it.
ALTER TABLE webhooks ADD COLUMN disabled_at DATETIME(6) NULL
