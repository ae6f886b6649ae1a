//! The draw: at the opening, the tokens from before it get places in a random order that no one could predict or
//! choose.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Queue, QueueSettings, QueueToken, TokenState};
use crate::domain::{
    clock::Instant,
    id::{ConcertId, QueueTokenId},
    randomness::Randomness,
    refusal::Refusal,
};

/// The definition of the drawn order, which clients can verify.
pub const DRAW_ALGORITHM: &str =
    "ascending HMAC-SHA-256(key = the 32 bytes of the seed, message = the 64 hex digits of the entrant)";

/// Defines a type of 32 bytes with exactly one text: 64 lower-case hex digits.
macro_rules! hex_type {
    ($(#[$attribute:meta])* $name:ident) => {
        $(#[$attribute])*
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes.
            pub fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Parses 64 lower-case hex digits.
            pub fn from_hex(text: &str) -> Option<Self> {
                bytes(text).map(Self)
            }

            /// The bytes.
            pub fn bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The bytes as 64 lower-case hex digits.
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
        }
    };
}

hex_type!(
    /// The value that determines the order; secret until the draw.
    #[derive(Clone, Copy, PartialEq, Eq)]
    Seed
);
hex_type!(
    /// The identity of a token in the draw: the SHA-256 of its text.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    Entrant
);
hex_type!(
    /// The SHA-256 of a seed. It is published with the first opening, so that the seed can't be exchanged afterwards.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    Commitment
);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl Seed {
    /// A new random seed.
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 32];
        randomness.fill(&mut bytes);
        Self(bytes)
    }

    /// The hash that binds the server to this seed before the draw.
    pub fn commitment(&self) -> Commitment {
        Commitment(Sha256::digest(self.0).into())
    }

    /// The sort key of an entrant: the drawn order ascends by it.
    #[expect(clippy::missing_panics_doc, reason = "HMAC takes keys of any length")]
    pub fn rank(&self, entrant: &Entrant) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.chain_update(entrant.hex()).finalize().into_bytes().into()
    }
}

impl Entrant {
    /// The entrant of a token's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

/// Formats lower-case hex digits.
fn hex(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    let mut text = String::with_capacity(64);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

/// Parses lower-case hex digits alone, so that each value has one text.
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

/// A token with its identity in the draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Identifies the token.
    pub id: QueueTokenId,
    /// Identifies the token to the public.
    pub entrant: Entrant,
}

/// A seed encrypted with one of the server's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSeed(pub [u8; SealedSeed::BYTES]);

impl SealedSeed {
    /// The length in bytes: key id, nonce, encrypted seed, and authentication tag.
    pub const BYTES: usize = 4 + 12 + 32 + 16;

    /// The id of the key that encrypted it.
    pub fn key_id(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// The port that encrypts seeds, so that read access to the database doesn't reveal them before the opening.
pub trait SeedVault: Send + Sync {
    /// Encrypts the seed of a concert with the current key.
    fn seal(&self, concert_id: ConcertId, seed: &Seed) -> SealedSeed;

    /// Decrypts a concert's seed with any of the configured keys; `None` if none of them fits.
    fn open(&self, concert_id: ConcertId, sealed: &SealedSeed) -> Option<Seed>;

    /// The id of the key that encrypts new seeds.
    fn current_key(&self) -> u32;
}

/// A seed as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawSeed {
    /// Encrypted, until the draw.
    Sealed(SealedSeed),
    /// Public, since the draw. Before the draw only if an older version stored it so.
    Revealed(Seed),
}

/// The draw of a queue, made or to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Public since the opening was first set.
    pub commitment: Commitment,
    /// Fixed together with the commitment.
    pub seed: DrawSeed,
    /// The result; `None` until the draw is made.
    pub made: Option<DrawMade>,
}

impl Draw {
    /// A draw to come, with a new seed.
    pub fn prepare(concert_id: ConcertId, vault: &dyn SeedVault, randomness: &dyn Randomness) -> Self {
        let seed = Seed::random(randomness);
        let sealed = vault.seal(concert_id, &seed);
        Self { commitment: seed.commitment(), seed: DrawSeed::Sealed(sealed), made: None }
    }

    /// The decrypted seed. `None` if no key decrypts it, or if it doesn't match the commitment.
    pub fn open(&self, concert_id: ConcertId, vault: &dyn SeedVault) -> Option<Seed> {
        let seed = match &self.seed {
            DrawSeed::Revealed(seed) => Some(*seed),
            DrawSeed::Sealed(sealed) => vault.open(concert_id, sealed),
        };
        seed.filter(|seed| seed.commitment() == self.commitment)
    }

