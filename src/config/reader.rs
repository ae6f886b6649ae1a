//! Reads variables one by one, and collects every mistake instead of stopping at the first.

use std::{collections::BTreeMap, fmt, net::SocketAddr, str::FromStr, time::Duration};

use super::{errors::ConfigErrors, variables::VARIABLES};
use crate::interfaces::http::limits::rate::{RateLimit, RateLimitSettings};

/// Reads variables through `lookup`. A method whose variable can't be read records the mistake and returns a
/// placeholder, which is never used: with a mistake there is no configuration.
pub(super) struct VariableReader<L> {
    lookup: L,
    errors: BTreeMap<&'static str, String>,
}

impl<L: Fn(&str) -> Option<String>> VariableReader<L> {
    pub(super) fn new(lookup: L) -> Self {
        Self { lookup, errors: BTreeMap::new() }
    }

    /// Returns the configuration unless there was a mistake.
    pub(super) fn finish<T>(self, config: T) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(self.errors)) }
    }

    pub(super) fn has_error(&self, name: &'static str) -> bool {
        self.errors.contains_key(name)
    }

    pub(super) fn add_error(&mut self, name: &'static str, error: impl Into<String>) {
        self.errors.insert(name, error.into());
    }

    /// The value as it is, or the default; an empty value counts as none.
    pub(super) fn text(&self, name: &'static str) -> String {
        let default =
            || VARIABLES.iter().find(|variable| variable.name == name).map_or("", |variable| variable.default);
        (self.lookup)(name).filter(|value| !value.is_empty()).unwrap_or_else(|| default().to_owned())
    }

    /// The value without white space around it; `None` if it is empty.
    pub(super) fn optional_text(&self, name: &'static str) -> Option<String> {
        Some(self.text(name).trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A whole number from `low` to `high`.
    pub(super) fn number<T>(&mut self, name: &'static str, low: T, high: T) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        let text = self.text(name);
        match text.trim().parse::<T>() {
            Ok(number) if low <= number && number <= high => number,
            _ => {
                self.add_error(name, format!("{text:?} is not a whole number from {low} to {high}"));
                low
            }
        }
    }

    pub(super) fn seconds(&mut self, name: &'static str, low: u64, high: u64) -> Duration {
        Duration::from_secs(self.number(name, low, high))
    }

    pub(super) fn milliseconds(&mut self, name: &'static str, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.number(name, low, high))
    }

    /// A number of events per period; 0 for no limit.
    pub(super) fn rate_limit(&mut self, name: &'static str) -> u32 {
        self.number(name, 0, 1_000_000_000)
    }

    pub(super) fn rate_limits(&mut self) -> RateLimitSettings {
        RateLimitSettings::new(|limit| {
            self.rate_limit(match limit {
                RateLimit::SignUpsPerAddress => "RATE_LIMIT_SIGN_UPS_PER_ADDRESS",
                RateLimit::LoginsPerAddress => "RATE_LIMIT_LOGINS_PER_ADDRESS",
                RateLimit::RefreshesPerAddress => "RATE_LIMIT_REFRESHES_PER_ADDRESS",
                RateLimit::CodesPerAddress => "RATE_LIMIT_CODES_PER_ADDRESS",
                RateLimit::JoinsPerAddress => "RATE_LIMIT_JOINS_PER_ADDRESS",
                RateLimit::JoinsPerUser => "RATE_LIMIT_JOINS_PER_USER",
                RateLimit::HoldsPerAddress => "RATE_LIMIT_HOLDS_PER_ADDRESS",
                RateLimit::HoldsPerUser => "RATE_LIMIT_HOLDS_PER_USER",
            })
        })
    }

    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.text(name).as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            other => {
                self.add_error(name, format!("{other:?} is neither true nor false"));
                false
            }
        }
    }

    /// An address with a port, such as `example`.
    pub(super) fn address(&mut self, name: &'static str, example: &str) -> SocketAddr {
        let text = self.text(name);
        text.trim().parse().unwrap_or_else(|_| {
            self.add_error(name, format!("{text:?} is not an address with a port, such as {example}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }
}
