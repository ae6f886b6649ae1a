-- The lists of draws that are made already: 2,000 entrants a part.
SET SESSION group_concat_max_len = 1048576;
INSERT INTO draw_entrants (concert_id, first_rank, entrants)
SELECT t.concert_id, MIN(t.place) - q.draw_base, GROUP_CONCAT(t.entrant ORDER BY t.place SEPARATOR '')
FROM queues q
JOIN queue_tokens t ON t.concert_id = q.concert_id AND t.entrant IS NOT NULL
    AND t.place BETWEEN q.draw_base + 1 AND q.draw_base + q.draw_placed
WHERE q.drawn_at IS NOT NULL
GROUP BY t.concert_id, q.draw_base, (t.place - q.draw_base - 1) DIV 2000