    /// The public seed and the result, once the draw is made.
    pub fn result(&self) -> Option<(Seed, DrawMade)> {
        match (self.seed, self.made) {
            (DrawSeed::Revealed(seed), Some(made)) => Some((seed, made)),
            _ => None,
        }
    }
}

/// The result of a draw.
///
/// It fixes the entrants and reserves their places. The places are written in drawn order, in several transactions if
/// there are many; the order can be recomputed at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawMade {
    /// The instant of the draw.
    pub drawn_at: Instant,
    /// The number of entrants.
    pub entrant_count: u32,
    /// The last place before the entrants' places.
    pub base: u32,
    /// The number of the last token that could be an entrant.
    pub last_number: u32,
    /// The number of entrants, in drawn order, whose places are written.
    pub placed: u32,
}

impl DrawMade {
    /// Whether places are still to be written.
    pub fn is_pending(&self) -> bool {
        self.placed < self.entrant_count
    }
}

impl Queue {
    /// Changes the settings. The first opening fixes the seed, which `prepare` makes.
    ///
    /// Once the draw is made its opening is fixed, because clients verify the draw with it. The same opening, at the
    /// millisecond precision of the API, or `None` has no effect; another one is [`Refusal::SalesAlreadyOpen`].
    pub fn set(&mut self, settings: QueueSettings, prepare: impl FnOnce() -> Draw) -> Result<(), Refusal> {
        let sales_open_at = match (settings.sales_open_at, self.settings.sales_open_at) {
            _ if !self.is_drawn() => settings.sales_open_at,
            // An older version allowed to move an opening after its draw. Such an opening is still to come, and `None`
            // removes it.
            (None, current) => current.filter(|opening| *opening <= self.last_decision_at),
            (Some(asked), Some(current)) if asked.timestamp_millis() == current.timestamp_millis() => Some(current),
            (Some(_), _) => return Err(Refusal::SalesAlreadyOpen),
        };
        if self.draw.is_none() && sales_open_at.is_some() {
            self.draw = Some(prepare());
        }
        self.settings = QueueSettings { sales_open_at, ..settings };
        Ok(())
    }

    /// Whether the draw is made. New tokens get places at once from then on.
    pub fn is_drawn(&self) -> bool {
        self.draw.is_some_and(|draw| draw.made.is_some())
    }

    /// Whether new tokens become entrants of a draw to come.
    pub fn awaits_draw(&self, now: Instant) -> bool {
        self.draw.is_some() && !self.is_drawn() && !self.settings.is_open(now)
    }

    /// Whether the draw must be made now, before another token gets a place.
    pub fn is_draw_due(&self, now: Instant) -> bool {
        self.settings.is_open(now) && self.draw.is_some_and(|draw| draw.made.is_none())
    }

    /// Makes the draw: publishes its seed and reserves the places of `entrant_count` entrants.
    pub fn make_draw(&mut self, seed: Seed, entrant_count: u32, now: Instant) {
        let (base, last_number) = (self.last_place, self.last_number);
        if let Some(draw) = &mut self.draw {
            draw.seed = DrawSeed::Revealed(seed);
            draw.made = Some(DrawMade { drawn_at: now, entrant_count, base, last_number, placed: 0 });
            self.last_place += entrant_count;
        }
    }

    /// The result of the draw, while places are still to be written.
    pub fn pending_draw(&self) -> Option<DrawMade> {
        self.draw.and_then(|draw| draw.made).filter(DrawMade::is_pending)
    }

    /// Records that the next `count` entrants have their places.
    pub fn record_placed(&mut self, count: u32) {
        if let Some(made) = self.draw.as_mut().and_then(|draw| draw.made.as_mut()) {
            made.placed = (made.placed + count).min(made.entrant_count);
        }
    }

    /// The last place that may be admitted. Tokens from after the draw wait until all entrants have their places.
    pub fn last_admissible_place(&self) -> u32 {
        self.pending_draw().map_or(u32::MAX, |made| made.base + made.placed)
    }

    /// The number of entrants without a written place.
    pub fn unplaced_count(&self) -> u32 {
        self.pending_draw().map_or(0, |made| made.entrant_count - made.placed)
    }

    /// Revives a token that was left before the draw. It is the same token, so the same entrant.
    #[must_use]
    pub fn revive(&mut self, token: QueueToken, now: Instant) -> QueueToken {
        self.live_bound = self.live_bound.saturating_add(1);
        self.ended_number = 0;
        self.last_decision_at = self.monotonic_now(now);
        QueueToken { state: TokenState::Scheduled, ..token }
    }

