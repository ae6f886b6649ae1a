//! Examples of responses that several operations share.

use serde_json::{Value, json};

const BOOKING: &str = "01939e6b-0c5d-7b11-8f3e-5a0d6c1b2e34";

const PAYMENT: &str = "01939e6b-8d01-7f3a-b2c4-1d9e8f7a6b5c";

const USER: &str = "01939e6a-9b3c-7a4e-8e51-0c2d4f6a8b1e";

/// A queue token that is `WAITING` or `ACTIVE`.
pub(in crate::interfaces::http) fn queue_token(status: &str) -> Value {
    let is_active = status == "ACTIVE";
    let (p50, p90) = if is_active { (0, 0) } else { (60, 85) };
    json!({
        "queueToken": "AgAAAAAAAAABAZOeawxdexGPPloNbBsuNAAAAAAAAAAHm1dYd3yqk0J0c1Wq2b8Q",
        "concertId": 1,
        "status": status,
        "position": if is_active { 0 } else { 1_234 },
        "estimatedWait": {"p50Seconds": p50, "p90Seconds": p90},
        "pollAfterSeconds": 6,
        "issuedAt": "2026-11-20T08:01:00.000Z",
        "expiresAt": is_active.then_some("2026-11-20T08:12:00.000Z"),
        "secondsLeft": is_active.then_some(600),
        "serverTime": "2026-11-20T08:02:00.000Z",
    })
}

/// A booking that is `PENDING` or `CONFIRMED`.
pub(in crate::interfaces::http) fn booking(status: &str) -> Value {
    let is_paid = status == "CONFIRMED";
    let seat = |id: u32| json!({"seatId": id, "section": "Floor", "row": "A", "number": id, "grade": "VIP", "price": "150000"});
    json!({
        "bookingId": BOOKING,
        "userId": USER,
        "concertId": 1,
        "performanceId": 1,
        "status": status,
        "seats": [seat(1), seat(2)],
        "totalPrice": "300000",
        "heldUntil": "2026-11-20T08:07:11.123Z",
        "secondsLeft": (!is_paid).then_some(299),
        "extended": false,
        "complimentary": false,
        "createdAt": "2026-11-20T08:02:11.123Z",
        "confirmedAt": is_paid.then_some("2026-11-20T08:03:02.456Z"),
        "cancelledAt": null,
        "paymentId": is_paid.then_some(PAYMENT),
    })
}

/// A completed payment.
pub(in crate::interfaces::http) fn paid() -> Value {
    json!({
        "paymentId": PAYMENT,
        "bookingId": BOOKING,
        "amount": "300000",
        "status": "COMPLETED",
        "balance": "200000",
        "paidAt": "2026-11-20T08:03:02.456Z",
        "booking": booking("CONFIRMED"),
    })
}
