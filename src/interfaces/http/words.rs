//! The enumerations of the API, as the OpenAPI document shows them.
//!
//! Responses are written from the domain's names; the types of this file appear in the document only. The tests' client
//! compares every response with these lists.

use std::borrow::Cow;

use strum::VariantNames;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::domain::{
    administration::ActionKind,
    booking::BookingState,
    concert::{PerformanceStatus, SeatStatus},
    event::{DeliveryStatus, KINDS},
    payment::PaymentState,
    point::LedgerKind,
    queue::{QueueMode, TokenState},
    refusal::ConflictReason,
    top_up::{FailureReason, TopUpStatus},
    user::Role,
};

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
            const ALL: &'static [&'static str] = $words;
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
    Roles as "Role" = Role::VARIANTS;
    /// How a queue admits users: at a bounded rate, at once while there is room, or not at all.
    QueueModes as "QueueMode" = QueueMode::VARIANTS;
    /// The status of a queue token. The last three are final.
    QueueTokenStatuses as "QueueTokenStatus" = &TokenState::NAMES;
    /// The status of a seat. A blocked one is held back from sale.
    SeatStatuses as "SeatStatus" = SeatStatus::VARIANTS;
    /// Why a seat is unavailable.
    ConflictReasons as "ConflictReason" = ConflictReason::VARIANTS;
    /// The status of a performance.
    PerformanceStatuses as "PerformanceStatus" = PerformanceStatus::VARIANTS;
    /// The status of a booking. A pending booking can be paid until `heldUntil`.
    BookingStatuses as "BookingStatus" = BookingState::VARIANTS;
    /// The status of a payment.
    PaymentStatuses as "PaymentStatus" = PaymentState::VARIANTS;
    /// The reason for a change of a balance.
    TransactionTypes as "TransactionType" = LedgerKind::VARIANTS;
    /// The status of a top-up. A confirmed payment also completes one that has failed or expired.
    TopUpStatuses as "TopUpStatus" = TopUpStatus::VARIANTS;
    /// Why a top-up failed. Except for the first two reasons, the payment is refunded to the payer.
    TopUpFailures as "TopUpFailure" = FailureReason::VARIANTS;
    /// The status of an event at a destination. A parked event is redelivered on request only.
    DeliveryStatuses as "DeliveryStatus" = DeliveryStatus::VARIANTS;
    /// The kind of an administrative write.
    ActionKinds as "AdminAction" = ActionKind::VARIANTS;
    /// The type of an event.
    EventTypes as "EventType" = &KINDS;
}