    /// The token of a user who leaves. Before the draw it stops being an entrant, afterwards it stays one.
    #[must_use]
    pub fn remove_entrant(&self, token: QueueToken) -> QueueToken {
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
    use crate::domain::{id::UserId, queue::EndReason};

    fn opening() -> Instant {
        Instant::default() + TimeDelta::seconds(60)
    }

    fn scheduled(queue: &mut Queue, number: u128) -> QueueToken {
        let token = queue.issue(UserId(Uuid::from_u128(number)), 1, queue.last_decision_at).unwrap();
        QueueToken { entrant: Some(Entrant::of(&number.to_string())), ..token }
    }

    /// A draw to come, with a seed of this byte repeated.
    fn draw(byte: u8) -> Draw {
        let seed = Seed([byte; 32]);
        Draw { commitment: seed.commitment(), seed: DrawSeed::Revealed(seed), made: None }
    }

    fn queue() -> Queue {
        let mut queue = Queue::new(ConcertId(1), Instant::default());
        let settings = QueueSettings { sales_open_at: Some(opening()), ..QueueSettings::default() };
        queue.set(settings, || draw(1)).unwrap();
        queue
    }

    fn make(queue: &mut Queue, entrants: u32) {
        queue.make_draw(Seed([1; 32]), entrants, opening());
        queue.last_decision_at = opening();
    }

    /// Computed with sha256sum and openssl, as docs/draw.md describes.
    #[test]
    fn commitment_entrant_and_rank_are_what_other_tools_say() {
        let seed = Seed::from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
        assert_eq!(seed.commitment().hex(), "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd");
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
        assert_eq!(queue.draw, Some(draw(1)));
        for sales_open_at in [Some(opening() + TimeDelta::hours(1)), None, Some(opening())] {
            queue.set(QueueSettings { sales_open_at, ..QueueSettings::default() }, || draw(2)).unwrap();
            assert_eq!((queue.draw, queue.settings.sales_open_at), (Some(draw(1)), sales_open_at));
        }
    }

    #[test]
    fn a_draw_reserves_the_places_behind_those_given_out() {
        let mut queue = queue();
        queue.last_place = 4;
        scheduled(&mut queue, 1);
        assert!(!queue.is_draw_due(opening() - TimeDelta::microseconds(1)));
        assert!(queue.is_draw_due(opening()) && queue.awaits_draw(opening() - TimeDelta::microseconds(1)));
        make(&mut queue, 3);
        assert!(!queue.is_draw_due(opening()) && !queue.awaits_draw(opening()));
        assert_eq!((queue.last_place, queue.unplaced_count(), queue.last_admissible_place()), (7, 3, 4));
        queue.record_placed(2);
        assert_eq!((queue.unplaced_count(), queue.last_admissible_place()), (1, 6));
        assert_eq!(queue.issue(UserId(Uuid::nil()), 1, opening()).unwrap().place, Some(8));
        queue.record_placed(1);
        assert_eq!((queue.pending_draw(), queue.unplaced_count(), queue.last_admissible_place()), (None, 0, u32::MAX));
    }

    #[test]
    fn the_opening_is_fixed_once_its_draw_is_made() {
        for entrants in [0, 1] {
            let mut queue = queue();
            make(&mut queue, entrants);
            let made = queue.draw;
            let shown = opening() + TimeDelta::microseconds(1);
            for repeated in [Some(opening()), Some(shown), None] {
                queue.set(QueueSettings { sales_open_at: repeated, ..queue.settings }, || draw(2)).unwrap();
                assert_eq!((queue.draw, queue.settings.sales_open_at), (made, Some(opening())), "{repeated:?}");
            }
            for moved in [opening() + TimeDelta::milliseconds(1), opening() - TimeDelta::hours(1)] {
                let settings = QueueSettings { sales_open_at: Some(moved), max_active: 7, ..queue.settings };
                assert_eq!(queue.set(settings, || draw(2)), Err(Refusal::SalesAlreadyOpen));
            }
            assert_eq!(queue.settings.max_active, QueueSettings::default().max_active, "all of it is refused");
        }
    }

    #[test]
    fn a_token_that_was_left_before_the_draw_is_revived_as_it_was() {
        let mut queue = queue();
        let token = scheduled(&mut queue, 1);
        let left = QueueToken { state: TokenState::Ended(EndReason::Left), ..queue.remove_entrant(token) };
        let back = queue.revive(left, opening());
        assert_eq!(back, QueueToken { entrant: None, ..token });
        assert_eq!(back.claims(), token.claims(), "its text is the same");
    }

    #[test]
    fn a_token_left_before_the_draw_is_not_an_entrant() {
        let mut queue = queue();
        let early = scheduled(&mut queue, 1);
        assert_eq!(queue.remove_entrant(early).entrant, None);
        make(&mut queue, 1);
        assert_eq!(queue.remove_entrant(early), early, "drawn, though it has no place yet");
    }
}
