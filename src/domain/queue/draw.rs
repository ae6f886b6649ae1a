//! The draw: at the opening, the tokens from before it get places in a random order that can be neither predicted nor
//! chosen.

use super::{Commitment, SealedSeed, Seed, SeedVault};
use crate::domain::{clock::Instant, id::ConcertId, randomness::Randomness};

/// A seed as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawSeed {
    /// Encrypted until the draw.
    Sealed(SealedSeed),
    /// Public since the draw. A pending draw has it only if an older version stored its seed unencrypted.
    Revealed(Seed),
}

/// The draw of a queue: pending, or made.
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
    /// Prepares a pending draw with a new seed, which the vault encrypts.
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
    /// The last place before the entrants' places, which follow it without a gap.
    pub base: u32,
    /// The number of the last token that could be an entrant.
    pub last_number: u32,
    /// The number of entrants whose places are written. They are written in drawn order.
    pub placed: u32,
}

impl DrawMade {
    /// Whether places are still to be written.
    pub fn is_pending(&self) -> bool {
        self.placed < self.entrant_count
    }
}
