//! Amounts of points: exact decimals, never negative, with at most two decimal places. Prices are amounts.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::float_arithmetic)]

use std::{fmt, str::FromStr};

use rust_decimal::{Decimal, prelude::ToPrimitive};

/// An amount of points: `0 ≤ amount < 10^13`, a multiple of 0.01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Points(Decimal);

/// The text or number isn't an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a decimal such as \"50000\" or \"50000.50\": at most 13 digits before the point, at most 2 after it, no sign"
)]
pub struct NotPoints;

impl Points {
    /// No points.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// The largest balance that charges can reach: 999,999,999,999.99. Refunds may exceed it.
    pub const MAX_BALANCE: Self = Self(Decimal::from_parts(276_447_231, 23_283, 0, false, 2));
    /// The largest single charge: 10,000,000.
    pub const MAX_CHARGE: Self = Self(Decimal::from_parts(10_000_000, 0, 0, false, 0));
    /// The largest price of a seat: 9,999,999,999.99. It bounds a booking's total below the limit of amounts.
    pub const MAX_PRICE: Self = Self(Decimal::from_parts(3_567_587_327, 232, 0, false, 2));

    const LIMIT: Decimal = Decimal::from_parts(1_316_134_912, 2_328, 0, false, 0);

    /// Checks that a decimal is an amount: not negative, below the limit, at most two decimal places.
    pub fn new(amount: Decimal) -> Result<Self, NotPoints> {
        let is_not_negative = !amount.is_sign_negative() || amount.is_zero();
        if is_not_negative && amount < Self::LIMIT && amount.normalize().scale() <= 2 {
            Ok(Self(amount.abs()))
        } else {
            Err(NotPoints)
        }
    }

    /// The amount as a decimal.
    pub fn as_decimal(self) -> Decimal {
        self.0
    }

    /// The amount as a float, for metrics alone: it may be inexact.
    pub fn approximate(self) -> f64 {
        self.0.to_f64().unwrap_or(f64::INFINITY)
    }

    /// The sum; `None` if it exceeds the limit of amounts.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::new(sum).ok())
    }

    /// The difference; `None` if it is negative.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(|rest| Self::new(rest).ok())
    }
}

/// Points that a wallet gains, or loses if negative. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedPoints {
    /// The points without their sign.
    pub magnitude: Points,
    /// Whether the wallet loses them.
    pub is_negative: bool,
}

/// The text or number isn't a signed amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a decimal other than 0, such as \"500\" or \"-500.50\": at most 13 digits before the point, at most 2 after it"
)]
pub struct NotSignedPoints;

impl FromStr for SignedPoints {
    type Err = NotSignedPoints;

    /// Parses an amount with an optional minus sign.
    fn from_str(text: &str) -> Result<Self, NotSignedPoints> {
        let unsigned = text.strip_prefix('-');
        let magnitude: Points = unsigned.unwrap_or(text).parse().map_err(|_| NotSignedPoints)?;
        if magnitude == Points::ZERO {
            return Err(NotSignedPoints);
        }
        Ok(Self { magnitude, is_negative: unsigned.is_some() })
    }
}

impl fmt::Display for SignedPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        write!(f, "{sign}{}", self.magnitude)
    }
}

impl FromStr for Points {
    type Err = NotPoints;

    /// Parses `^(0|[1-9][0-9]{0,12})(\.[0-9]{1,2})?$`.
    fn from_str(text: &str) -> Result<Self, NotPoints> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (text, None),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let whole_ok = digits(whole) && (whole == "0" || (!whole.starts_with('0') && (1..=13).contains(&whole.len())));
        let fraction_ok = fraction.is_none_or(|part| digits(part) && (1..=2).contains(&part.len()));
        if !(whole_ok && fraction_ok) {
            return Err(NotPoints);
        }
        Decimal::from_str_exact(text).map_err(|_| NotPoints).and_then(Self::new)
    }
}

impl fmt::Display for Points {
    /// Formats whole amounts without a decimal point, others with two decimal places: `50000`, `50000.50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = if self.0.fract().is_zero() { 0 } else { 2 };
        write!(f, "{:.places$}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(text: &str) -> Points {
        text.parse().unwrap()
    }

    #[test]
    fn the_limits_have_their_documented_values() {
        assert_eq!(Points::MAX_BALANCE.to_string(), "999999999999.99");
        assert_eq!(Points::MAX_CHARGE.to_string(), "10000000");
        assert_eq!(Points::MAX_PRICE.to_string(), "9999999999.99");
        assert_eq!(Points::LIMIT.to_string(), "10000000000000");
    }

    #[test]
    fn only_decimals_of_the_documented_form_are_parsed() {
        for text in ["0", "0.5", "1", "50000", "50000.50", "9999999999999.99"] {
            assert!(text.parse::<Points>().is_ok(), "{text}");
        }
        for text in [
            "",
            "-1",
            "+1",
            "01",
            "1.",
            ".5",
            "1.234",
            "1e3",
            " 1",
            "1 ",
            "10000000000000",
            "NaN",
            "00",
            "1,5",
            "0x1",
            "٣",
        ] {
            assert_eq!(text.parse::<Points>(), Err(NotPoints), "{text:?}");
        }
    }

    #[test]
    fn signed_amounts_have_at_most_a_minus_sign_and_are_never_zero() {
        for text in ["500", "-500", "0.01", "-9999999999999.99"] {
            assert_eq!(text.parse::<SignedPoints>().unwrap().to_string(), text);
        }
        for text in ["0", "-0", "0.00", "+1", "--1", "- 1", "-", "", "-01", "1e3", "-1.234", "10000000000000"] {
            assert_eq!(text.parse::<SignedPoints>(), Err(NotSignedPoints), "{text:?}");
        }
    }

    #[test]
    fn whole_amounts_are_formatted_without_decimals() {
        assert_eq!(points("50000").to_string(), "50000");
        assert_eq!(points("50000.00").to_string(), "50000");
        assert_eq!(points("50000.5").to_string(), "50000.50");
        assert_eq!(Points::ZERO.to_string(), "0");
    }

    #[test]
    fn amounts_stay_within_their_bounds() {
        assert_eq!(points("1").minus(points("1.01")), None);
        assert_eq!(points("1").minus(points("1")), Some(Points::ZERO));
        assert_eq!(points("9999999999999.99").plus(points("0.01")), None);
        assert_eq!(Points::new(Decimal::from_str_exact("-0.01").unwrap()), Err(NotPoints));
    }
}
