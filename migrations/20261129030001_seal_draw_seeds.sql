-- Rule: a reader of the database doesn't learn a seed before the opening. Until the draw is made the seed lies here,
-- encrypted with the server's secrets; draw_seed has it from then on.
ALTER TABLE queues
    -- SHA-256 of the seed.
    ADD COLUMN draw_commitment  BINARY(32) NULL,
    ADD COLUMN draw_sealed_seed BINARY(64) NULL
