-- Query: the changes of all balances in a time, in order, for an export.
CREATE INDEX ix_point_transactions_created ON point_transactions (created_at, id)
