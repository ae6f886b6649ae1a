//! Codes that are mailed to the owner of an account.

use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use strum::{EnumString, IntoStaticStr};

use crate::domain::{
    clock::Instant,
    id::{CodeId, UserId},
    language::Language,
};

/// The purpose of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum CodePurpose {
    /// To verify the account's e-mail address.
    VerifyEmail,
    /// To set a new password.
    ResetPassword,
}

impl CodePurpose {
    /// The name that the database uses.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The time from a code's creation to its deadline.
    pub fn lifetime(self) -> TimeDelta {
        match self {
            Self::VerifyEmail => TimeDelta::hours(24),
            Self::ResetPassword => TimeDelta::minutes(30),
        }
    }
}

/// The record of a mailed code.
#[derive(Clone, Copy, Debug)]
pub struct MailedCode {
    /// Identifies the code. Its text is derived from the id.
    pub id: CodeId,
    /// The account; `None` for a code without a recipient.
    pub user_id: Option<UserId>,
    /// The only purpose that it works for.
    pub purpose: CodePurpose,
    /// SHA-256 of the code's text.
    pub digest: [u8; 32],
    /// The id of the key that derives the text.
    pub key: u32,
    /// The language of the mail.
    pub language: Language,
    /// The instant of the request.
    pub created_at: Instant,
    /// The deadline for its use.
    pub expires_at: Instant,
    /// The instant at which it was used or became void; `None` if it works until its deadline.
    pub used_at: Option<Instant>,
}

impl MailedCode {
    /// Whether the code works at `now`.
    pub fn is_alive(&self, now: Instant) -> bool {
        self.used_at.is_none() && now < self.expires_at
    }
}

/// The text of a code, as it is mailed: 28 characters of 5 random bits, in groups of four.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeText(String);

/// Crockford's base 32: digits and capitals without those that are mistaken for digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl CodeText {
    const LENGTH: usize = 28;

    /// Makes the code of random bytes, of which it uses the first 28.
    pub fn of(random: &[u8; 32]) -> Self {
        Self(random.iter().take(Self::LENGTH).map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
    }

    /// Parses a code as a user types it: in any case, with hyphens, spaces or neither. `None` for any other text.
    pub fn read(text: &str) -> Option<Self> {
        let is_separator = |c: &char| *c == '-' || c.is_whitespace();
        let digit = |c: char| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let code: String = text.chars().filter(|c| !is_separator(c)).take(Self::LENGTH + 1).map(digit).collect();
        (code.len() == Self::LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte))).then_some(Self(code))
    }

    /// SHA-256 of the code.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl std::fmt::Display for CodeText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, c) in self.0.chars().enumerate() {
            let hyphen = if index > 0 && index % 4 == 0 { "-" } else { "" };
            write!(f, "{hyphen}{c}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for CodeText {
    /// Hides the code from logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeText(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> CodeText {
        CodeText::of(&std::array::from_fn(|index| u8::try_from(index).unwrap()))
    }

    #[test]
    fn a_code_is_read_in_any_case_and_grouping() {
        assert_eq!(code().to_string(), "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV");
        for typed in [
            "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV",
            "0123456789abcdefghjkmnpqrstv",
            " ol23 4567 89ab cdef ghjk mnpq rstv\n",
            "oi23456789abcdefghjkmnpqrstv",
        ] {
            assert!(CodeText::read(typed) == Some(code()), "{typed}");
        }
        let long = "0".repeat(29);
        for other in ["", "0123", "0123-4567-89AB-CDEF-GHJK-MNPQ-RSTU", &long, "가".repeat(28).as_str()] {
            assert!(CodeText::read(other).is_none(), "{other}");
        }
    }

    #[test]
    fn debug_output_hides_the_code() {
        assert!(!format!("{:?}", code()).contains("0123"));
    }
}
