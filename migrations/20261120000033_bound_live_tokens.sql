-- No more tokens of the queue than this are live: each one issued counts, and those that ended are taken off when the
-- tokens are counted, which is done once the bound says that there may be no room. Of a queue that exists nothing is known.
ALTER TABLE queues ADD COLUMN live_bound INT UNSIGNED NOT NULL DEFAULT 4294967295
