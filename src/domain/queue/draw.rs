//! The draw: at the opening, those who came before it are put in an order that nobody could know or choose.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Queue, QueueSettings, QueueToken};
use crate::domain::{clock::Instant, id::QueueTokenId};

/// The order, exactly.
pub const DRAW_ALGORITHM: &str =
    "ascending HMAC-SHA-256(key = the 32 bytes of the seed, message = the 64 hex digits of the entrant)";

/// A type of 32 bytes that has one text: 64 hex digits.
macro_rules! hex_type {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        pub struct $name([u8; 32]);

        impl $name {
            /// The one of these bytes.
            pub fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The one that 64 hex digits stand for.
            pub fn from_hex(text: &str) -> Option<Self> {
                bytes(text).map(Self)
            }

            /// Its bytes.
            pub fn bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// 64 hex digits.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
        }
    };
}

hex_type!(
    /// What the order is made of; secret until the draw.
    #[derive(Clone, Copy, PartialEq, Eq)]
    Seed
);
hex_type!(
    /// A token in the draw: the SHA-256 of its text.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    Entrant
);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl Seed {
    /// What binds to it before it is shown: the SHA-256 of its bytes, as 64 hex digits.
    pub fn commitment(&self) -> String {
        hex(&Sha256::digest(self.0).into())
    }

    /// Where an entrant stands: the drawn order ascends by this.
    #[expect(clippy::missing_panics_doc, reason = "HMAC takes keys of any length")]
    pub fn rank(&self, entrant: &Entrant) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.chain_update(entrant.hex()).finalize().into_bytes().into()
    }
}

