//! Texts that people give: names, titles, e-mail addresses.

use std::fmt;

/// A name or title: 1 to 200 characters, trimmed, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 200 characters besides surrounding white space, and no control characters")]
pub struct NotAName;

impl Name {
    /// Trims and checks.
    pub fn new(text: &str) -> Result<Self, NotAName> {
        let text = text.trim();
        let length_ok = (1..=200).contains(&text.chars().count());
        if length_ok && !text.chars().any(char::is_control) { Ok(Self(text.to_owned())) } else { Err(NotAName) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address, as its owner writes it; two are the same when they differ in case only.
#[derive(Clone, Debug)]
pub struct Email(String);

/// Why a text is no e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address such as \"jin@example.org\", at most 254 characters")]
pub struct NotAnEmail;

impl Email {
    /// Trims, and checks the shape: whether anybody reads it, only a message could tell.
    pub fn new(text: &str) -> Result<Self, NotAnEmail> {
        let text = text.trim();
        let (local, host) = text.rsplit_once('@').ok_or(NotAnEmail)?;
        let plain = |part: &str| {
            !part.is_empty()
                && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "@\"(),:;<>[]\\".contains(c))
        };
        let dots = |part: &str| !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
        // Some letters become two in lower case, and that writing is stored as well.
        let ok = text.chars().count().max(text.to_lowercase().chars().count()) <= 254
            && local.len() <= 64
            && plain(local)
            && plain(host)
            && dots(local)
            && dots(host)
            && host.contains('.');
        if ok { Ok(Self(text.to_owned())) } else { Err(NotAnEmail) }
    }

    /// The address as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two writings of one address share.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(Name::new("  Jin ").unwrap().as_str(), "Jin");
        assert!(Name::new(&"가".repeat(200)).is_ok());
        for text in ["", "   ", "a\u{0}b", "a\nb", &"x".repeat(201)] {
            assert_eq!(Name::new(text), Err(NotAName), "{text:?}");
        }
    }

    #[test]
    fn addresses_are_compared_without_case() {
        let one = Email::new("Jin@Example.org").unwrap();
        assert_eq!(one.as_str(), "Jin@Example.org");
        assert_eq!(one.key(), Email::new("jin@example.ORG").unwrap().key());
        let long = format!("jin@{}.org", "İ".repeat(200));
        assert!(Email::new(&long).is_err());
        for text in
            ["", "jin", "@example.org", "jin@", "jin@host", "a b@example.org", "a@b@example.org", "a@.org", "a@b..org"]
        {
            assert!(Email::new(text).is_err(), "{text:?}");
        }
    }
}
