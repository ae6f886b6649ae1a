-- Query: the top-ups of one status, newest first, for administrators.
CREATE INDEX ix_top_ups_status ON top_ups (status, id)
