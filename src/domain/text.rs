//! Texts from users: names, titles, search terms and e-mail addresses.

use std::fmt;

use icu_properties::{
    CodePointSetData,
    props::{DefaultIgnorableCodePoint, VariationSelector},
};
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// The text in Unicode's composed form (NFC), so that equal-looking texts are equal.
pub fn normalized(text: &str) -> String {
    if is_nfc(text) { text.to_owned() } else { text.nfc().collect() }
}

/// A search term: trimmed, in NFC, at most 200 characters. `Err` with the violated rule.
pub fn search_term(text: &str) -> Result<String, &'static str> {
    let text = normalized(text.trim());
    if text.chars().count() <= 200 { Ok(text) } else { Err("must have at most 200 characters") }
}

/// Whether a character is invisible or changes how its neighbours are displayed. These are control characters, line
/// separators, and what Unicode calls default-ignorable: bidirectional and zero-width characters, byte-order marks,
/// soft hyphens, tags, blank letters, variation selectors.
fn is_deceptive(c: char) -> bool {
    use GeneralCategory::{Control, LineSeparator, ParagraphSeparator};
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || matches!(c.general_category(), Control | LineSeparator | ParagraphSeparator)
}

/// Whether a character selects a variant of the character before it. Emoji, Chinese and Mongolian texts need them.
fn is_variation_selector(c: char) -> bool {
    CodePointSetData::new::<VariationSelector>().contains(c)
}

/// Whether a character is visible by itself. The empty braille pattern is blank by design.
fn is_visible(c: char) -> bool {
    let group = c.general_category_group();
    c != '\u{2800}'
        && !matches!(group, GeneralCategoryGroup::Mark | GeneralCategoryGroup::Separator | GeneralCategoryGroup::Other)
}

/// Trims and normalizes a text. `None` unless it has at most `max_length` characters, at least one visible and none
/// deceptive, except variation selectors.
fn displayable(text: &str, max_length: usize) -> Option<String> {
    let text = normalized(text.trim());
    let is_short = text.chars().count() <= max_length;
    let is_hidden = |c| is_deceptive(c) && !is_variation_selector(c);
    (is_short && text.chars().any(is_visible) && !text.chars().any(is_hidden)).then_some(text)
}

/// A name or title: 1 to 200 characters, trimmed, in NFC, at least one visible and none deceptive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(String);

/// The text isn't a valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must have 1 to 200 characters besides surrounding white space, at least one of them visible, and no control, \
     bidirectional or invisible characters"
)]
pub struct NotAName;

impl Name {
    /// Trims and normalizes the text, then checks it.
    pub fn new(text: &str) -> Result<Self, NotAName> {
        displayable(text, 200).map(Self).ok_or(NotAName)
    }

    /// Accepts a stored name without checks: it satisfied the rules of its time.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An administrator's reason: 1 to 500 characters, trimmed, in NFC, at least one visible and none deceptive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

/// The text isn't a valid reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must have 1 to 500 characters besides surrounding white space, at least one of them visible, and no control, \
     bidirectional or invisible characters"
)]
pub struct NotAReason;

impl Reason {
    /// Trims and normalizes the text, then checks it.
    pub fn new(text: &str) -> Result<Self, NotAReason> {
        displayable(text, 500).map(Self).ok_or(NotAReason)
    }

    /// Accepts a stored reason without checks: it satisfied the rules of its time.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address as its owner writes it. Two addresses are equal if they differ in case alone.
#[derive(Clone, Debug)]
pub struct Email(String);

/// The text isn't an e-mail address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address such as \"jin@example.org\", at most 254 characters")]
pub struct NotAnEmail;

impl Email {
    /// Trims and normalizes the text, then checks its form. Only a delivered mail proves that the address exists.
    pub fn new(text: &str) -> Result<Self, NotAnEmail> {
        let text = normalized(text.trim());
        let (local, host) = text.rsplit_once('@').ok_or(NotAnEmail)?;
        let plain = |part: &str| {
            !part.is_empty()
                && !part.chars().any(|c| c.is_whitespace() || is_deceptive(c) || "@\"(),:;<>[]\\".contains(c))
        };
        let dots = |part: &str| !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
        // Some letters become two in lower case, and the lower-case form is stored as well.
        let ok = text.chars().count().max(text.to_lowercase().chars().count()) <= 254
            && local.len() <= 64
            && plain(local)
            && plain(host)
            && dots(local)
            && dots(host)
            && host.contains('.');
        if ok { Ok(Self(text)) } else { Err(NotAnEmail) }
    }

    /// Accepts a stored address without checks: it satisfied the rules of its time.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    /// The address as its owner writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The lower-case form, which is unique among accounts.
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
    fn equal_looking_texts_are_equal() {
        assert_eq!(Name::new("Zoe\u{308}"), Name::new("Zo\u{eb}"));
        assert_eq!(Email::new("zoe\u{308}@example.org").unwrap().key(), "zo\u{eb}@example.org");
        assert_eq!(search_term("  Cafe\u{301} ").unwrap(), "Caf\u{e9}");
        assert!(search_term(&"x".repeat(201)).is_err());
    }

    #[test]
    fn deceptive_and_blank_names_are_refused() {
        for c in "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180e}\u{200b}\u{200d}\u{200e}\u{2028}\u{202e}\u{2060}\
             \u{2066}\u{3164}\u{feff}\u{ffa0}\u{e0001}\u{e0020}\u{e007f}"
            .chars()
        {
            assert_eq!(Name::new(&format!("Ji{c}n")), Err(NotAName), "{c:?}");
            assert!(Email::new(&format!("ji{c}n@example.org")).is_err(), "{c:?}");
        }
        for c in ['\u{180b}', '\u{fe00}', '\u{fe0f}', '\u{e0100}'] {
            assert!(Name::new(&format!("葛{c}城")).is_ok(), "{c:?}");
            assert!(Email::new(&format!("ji{c}n@example.org")).is_err(), "{c:?}");
        }
        for text in ["\u{3164}", "\u{2800}", "\u{301}", "\u{ad}", "\u{115f}\u{ffa0}", "\u{fe0f}", "\u{a0}\u{301}"] {
            assert_eq!(Name::new(text), Err(NotAName), "{text:?}");
        }
        for text in ["김진", "🎸", "!", "نورا", "❤\u{fe0f}", "e\u{301}"] {
            assert!(Name::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn email_addresses_are_compared_ignoring_case() {
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
