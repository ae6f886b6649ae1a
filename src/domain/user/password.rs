//! Passwords, and the port that hashes them.

use std::fmt;

use crate::domain::text::normalized;

/// A new password: 10 to 128 characters of any kind, in NFC, and never trimmed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// The text isn't acceptable as a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 10 to 128 characters")]
pub struct NotAPassword;

impl Password {
    /// Normalizes the text and checks its length alone: further rules make passwords predictable.
    pub fn new(text: &str) -> Result<Self, NotAPassword> {
        let text = normalized(text);
        if (10..=128).contains(&text.chars().count()) { Ok(Self(text)) } else { Err(NotAPassword) }
    }

    /// The normalized password.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    /// Hides the password from logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Hashing failed, for lack of memory or because of a defect.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a password could not be hashed: {0}")]
pub struct HashingFailed(pub String);

/// The port that hashes passwords. Hashing is slow on purpose, so callers keep it off the threads that serve requests.
pub trait PasswordHasher: Send + Sync {
    /// A hash in PHC format with a new salt.
    fn hash(&self, password: &str) -> Result<String, HashingFailed>;

    /// Whether the hash belongs to this password; `false` for an unreadable hash.
    fn verify(&self, password: &str, hash: &str) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_length_is_counted_in_characters() {
        assert!(Password::new(&"가".repeat(10)).is_ok());
        assert!(Password::new(&"가".repeat(128)).is_ok());
        assert_eq!(Password::new("  spaces  ").unwrap().as_str(), "  spaces  ");
        for text in ["", "123456789", &"x".repeat(129)] {
            assert_eq!(Password::new(text), Err(NotAPassword), "{text:?}");
        }
    }

    #[test]
    fn composed_and_decomposed_characters_give_the_same_password() {
        assert!(Password::new("re\u{301}my re\u{301}my") == Password::new("r\u{e9}my r\u{e9}my"));
    }

    #[test]
    fn debug_output_hides_the_password() {
        assert!(!format!("{:?}", Password::new("correct horse").unwrap()).contains("horse"));
    }
}
