ALTER TABLE seat_claims
    -- A claim is sold by a statement that finds the payment, and bookings.payment_id refers to it: a second proof for
    -- every seat costs two keys a seat to hold, and four to pay.
    DROP FOREIGN KEY fk_seat_claims_payment,
    DROP KEY fk_seat_claims_payment
