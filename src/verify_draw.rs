//! Verifies a draw from its published files, without the server.

use std::fmt;

use serde::Deserialize;

use crate::domain::queue::{Entrant, Seed};

/// The verified part of the published draw.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublishedDraw {
    commitment: String,
    seed: Option<String>,
    entrant_count: Option<usize>,
}

/// The result of a successful verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedDraw {
    /// The number of entrants.
    pub entrants: usize,
    /// The drawn place of the given token, from 1.
    pub place: Option<usize>,
}

impl fmt::Display for VerifiedDraw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ok  the commitment is the SHA-256 of the seed")?;
        writeln!(f, "ok  {} entrants, as many as were announced", self.entrants)?;
        write!(f, "ok  the entrants are in the order of the seed, without duplicates")?;
        self.place.map_or(Ok(()), |place| write!(f, "\nok  the token was drawn as number {place} of {}", self.entrants))
    }
}

/// Why a draw isn't valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// The first file isn't a draw.
    #[error("the draw can't be read: {0}")]
    Unreadable(String),
    /// The seed isn't published yet.
    #[error("the draw has not been made yet: its seed is still secret")]
    NotMadeYet,
    /// The published seed isn't the committed one.
    #[error("the commitment is not the SHA-256 of the seed: it is {0}")]
    CommitmentMismatch(String),
    /// The list has more or fewer entrants than the draw.
    #[error("there are {found} entrants where {announced} were announced")]
    EntrantCount {
        /// The number in the draw.
        announced: usize,
        /// The number of lines in the list.
        found: usize,
    },
    /// A line isn't a SHA-256 in hex; lines count from 1.
    #[error("line {0} of the entrants is not 64 hex digits")]
    Entrant(usize),
    /// A line isn't in the order of the seed; lines count from 1.
    #[error("line {0} of the entrants comes before the line above it, or is the same")]
    OutOfOrder(usize),
    /// The given token isn't among the entrants.
    #[error("the token is not among the entrants: its SHA-256 is {0}")]
    MissingToken(String),
}

/// Verifies the responses of `GET …/queue/draw` and `GET …/queue/draw/entrants`, and finds a token's place.
///
/// # Errors
///
/// [`DrawError`] with the first mismatch.
pub fn verify(draw: &str, entrants: &str, token: Option<&str>) -> Result<VerifiedDraw, DrawError> {
    let draw: PublishedDraw = serde_json::from_str(draw).map_err(|error| DrawError::Unreadable(error.to_string()))?;
    let (seed, announced) = draw.seed.zip(draw.entrant_count).ok_or(DrawError::NotMadeYet)?;
    let seed =
        Seed::from_hex(&seed).ok_or_else(|| DrawError::Unreadable("the seed is not 64 hex digits".to_owned()))?;
    let commitment = seed.commitment().hex();
    if commitment != draw.commitment {
        return Err(DrawError::CommitmentMismatch(commitment));
    }
    let requested = token.map(Entrant::of);
    let (mut found, mut last, mut place) = (0, None, None);
    for line in entrants.lines() {
        found += 1;
        let entrant = Entrant::from_hex(line).ok_or(DrawError::Entrant(found))?;
        let rank = Some(seed.rank(&entrant));
        if rank <= last {
            return Err(DrawError::OutOfOrder(found));
        }
        last = rank;
        if requested == Some(entrant) {
            place = Some(found);
        }
    }
    if found != announced {
        return Err(DrawError::EntrantCount { announced, found });
    }
    match requested.filter(|_| place.is_none()) {
        Some(absent) => Err(DrawError::MissingToken(absent.hex())),
        None => Ok(VerifiedDraw { entrants: found, place }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A draw of the tokens `a`, `b` and `c`, and its lines.
    fn drawn() -> (String, Vec<String>) {
        let seed = Seed::new([9; 32]);
        let mut entrants = ["a", "b", "c"].map(Entrant::of).to_vec();
        entrants.sort_by_key(|entrant| seed.rank(entrant));
        let draw =
            json!({"commitment": seed.commitment().hex(), "seed": seed.hex(), "entrantCount": 3, "algorithm": "…"});
        (draw.to_string(), entrants.iter().map(Entrant::hex).collect())
    }

    #[test]
    fn a_valid_draw_is_verified_and_gives_the_tokens_place() {
        let (draw, lines) = drawn();
        let text = lines.join("\n") + "\n";
        assert_eq!(verify(&draw, &text, None), Ok(VerifiedDraw { entrants: 3, place: None }));
        let place = 1 + lines.iter().position(|line| *line == Entrant::of("b").hex()).unwrap();
        let verified = verify(&draw, &text, Some("b")).unwrap();
        assert_eq!(verified, VerifiedDraw { entrants: 3, place: Some(place) });
        assert!(verified.to_string().ends_with(&format!("number {place} of 3")), "{verified}");
        assert_eq!(verify(&draw, &text, Some("d")), Err(DrawError::MissingToken(Entrant::of("d").hex())));
    }

    #[test]
    fn every_forgery_is_found() {
        let (draw, lines) = drawn();
        let text = |lines: &[String]| lines.join("\n");
        let other = Seed::new([8; 32]);
        let with = |member: &str, value: serde_json::Value| {
            let mut draw: serde_json::Value = serde_json::from_str(&draw).unwrap();
            draw[member] = value;
            draw.to_string()
        };
        let commitment = DrawError::CommitmentMismatch(other.commitment().hex());
        assert_eq!(verify(&with("seed", json!(other.hex())), &text(&lines), None), Err(commitment));
        for member in ["seed", "entrantCount"] {
            assert_eq!(verify(&with(member, json!(null)), &text(&lines), None), Err(DrawError::NotMadeYet));
        }
        let short = DrawError::EntrantCount { announced: 3, found: 2 };
        assert_eq!(verify(&draw, &text(&lines[..2]), None), Err(short));
        let swapped = [lines[0].clone(), lines[2].clone(), lines[1].clone()];
        assert_eq!(verify(&draw, &text(&swapped), None), Err(DrawError::OutOfOrder(3)));
        let twice = [lines[0].clone(), lines[0].clone(), lines[1].clone()];
        assert_eq!(verify(&draw, &text(&twice), None), Err(DrawError::OutOfOrder(2)));
        assert_eq!(verify(&draw, "x", None), Err(DrawError::Entrant(1)));
        assert!(matches!(verify("{}", "", None), Err(DrawError::Unreadable(_))));
    }
}
