//! Argon2id, for passwords.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _},
};

use crate::domain::{
    randomness::Randomness,
    user::{HashingFailed, PasswordHasher},
};

/// Hashes with Argon2id at 19 MiB, two passes and one lane.
///
/// These are the crate's defaults, and OWASP's minimum
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id>).
#[derive(Clone)]
pub struct Argon2Hasher {
    randomness: Arc<dyn Randomness>,
}

impl Argon2Hasher {
    /// Creates a hasher that takes its salts from `randomness`.
    pub fn new(randomness: Arc<dyn Randomness>) -> Self {
        Self { randomness }
    }
}

impl PasswordHasher for Argon2Hasher {
    fn hash(&self, password: &str) -> Result<String, HashingFailed> {
        let mut salt = [0; 16];
        self.randomness.fill(&mut salt);
        Argon2::default()
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map(|hash| hash.to_string())
            .map_err(|error| HashingFailed(error.to_string()))
    }

    /// Uses the parameters in the hash, so that old hashes stay valid when the defaults change.
    fn verify(&self, password: &str, hash: &str) -> bool {
        Argon2::default().verify_password(password.as_bytes(), hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infrastructure::randomness::OsRandomness;

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let hasher = Argon2Hasher::new(Arc::new(OsRandomness));
        let hash = hasher.hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hash.len() <= 255);
        assert!(hasher.verify("correct horse", &hash));
        assert!(!hasher.verify("correct horsf", &hash));
        assert!(!hasher.verify("correct horse", "no hash"));
        assert_ne!(hasher.hash("correct horse").unwrap(), hash);
    }
}
