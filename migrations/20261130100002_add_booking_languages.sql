ALTER TABLE bookings
    -- The language of the buyer's last request, for mail: `en` or `ko`. NULL where no request of the buyer said any.
    ADD COLUMN language CHAR(2) NULL
