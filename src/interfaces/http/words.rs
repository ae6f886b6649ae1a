//! The enumerations of the API, as the OpenAPI document shows them.
//!
//! Responses are written from the domain's names; the types of this file appear in the document only. The tests' client
//! compares every response with these lists.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::domain::{administration::ActionKind, event::KINDS};

/// An enumeration of the API.
pub trait Words {
    /// All values.
    const ALL: &'static [&'static str];
}

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident as $shown:literal = $words:expr;)+) => {
        $($(#[doc = $doc])+
        #[derive(Debug)]
        pub enum $name {}

        impl Words for $name {
            const ALL: &'static [&'static str] = &$words;
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some(concat!($($doc),+).trim()))
                    .enum_values(Some(Self::ALL.iter().copied()))
                    .examples(Self::ALL.first().copied())
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $shown.into()
            }
        })+
    };
}

words! {
    /// The role of a user.
    Roles as "Role" = ["USER", "ADMIN"];
    /// How a queue admits users: at a bounded rate, at once while there is room, or not at all.
    QueueModes as "QueueMode" = ["QUEUE", "OPEN", "PAUSED"];
    /// The status of a queue token. The last three are final.
    QueueTokenStatuses as "QueueTokenStatus" = ["SCHEDULED", "WAITING", "ACTIVE", "COMPLETED", "EXPIRED", "LEFT"];
    /// The status of a seat. A blocked one is held back from sale.
    SeatStatuses as "SeatStatus" = ["AVAILABLE", "HELD", "SOLD", "BLOCKED"];
    /// Why a seat is unavailable.
    ConflictReasons as "ConflictReason" = ["HELD", "SOLD", "BLOCKED"];
    /// The status of a performance.
    PerformanceStatuses as "PerformanceStatus" = ["SCHEDULED", "CANCELLED"];
    /// The status of a booking. A pending booking can be paid until `heldUntil`.
    BookingStatuses as "BookingStatus" = ["PENDING", "CONFIRMED", "CANCELLED", "EXPIRED", "REFUNDED"];
    /// The status of a payment.
    PaymentStatuses as "PaymentStatus" = ["COMPLETED", "REFUNDED"];
    /// The reason for a change of a balance.
    TransactionTypes as "TransactionType" = ["CHARGE", "PAYMENT", "REFUND", "ADJUSTMENT"];
    /// The status of a top-up. A confirmed payment also completes one that has failed or expired.
    TopUpStatuses as "TopUpStatus" = ["PENDING", "COMPLETED", "FAILED", "EXPIRED"];
    /// Why a top-up failed. Except for the first two, its payment goes back to the payer.
    TopUpFailures as "TopUpFailure" =
        ["DECLINED", "CHECKOUT_REFUSED", "ACCOUNT_CLOSED", "BALANCE_LIMIT_EXCEEDED", "WRONG_AMOUNT"];
    /// The status of an event at a destination. A parked event is redelivered on request only.
    DeliveryStatuses as "DeliveryStatus" = ["PENDING", "DELIVERED", "PARKED"];
    /// The kind of an administrative write.
    ActionKinds as "AdminAction" = ActionKind::NAMES;
    /// The type of an event.
    EventTypes as "EventType" = KINDS;
}