impl Entrant {
    /// The entrant that a token's text makes.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

/// Lower-case hex digits.
fn hex(bytes: &[u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// One text for each value: lower case alone.
fn bytes(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let digit = |index: usize| pair.get(index).and_then(|digit| char::from(*digit).to_digit(16));
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// A queue's draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Fixed when the opening is first set.
    pub seed: Seed,
    /// What came of it; `None` before the opening.
    pub made: Option<DrawMade>,
}

/// A draw that was made.
///
/// It fixes who takes part and which places are theirs. The places are written in drawn order, maybe in several
/// transactions: the order can be worked out again at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawMade {
    /// When.
    pub drawn_at: Instant,
    /// How many took part.
    pub entrant_count: u32,
    /// The last place before theirs.
    pub base: u32,
    /// The last token that could take part.
    pub last_number: u32,
    /// How many of them, in drawn order, have their places.
    pub placed: u32,
}

impl DrawMade {
    /// Whether some places are still to be written.
    pub fn is_pending(&self) -> bool {
        self.placed < self.entrant_count
    }
}

impl Queue {
    /// Sets it. The first opening that is set fixes the seed; so does the next one after a draw without entrants, which
    /// drew nothing. Whoever was drawn stays drawn: a later opening has no draw.
    pub fn set(&mut self, settings: QueueSettings, fresh: Seed) {
        let drew_nothing = self.draw.and_then(|draw| draw.made).is_some_and(|made| made.entrant_count == 0);
        let reopens = drew_nothing && !settings.is_open(self.decided_at);
        if reopens || (self.draw.is_none() && settings.sales_open_at.is_some()) {
            self.draw = Some(Draw { seed: fresh, made: None });
        }
        self.settings = settings;
    }

    /// Whether the draw is to be made, before anybody else gets a place.
    pub fn is_draw_due(&self, now: Instant) -> bool {
        self.settings.is_open(now) && self.draw.is_some_and(|draw| draw.made.is_none())
    }

    /// Whether nobody has decided anything since the sale opened.
    pub fn has_just_opened(&self, now: Instant) -> bool {
        self.settings.sales_open_at.is_some_and(|opening| self.decided_at < opening && opening <= now)
    }

    /// Makes the draw: the entrants' places are reserved.
    pub fn make_draw(&mut self, entrant_count: u32, now: Instant) {
        let (base, last_number) = (self.last_place, self.last_number);
        if let Some(draw) = &mut self.draw {
            draw.made = Some(DrawMade { drawn_at: now, entrant_count, base, last_number, placed: 0 });
            self.last_place += entrant_count;
        }
    }

    /// The draw, while some of its places are still to be written.
    pub fn pending_draw(&self) -> Option<DrawMade> {
        self.draw.and_then(|draw| draw.made).filter(DrawMade::is_pending)
    }

    /// Notes that the next `count` entrants have their places.
    pub fn note_placed(&mut self, count: u32) {
        if let Some(made) = self.draw.as_mut().and_then(|draw| draw.made.as_mut()) {
            made.placed = (made.placed + count).min(made.entrant_count);
        }
    }

    /// The last place that may be admitted: whoever joined after the draw waits until all of the drawn have theirs.
    pub fn admissible(&self) -> u32 {
        self.pending_draw().map_or(u32::MAX, |made| made.base + made.placed)
    }

    /// How many of the drawn have no place yet.
    pub fn unplaced(&self) -> u32 {
        self.pending_draw().map_or(0, |made| made.entrant_count - made.placed)
    }

    /// The token of somebody who leaves: who leaves before the draw is no entrant, who was drawn stays one.
    #[must_use]
    pub fn withdraw(&self, token: QueueToken) -> QueueToken {
        let made = self.draw.and_then(|draw| draw.made);
        let drawn = made.is_some_and(|made| QueueTokenId::new(self.concert_id, made.last_number) >= Some(token.id));
        if token.place.is_none() && !drawn { QueueToken { entrant: None, ..token } } else { token }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::domain::id::{ConcertId, UserId};

    fn opening() -> Instant {
        Instant::default() + TimeDelta::seconds(60)
    }

    fn scheduled(queue: &mut Queue, number: u128) -> QueueToken {
        let token = queue.issue(UserId(Uuid::from_u128(number)), 1, queue.decided_at).unwrap();
        QueueToken { entrant: Some(Entrant::of(&number.to_string())), ..token }
    }

    fn queue() -> Queue {
        let mut queue = Queue::new(ConcertId(1), Instant::default());
        queue.set(QueueSettings { sales_open_at: Some(opening()), ..QueueSettings::default() }, Seed([1; 32]));
        queue
    }

    /// Worked out with sha256sum and openssl, as docs/draw.md describes.
    #[test]
    fn commitment_entrant_and_rank_are_what_other_tools_say() {
        let seed = Seed::from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
        assert_eq!(seed.commitment(), "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd");
        let entrant = Entrant::of("abc");
        assert_eq!(entrant.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(&seed.rank(&entrant)), "4632ec1a59eabb3ab887302285075d12cd1cc5addf71cd432adcfde274b74f3b");
    }

    #[test]
    fn hex_digits_have_one_form() {
        let text = "0f".repeat(32);
        assert_eq!(Entrant::from_hex(&text).unwrap().hex(), text);
        assert_eq!(Seed::from_hex(&text).unwrap().hex(), text);
        for bad in ["", "0f", &"0F".repeat(32), &"0g".repeat(32), &"+f".repeat(32), &"0f".repeat(33)] {
            assert_eq!(Entrant::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_shows_a_seed_by_accident() {
        assert_eq!(format!("{:?}", Seed([7; 32])), "Seed(…)");
    }

    #[test]
    fn the_seed_stays_when_the_opening_moves() {
        let mut queue = queue();
        assert_eq!(queue.draw.unwrap().seed, Seed([1; 32]));
        for sales_open_at in [Some(opening() + TimeDelta::hours(1)), None, Some(opening())] {
            queue.set(QueueSettings { sales_open_at, ..QueueSettings::default() }, Seed([2; 32]));
            assert_eq!(queue.draw.unwrap().seed, Seed([1; 32]), "{sales_open_at:?}");
        }
    }

    #[test]
    fn a_draw_reserves_the_places_behind_those_given_out() {
        let mut queue = queue();
        queue.last_place = 4;
        scheduled(&mut queue, 1);
        assert!(!queue.is_draw_due(opening() - TimeDelta::microseconds(1)));
        assert!(queue.is_draw_due(opening()) && queue.has_just_opened(opening()));
        queue.make_draw(3, opening());
        queue.decided_at = opening();
        assert!(!queue.is_draw_due(opening()) && !queue.has_just_opened(opening()));
        assert_eq!((queue.last_place, queue.unplaced(), queue.admissible()), (7, 3, 4));
        queue.note_placed(2);
        assert_eq!((queue.unplaced(), queue.admissible()), (1, 6));
        assert_eq!(queue.issue(UserId(Uuid::nil()), 1, opening()).unwrap().place, Some(8));
        queue.note_placed(1);
        assert_eq!((queue.pending_draw(), queue.unplaced(), queue.admissible()), (None, 0, u32::MAX));
    }

    #[test]
    fn a_draw_with_entrants_is_the_only_one_and_one_without_was_none() {
        for (entrants, seed) in [(0, Seed([2; 32])), (1, Seed([1; 32]))] {
            let mut queue = queue();
            queue.decided_at = opening();
            queue.make_draw(entrants, opening());
            let made = queue.draw;
            queue.set(queue.settings, Seed([2; 32]));
            assert_eq!(queue.draw, made, "it is open: nothing is drawn again");
            let later = Some(opening() + TimeDelta::hours(1));
            queue.set(QueueSettings { sales_open_at: later, ..queue.settings }, Seed([2; 32]));
            assert_eq!(queue.draw.unwrap().seed, seed);
            assert_eq!(queue.is_draw_due(opening() + TimeDelta::hours(1)), entrants == 0);
        }
    }

    #[test]
    fn who_leaves_before_the_draw_is_no_entrant() {
        let mut queue = queue();
        let early = scheduled(&mut queue, 1);
        assert_eq!(queue.withdraw(early).entrant, None);
        queue.make_draw(1, opening());
        assert_eq!(queue.withdraw(early), early, "drawn, though it has no place yet");
        let late = scheduled(&mut queue, 2);
        assert_eq!(queue.withdraw(late).entrant, None, "of a later opening");
    }
}
