ALTER TABLE bookings
    -- An administrator gave the seats away: the total is 0, and the seat limit leaves them out. They were never held.
    ADD COLUMN complimentary BOOLEAN NOT NULL DEFAULT FALSE
