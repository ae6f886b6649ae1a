-- Query: the list of concerts from a date on, when most are over by then; with an end, what has not begun by it is told
-- from the index alone.
CREATE INDEX ix_concerts_last ON concerts (last_performance_at, listed_at)
