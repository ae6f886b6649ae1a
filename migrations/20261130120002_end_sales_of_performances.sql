ALTER TABLE performances
    -- The end of sales; NULL: the start. Servers of the version before sell until the start.
    ADD COLUMN sales_end_at DATETIME(6) NULL,
    -- Rule: no seat is sold once the performance has begun. The table has few rows, so that its copy takes no time.
    ADD CONSTRAINT ck_performances_sales_end CHECK (sales_end_at <= starts_at)
