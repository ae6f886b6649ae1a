-- Fills an empty, migrated database with one administrator for docs/benchmarks/catalogue.md: 10,000 concerts, 100,000
-- performances of 50 seats and one of 100,000. The users have the administrator's password. MySQL or MariaDB; a minute.
SET foreign_key_checks = 0, unique_checks = 0, time_zone = '+00:00';
CREATE TABLE numbers (n INT PRIMARY KEY) WITH RECURSIVE a AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM a WHERE i < 316)
  SELECT 317 * a.i + b.i AS n FROM a, a b WHERE 317 * a.i + b.i < 100000;
SET @now = UTC_TIMESTAMP(6), @hash = (SELECT password_hash FROM users LIMIT 1);
INSERT INTO users (id, email, email_key, password_hash, name, role, created_at)
  SELECT UNHEX(CONCAT('01930000', LPAD(HEX(n), 4, '0'), '70008000000000000000')), CONCAT('u', n, '@example.com'),
    CONCAT('u', n, '@example.com'), @hash, CONCAT('User ', n), 'USER', @now FROM numbers WHERE n < 20000;
INSERT INTO venues (id, name, address, created_at)
  SELECT n + 1, CONCAT('Hall ', n), 'Seoul', @now FROM numbers WHERE n < 100;
INSERT INTO concerts (id, title, artist, category, description, listed_at, created_at)
  SELECT n + 1, CONCAT(ELT(1 + n % 7, 'Summer', 'Winter', 'Night', 'Farewell', 'World', 'Acoustic', 'Encore'), ' ',
    ELT(1 + n DIV 7 % 5, 'Tour', 'Live', 'Festival', 'Session', 'Gala'), ' ', n), CONCAT('Artist ', n % 1500),
    ELT(1 + n % 8, 'Rock', 'Jazz', 'Classical', 'Pop', 'Musical', 'Folk', 'Hip-hop', 'Opera'), REPEAT('About it. ', 30),
    @now, @now FROM numbers WHERE n < 10000;
INSERT INTO queues (concert_id, mode, admit_count, admit_interval_seconds, max_active, active_seconds, claim_seconds, decided_at)
  SELECT id, 'QUEUE', 100, 10, 1000, 600, 60, @now FROM concerts;
INSERT INTO performances (id, concert_id, venue_id, starts_at, total_seats, min_price, max_price, created_at)
  SELECT n + 1, n DIV 10 + 1, n DIV 10 % 100 + 1, @now + INTERVAL n DIV 10 * 7919 % 700 - 50 + n % 10 DAY, 50, 50000, 50000, @now
    FROM numbers;
UPDATE concerts c JOIN (SELECT concert_id, MIN(starts_at) AS first_at, MAX(starts_at) AS last_at FROM performances
    GROUP BY concert_id) p ON p.concert_id = c.id
  SET c.first_performance_at = first_at, c.last_performance_at = last_at, c.listed_at = first_at, c.min_price = 50000, c.max_price = 50000;
INSERT INTO seats (id, performance_id, section, row_name, row_rank, number, grade, price)
  SELECT 50 * p.n + s.n + 1, p.n + 1, 'A', CHAR(65 + s.n DIV 10), 1 + s.n DIV 10, 1 + s.n % 10, 'R', 50000
    FROM numbers p STRAIGHT_JOIN numbers s ON s.n < 50 ORDER BY p.n, s.n;
-- Five bookings of two seats each in every performance: k = 0, 1 confirmed, 2 refunded, 3 expired, 4 cancelled or pending.
CREATE TABLE b AS SELECT 5 * p.n + k.n AS n, p.n AS p, k.n AS k, p.n % 20000 AS u, p.n DIV 20000 AS j,
    UNHEX(CONCAT('0193', LPAD(HEX(5 * p.n + k.n), 8, '0'), '70008000000000000001')) AS id,
    UNHEX(CONCAT('0193', LPAD(HEX(5 * p.n + k.n), 8, '0'), '70008000000000000002')) AS payment_id,
    UNHEX(CONCAT('01930000', LPAD(HEX(p.n % 20000), 4, '0'), '70008000000000000000')) AS user_id,
    ELT(1 + k.n, 'CONFIRMED', 'CONFIRMED', 'REFUNDED', 'EXPIRED', IF(p.n % 10 = 9, 'PENDING', 'CANCELLED')) AS status
  FROM numbers p STRAIGHT_JOIN numbers k ON k.n < 5 ORDER BY p.n, k.n;
