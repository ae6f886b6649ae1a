-- Tokens whose users left behind the head are removed once the head has passed them. The head of a queue without any live
-- token didn't move, so they stayed for ever.
UPDATE queues SET head = last_place WHERE occupied IS NULL AND head < last_place;
