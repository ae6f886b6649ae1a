ALTER TABLE point_wallets
    -- The limit of a balance is a rule for charges. A refund may exceed it: its booking could not be given back otherwise.
    DROP CONSTRAINT ck_point_wallets_balance,
    ADD CONSTRAINT ck_point_wallets_balance CHECK (balance >= 0)