SET @past = @now - INTERVAL 1 HOUR, @future = @now + INTERVAL 1 DAY;
INSERT INTO bookings
  SELECT id, user_id, p DIV 10 + 1, p + 1, status, 2, 100000, IF(status = 'PENDING', @future, @past), FALSE,
    IF(k < 3, payment_id, NULL), @past, IF(k < 3, @past, NULL), IF(status IN ('CANCELLED', 'REFUNDED'), @past, NULL) FROM b;
INSERT INTO booking_seats SELECT id, 50 * p + 2 * k + s.n + 1, 50000 FROM b STRAIGHT_JOIN numbers s ON s.n < 2;
INSERT INTO payments SELECT payment_id, id, user_id, 100000, IF(k = 2, 'REFUNDED', 'COMPLETED'), @past, IF(k = 2, @past, NULL)
  FROM b WHERE k < 3;
INSERT INTO seat_claims
  SELECT 50 * p + 2 * k + s.n + 1, p + 1, id, IF(k < 2, NULL, IF(status = 'PENDING', @future, @past)), IF(k < 2, payment_id, NULL), @past
    FROM b STRAIGHT_JOIN numbers s ON s.n < 2;
INSERT INTO point_wallets
  SELECT id, 9000000, 21, @past FROM users WHERE role = 'USER';
INSERT INTO point_transactions
  SELECT UNHEX(CONCAT('01930000', LPAD(HEX(n), 4, '0'), '70008000000000000003')),
    UNHEX(CONCAT('01930000', LPAD(HEX(n), 4, '0'), '70008000000000000000')), 1, 'CHARGE', 10000000, 10000000, NULL, NULL, @past
    FROM numbers WHERE n < 20000;
INSERT INTO point_transactions
  SELECT UNHEX(CONCAT('0193', LPAD(HEX(n), 8, '0'), '70008000000000000004')), user_id, 2 + 4 * j + k, 'PAYMENT', -100000,
    10000000 - 200000 * j - 100000 * (k + 1), id, payment_id, @past FROM b WHERE k < 3;
INSERT INTO point_transactions
  SELECT UNHEX(CONCAT('0193', LPAD(HEX(n), 8, '0'), '70008000000000000005')), user_id, 5 + 4 * j, 'REFUND', 100000,
    10000000 - 200000 * (j + 1), id, payment_id, @past FROM b WHERE k = 2;
INSERT INTO outbox_horizon VALUES (1, @now);
DROP TABLE b;
-- A performance of 100,000 seats.
SET @p = 100001;
INSERT INTO performances (id, concert_id, venue_id, starts_at, total_seats, min_price, max_price, created_at)
  VALUES (@p, 6, 1, @now + INTERVAL 200 DAY, 100000, 150000, 150000, @now);
INSERT INTO seats (performance_id, section, row_name, row_rank, number, grade, price)
  SELECT @p, IF(n < 50000, 'A', 'B'), 1 + n DIV 100 % 500, 1 + n DIV 100 % 500, 1 + n % 100, 'R', 150000 FROM numbers ORDER BY n;
UPDATE concerts SET max_price = 150000, last_performance_at = GREATEST(last_performance_at, @now + INTERVAL 200 DAY),
  first_performance_at = LEAST(first_performance_at, @now + INTERVAL 200 DAY), listed_at = first_performance_at WHERE id = 6;
-- Holds of 60,000 of its 100,000 seats, four each by 15,000 users.
CREATE TABLE h AS SELECT id AS seat_id, price, (place - 1) DIV 4 AS n FROM
  (SELECT id, price, ROW_NUMBER() OVER (ORDER BY id) AS place FROM seats WHERE performance_id = @p) s WHERE place <= 60000;
ALTER TABLE h ADD COLUMN id BINARY(16) GENERATED ALWAYS AS (UNHEX(CONCAT('0193F', LPAD(HEX(n), 7, '0'), '70008000000000000001'))) STORED,
  ADD COLUMN user_id BINARY(16) GENERATED ALWAYS AS (UNHEX(CONCAT('01930000', LPAD(HEX(n), 4, '0'), '70008000000000000000'))) STORED;
INSERT INTO bookings SELECT id, user_id, 6, @p, 'PENDING', COUNT(*), SUM(price), @future, FALSE, NULL,
  @past, NULL, NULL FROM h GROUP BY id, user_id;
INSERT INTO booking_seats SELECT id, seat_id, price FROM h;
INSERT INTO seat_claims SELECT seat_id, @p, id, @future, NULL, @past FROM h;
DROP TABLE h;
DROP TABLE numbers;
ANALYZE TABLE users, concerts, performances, seats, queues, bookings, booking_seats, payments, seat_claims,
  point_transactions;
