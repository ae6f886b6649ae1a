-- Query: the bookings that were made in a time, in order, for an export.
CREATE INDEX ix_bookings_created ON bookings (created_at, id)
