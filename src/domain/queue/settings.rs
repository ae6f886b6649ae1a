//! The settings of a queue.

use chrono::TimeDelta;
use strum::{EnumString, IntoStaticStr, VariantNames};

use crate::domain::clock::Instant;

/// The mode of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum QueueMode {
    /// Admits at a bounded rate, up to the limit of active tokens.
    Queue,
    /// Admits at once, up to the limit of active tokens.
    Open,
    /// Admits no token.
    Paused,
}

impl QueueMode {
    /// The name that clients and the database use.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The settings of a queue that an administrator changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The mode of admission.
    pub mode: QueueMode,
    /// The most admissions in a window of `admit_interval_seconds`, in mode `QUEUE`.
    pub admit_count: u32,
    /// The length of the admission window in seconds.
    pub admit_interval_seconds: u32,
    /// The most active tokens at once.
    pub max_active: u32,
    /// The lifetime of an active token in seconds; holds extend it.
    pub active_seconds: u32,
    /// The seconds from admission until an unclaimed token lapses.
    pub claim_seconds: u32,
    /// The opening: before it new tokens get no place, and no token is admitted. `None` opens the sale from the start.
    pub sales_open_at: Option<Instant>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            mode: QueueMode::Queue,
            admit_count: 200,
            admit_interval_seconds: 10,
            max_active: 2_000,
            active_seconds: 600,
            claim_seconds: 60,
            sales_open_at: None,
        }
    }
}

impl QueueSettings {
    /// Whether the sale is open at `now`.
    pub fn is_open(&self, now: Instant) -> bool {
        self.sales_open_at.is_none_or(|opening| opening <= now)
    }

    /// Whether a join is admitted at once while the capacity of `max_active` isn't used up.
    pub fn admits_at_once(&self, now: Instant) -> bool {
        self.mode == QueueMode::Open && self.is_open(now)
    }

    /// The length of the admission window.
    pub fn admit_interval(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.admit_interval_seconds))
    }
}
