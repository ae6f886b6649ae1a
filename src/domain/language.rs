//! The languages of the mails that the server sends.

/// A language of mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Korean.
    Korean,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// The primary subtag of the language (BCP 47), which the database uses.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// The language with this primary subtag, ignoring case; `None` for any other text.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| tag.eq_ignore_ascii_case(language.tag()))
    }

    /// The preferred language of an `Accept-Language` header (RFC 9110, 12.5.4); `None` if it accepts none of them. A
    /// range with a malformed weight is ignored.
    pub fn accepted(header: &str) -> Option<Self> {
        let range = |item: &str| {
            let mut parts = item.split(';').map(str::trim);
            let primary = parts.next()?.split('-').next()?;
            let weight = match parts.next() {
                None => 1.0,
                Some(parameter) => {
                    parameter.strip_prefix("q=").or(parameter.strip_prefix("Q="))?.trim().parse().ok()?
                }
            };
            let language = if primary == "*" { Self::default() } else { Self::from_tag(primary)? };
            (weight > 0.0 && weight <= 1.0).then_some((weight, language))
        };
        let best = |best: Option<(f32, Self)>, next: (f32, Self)| match best {
            // The first of equal weights is preferred.
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        };
        header.split(',').filter_map(range).fold(None, best).map(|(_, language)| language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accepted_language_with_the_greatest_weight_is_preferred() {
        for (header, expected) in [
            ("ko", Some(Language::Korean)),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Some(Language::Korean)),
            ("en-US,en;q=0.9,ko;q=0.8", Some(Language::English)),
            ("fr, KO-kr;q=0.5, en;q=0.4", Some(Language::Korean)),
            ("en;q=0.2, ko;Q=0.3", Some(Language::Korean)),
            ("en, ko", Some(Language::English)),
            ("ko;q=0, en;q=0.1", Some(Language::English)),
            ("ko;q=NaN, en;q=0.1", Some(Language::English)),
            ("ko;q=2, ko;q=-1, ko;q=x, ko;level=1", None),
            ("*", Some(Language::English)),
            ("fr, de", None),
            ("korean", None),
            (",;,;q=1,", None),
            ("", None),
        ] {
            assert_eq!(Language::accepted(header), expected, "{header}");
        }
    }
}
