//! The closed sets of words that the wire has, as the OpenAPI document shows them.
//!
//! A field is written from the domain's own name of a value; a type of this file stands for it in the document only.
//! Every test that goes through a client compares what was answered with these lists.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::domain::{administration::ActionKind, event::KINDS};

/// A closed set of words.
pub trait Words {
    /// All of them.
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
    /// What a user may do.
    Roles as "Role" = ["USER", "ADMIN"];
    /// How a concert's queue admits: at a bounded rate, at once while there is room, or not at all.
    QueueModes as "QueueMode" = ["QUEUE", "OPEN", "PAUSED"];
    /// What has become of a queue token. The last three are final.
    QueueTokenStatuses as "QueueTokenStatus" = ["SCHEDULED", "WAITING", "ACTIVE", "COMPLETED", "EXPIRED", "LEFT"];
    /// Whether a seat can be had.
    SeatStatuses as "SeatStatus" = ["AVAILABLE", "HELD", "SOLD"];
    /// Why a seat can't be had.
    ConflictReasons as "ConflictReason" = ["HELD", "SOLD"];
    /// What has become of a performance.
    PerformanceStatuses as "PerformanceStatus" = ["SCHEDULED", "CANCELLED"];
    /// What has become of a booking. A pending one can be paid until `heldUntil`.
    BookingStatuses as "BookingStatus" = ["PENDING", "CONFIRMED", "CANCELLED", "EXPIRED", "REFUNDED"];
    /// What has become of a payment.
    PaymentStatuses as "PaymentStatus" = ["COMPLETED", "REFUNDED"];
    /// Why a balance changed.
    TransactionTypes as "TransactionType" = ["CHARGE", "PAYMENT", "REFUND"];
    /// What has become of an event at a destination. A parked one is sent again on demand only.
    DeliveryStatuses as "DeliveryStatus" = ["PENDING", "DELIVERED", "PARKED"];
    /// What an administrator did.
    ActionKinds as "AdminAction" = ActionKind::NAMES;
    /// What an event tells.
    EventTypes as "EventType" = KINDS;
}
