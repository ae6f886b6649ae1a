-- With ck_bookings_paid: a confirmed booking without a payment cannot be stored.
ALTER TABLE bookings ADD CONSTRAINT fk_bookings_payment FOREIGN KEY (payment_id) REFERENCES payments (id)
