-- What any instance needs to go on with a draw that another one began: the order itself follows from seed and entrants.
ALTER TABLE queues
    -- Places given out before the draw: the entrants' places are the next entrant_count ones.
    ADD COLUMN draw_base        INT UNSIGNED NULL,
    -- Tokens given out before the draw: no later one takes part.
    ADD COLUMN draw_last_number INT UNSIGNED NULL,
    -- How many of the entrants, in drawn order, have their places.
    ADD COLUMN draw_placed      INT UNSIGNED NULL,
    -- Rule: a draw knows where it stands, and places nobody but its entrants.
    ADD CONSTRAINT ck_queues_draw_progress CHECK ((drawn_at IS NULL) = (draw_base IS NULL) AND (drawn_at IS NULL) = (draw_last_number IS NULL) AND (drawn_at IS NULL) = (draw_placed IS NULL) AND (draw_placed IS NULL OR draw_placed <= entrant_count))
