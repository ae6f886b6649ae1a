//! The settings of sessions and mailed codes.

use chrono::TimeDelta;

use crate::domain::{clock::Instant, user::Session};

/// The longest lifetime of an access token that can be configured. Revoked logins are remembered for this time, because
/// a token keeps the lifetime that was configured when it was issued.
pub const MAX_ACCESS_TOKEN_SECONDS: u32 = 86_400;

/// Lifetimes of logins and tokens, and the limit of failed logins.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// The lifetime of an access token, in seconds.
    pub access_token_seconds: u32,
    /// The lifetime of a refresh token, in days. Each exchange issues a new one.
    pub refresh_token_days: u32,
    /// The time for which a used refresh token gets its first answer again, in seconds.
    pub refresh_reuse_seconds: u32,
    /// The longest lifetime of a session in days, however often it is refreshed.
    pub session_max_days: u32,
    /// The most wrong passwords for an account per hour; 0 for no limit.
    pub failed_logins_per_account: u32,
}

/// The delivery of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeDelivery {
    /// The event relay mails codes.
    Mailed,
    /// Codes are written to the log, for demonstrations.
    Logged,
    /// No codes are made, because there is no mail server.
    Disabled,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            access_token_seconds: 3_600,
            refresh_token_days: 14,
            refresh_reuse_seconds: 10,
            session_max_days: 90,
            failed_logins_per_account: 100,
        }
    }
}

impl SessionSettings {
    pub(super) fn access_lifetime(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.access_token_seconds))
    }

    pub(super) fn refresh_lifetime(self) -> TimeDelta {
        TimeDelta::days(i64::from(self.refresh_token_days))
    }

    pub(super) fn refresh_reuse(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.refresh_reuse_seconds))
    }

    pub(super) fn session_end(self, session: &Session) -> Instant {
        session.created_at + TimeDelta::days(i64::from(self.session_max_days))
    }
}
