//! The random order of a draw: the seed, its commitment, and the rank of each entrant.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::domain::{
    id::{ConcertId, QueueTokenId},
    randomness::Randomness,
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
            /// The value of 32 bytes.
            pub fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Parses 64 lower-case hex digits; `None` for any other text, so that each value has one text.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                (!text.bytes().any(|digit| digit.is_ascii_uppercase())).then_some(Self(bytes))
            }

            /// The bytes.
            pub fn bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The bytes as 64 lower-case hex digits.
            pub fn hex(&self) -> String {
                hex::encode(self.0)
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
    /// The SHA-256 of a seed. It is published with the first opening, so that the seed can't be replaced afterwards.
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

    /// Decrypts a concert's seed with any of the configured keys; `None` if none of them decrypts it.
    fn open(&self, concert_id: ConcertId, sealed: &SealedSeed) -> Option<Seed>;

    /// The id of the key that encrypts new seeds.
    fn current_key(&self) -> u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with sha256sum and openssl, as docs/draw.md describes.
    #[test]
    fn commitment_entrant_and_rank_match_other_tools() {
        let seed = Seed::from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
        assert_eq!(seed.commitment().hex(), "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd");
        let entrant = Entrant::of("abc");
        assert_eq!(entrant.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            hex::encode(seed.rank(&entrant)),
            "4632ec1a59eabb3ab887302285075d12cd1cc5addf71cd432adcfde274b74f3b"
        );
    }

    #[test]
    fn only_lower_case_hex_digits_are_parsed() {
        let text = "0f".repeat(32);
        assert_eq!(Entrant::from_hex(&text).unwrap().hex(), text);
        assert_eq!(Seed::from_hex(&text).unwrap().hex(), text);
        for bad in ["", "0f", &"0F".repeat(32), &"0g".repeat(32), &"+f".repeat(32), &"0f".repeat(33)] {
            assert_eq!(Entrant::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_output_hides_the_seed() {
        assert_eq!(format!("{:?}", Seed([7; 32])), "Seed(…)");
    }
}
