CREATE TABLE concerts (
    id                   BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    -- Searched without case, so not binary.
    title                VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL,
    artist               VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL,
    category             VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci NOT NULL,
    description          TEXT            NOT NULL,
    -- Over its performances that are not cancelled, written with them; NULL while there is none.
    first_performance_at DATETIME(6)     NULL,
    last_performance_at  DATETIME(6)     NULL,
    min_price            DECIMAL(15, 2)  NULL,
    max_price            DECIMAL(15, 2)  NULL,
    -- The list's order: first_performance_at, or the end of time while there is none.
    listed_at            DATETIME(6)     NOT NULL,
    created_at           DATETIME(6)     NOT NULL,
    deleted_at           DATETIME(6)     NULL,
    PRIMARY KEY (id),
    -- Query: the list of concerts, soonest first, a page at a time.
    KEY ix_concerts_listed (listed_at, id),
    -- Query: the same list of one category.
    KEY ix_concerts_category (category, listed_at, id),
    -- Rule: the first and the last performance are known together.
    CONSTRAINT ck_concerts_performances CHECK ((first_performance_at IS NULL) = (last_performance_at IS NULL)),
    -- Rule: prices are a range that isn't negative.
    CONSTRAINT ck_concerts_prices CHECK (min_price IS NULL OR (min_price >= 0 AND min_price <= max_price))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
