-- Rule: once a draw is made every token has a place. The version before let an opening move after its draw, and those who
-- came before the second opening had none. They get their places here, in the order they came: one transaction, under the
-- locks of the queues.
UPDATE queues q
JOIN (
    SELECT t.concert_id, COUNT(*) AS tokens
    FROM queue_tokens t
    JOIN queues d ON d.concert_id = t.concert_id AND d.drawn_at IS NOT NULL
    WHERE t.status = 'SCHEDULED' AND t.id > d.concert_id * 4294967296 + d.draw_last_number
    GROUP BY t.concert_id
) late ON late.concert_id = q.concert_id
SET q.last_place = q.last_place + late.tokens;
UPDATE queue_tokens u
JOIN (
    SELECT t.id, d.last_place - COUNT(*) OVER (PARTITION BY t.concert_id)
        + ROW_NUMBER() OVER (PARTITION BY t.concert_id ORDER BY t.id) AS place
    FROM queue_tokens t
    JOIN queues d ON d.concert_id = t.concert_id AND d.drawn_at IS NOT NULL
    WHERE t.status = 'SCHEDULED' AND t.id > d.concert_id * 4294967296 + d.draw_last_number
) late ON late.id = u.id
SET u.place = late.place, u.status = 'WAITING'
