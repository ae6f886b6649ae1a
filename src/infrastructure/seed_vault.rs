//! Encryption of the seeds of draws with the server's secrets, by ChaCha20-Poly1305.
//!
//! The key is [derived](derived_key) from the secret for this purpose alone, so no other use of the secret reveals it.
//! A sealed seed is the key's id, a random nonce, and the encrypted seed with its tag. The concert's id is
//! authenticated with it: a sealed seed that is copied to another concert doesn't open.

use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

use super::{derived_key::derived_key, token_signer::NoSecret};
use crate::domain::{
    id::ConcertId,
    queue::{SealedSeed, Seed, SeedVault},
    randomness::Randomness,
};

/// The text from which the keys are derived with the secrets.
const KEY_PURPOSE: &str = "concert-reservation: seeds of draws";

/// Seals with the first of its secrets and opens the seeds that any of them sealed.
pub struct AeadSeedVault {
    current: Key,
    former: Vec<Key>,
    randomness: Arc<dyn Randomness>,
}

struct Key {
    id: u32,
    cipher: LessSafeKey,
}

impl Key {
    fn new(secret: &str) -> Self {
        let key = derived_key(secret, KEY_PURPOSE);
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(key));
        let cipher = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("the cipher takes keys of 32 bytes");
        Self { id: u32::from_be_bytes([a, b, c, d]), cipher: LessSafeKey::new(cipher) }
    }

    fn open(&self, concert_id: ConcertId, sealed: &SealedSeed) -> Option<Seed> {
        let (nonce, encrypted) = sealed.0.get(4..)?.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = encrypted.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.cipher.open_in_place(nonce, context(concert_id), &mut bytes).ok()?;
        <[u8; 32]>::try_from(&*opened).ok().map(Seed::new)
    }
}

fn context(concert_id: ConcertId) -> Aad<[u8; 8]> {
    Aad::from(concert_id.0.to_be_bytes())
}

impl AeadSeedVault {
    /// Creates a vault from the current secret and the former ones.
    ///
    /// # Errors
    ///
    /// [`NoSecret`] if the list is empty.
    pub fn new(secrets: &[String], randomness: Arc<dyn Randomness>) -> Result<Self, NoSecret> {
        let (current, former) = secrets.split_first().ok_or(NoSecret)?;
        let former = former.iter().map(|secret| Key::new(secret)).collect();
        Ok(Self { current: Key::new(current), former, randomness })
    }
}

impl SeedVault for AeadSeedVault {
    fn current_key(&self) -> u32 {
        self.current.id
    }

    fn seal(&self, concert_id: ConcertId, seed: &Seed) -> SealedSeed {
        // Few seeds per key, each with 96 random bits: no nonce repeats.
        let mut nonce = [0; NONCE_LEN];
        self.randomness.fill(&mut nonce);
        let mut encrypted = seed.bytes().to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.current
            .cipher
            .seal_in_place_append_tag(unique, context(concert_id), &mut encrypted)
            .expect("the cipher takes 32 bytes");
        let bytes = [&self.current.id.to_be_bytes()[..], &nonce[..], &encrypted[..]].concat();
        SealedSeed(bytes.try_into().expect("id, nonce, seed and tag have fixed lengths"))
    }

    fn open(&self, concert_id: ConcertId, sealed: &SealedSeed) -> Option<Seed> {
        std::iter::once(&self.current).chain(&self.former).find_map(|key| key.open(concert_id, sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infrastructure::randomness::OsRandomness;

    const OLD: &str = "an old secret of more than 32 characters";
    const NEW: &str = "a new secret of more than 32 characters!";

    fn vault(secrets: &[&str]) -> AeadSeedVault {
        let secrets: Vec<_> = secrets.iter().copied().map(str::to_owned).collect();
        AeadSeedVault::new(&secrets, Arc::new(OsRandomness)).unwrap()
    }

    #[test]
    fn a_seed_is_opened_by_any_configured_secret_and_by_no_other() {
        let (concert, seed) = (ConcertId(7), Seed::new([5; 32]));
        let (before, during, after) = (vault(&[OLD]), vault(&[NEW, OLD]), vault(&[NEW]));
        let old = before.seal(concert, &seed);
        assert_eq!(old.key_id(), before.current_key());
        assert_ne!(old.key_id(), during.current_key());
        assert_eq!((before.open(concert, &old), during.open(concert, &old)), (Some(seed), Some(seed)));
        assert_eq!(after.open(concert, &old), None);
        let new = during.seal(concert, &seed);
        assert_eq!((after.open(concert, &new), before.open(concert, &new)), (Some(seed), None));
    }

    #[test]
    fn a_seed_that_was_altered_or_moved_to_another_concert_does_not_open() {
        let vault = vault(&[NEW]);
        let seed = Seed::new([5; 32]);
        let sealed = vault.seal(ConcertId(7), &seed);
        assert_eq!(vault.open(ConcertId(8), &sealed), None);
        assert_ne!(vault.seal(ConcertId(7), &seed), sealed, "the nonce is new");
        for index in 4..SealedSeed::BYTES {
            let mut bytes = sealed.0;
            bytes[index] ^= 1;
            assert_eq!(vault.open(ConcertId(7), &SealedSeed(bytes)), None, "byte {index}");
        }
    }
}
