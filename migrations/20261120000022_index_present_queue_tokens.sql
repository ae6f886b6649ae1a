-- Query: who has come back after being passed over, and how many of the waiting are there. Those who went away stay
-- outside its range however many they are; the place is in it so that those further back need no look at their rows.
CREATE INDEX ix_queue_tokens_present ON queue_tokens (concert_id, status, present_until, place)
