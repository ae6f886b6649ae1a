//! Signed tokens: short texts that only the server's secrets can create.
//!
//! A token is the base64url text, without padding, of a payload and its tag. The payload has fields of fixed width,
//! big-endian, so there is one text for each meaning. The fields are a kind (an access token is never taken for a queue
//! token), the id of the key, and the claims. The tag is HMAC-SHA-256 over all of it, cut to 16 bytes: half of the
//! hash, the least that RFC 2104, section 5, recommends. A forgery needs about 2^128 guesses.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::{
    id::{CodeId, QueueTokenId, SessionId, UserId},
    token::{AccessClaims, QueueClaims, RefreshClaims, TokenSigner},
    user::{CodeText, Role},
};

const ACCESS: u8 = 1;
const QUEUE: u8 = 2;
const REFRESH: u8 = 3;
const CODE: u8 = 4;

const TAG_BYTES: usize = 16;

/// Longer than any token. A longer text isn't decoded.
const MAX_TEXT_LENGTH: usize = 128;

/// Signs with the first of its secrets and accepts the signatures of all, so that secrets can be rotated without ending
/// sessions.
#[derive(Clone)]
pub struct HmacTokenSigner {
    current: Key,
    former: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: u32,
    /// Initialised with the secret; each use clones it.
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(secret: &str) -> Self {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(secret));
        let mac = Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        Self { id: u32::from_be_bytes([a, b, c, d]), mac }
    }

    fn sign(&self, mut payload: Vec<u8>) -> String {
        let tag = self.mac.clone().chain_update(&payload).finalize().into_bytes();
        payload.extend_from_slice(&tag[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(payload)
    }

    fn verifies(&self, payload: &[u8], tag: &[u8; TAG_BYTES]) -> bool {
        self.mac.clone().chain_update(payload).verify_truncated_left(tag).is_ok()
    }
}

/// The list of secrets is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at least one token secret is needed")]
pub struct NoSecret;

impl HmacTokenSigner {
    /// Creates a signer from the current secret and the former ones.
    ///
    /// # Errors
    ///
    /// [`NoSecret`] if the list is empty.
    pub fn new(secrets: &[String]) -> Result<Self, NoSecret> {
        let (current, former) = secrets.split_first().ok_or(NoSecret)?;
        let former = former.iter().map(|secret| Key::new(secret)).collect();
        Ok(Self { current: Key::new(current), former })
    }

    /// All keys with this id, which two secrets may share by chance.
    fn keys(&self, id: u32) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.former).filter(move |key| key.id == id)
    }

    /// The claims of a token of this kind, if one of the keys signed it.
    fn open(&self, kind: u8, text: &str) -> Option<Fields> {
        // The decoder accepts neither padding nor stray bits at the end, so a token has one text only.
        let bytes = Some(text).filter(|text| text.len() <= MAX_TEXT_LENGTH)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let (payload, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        let mut fields = Fields { bytes: payload.to_vec(), read: 0 };
        let [found] = fields.take()?;
        let key = u32::from_be_bytes(fields.take()?);
        let genuine = found == kind && self.keys(key).any(|key| key.verifies(payload, tag));
        genuine.then_some(fields)
    }
}

/// Reads the fields of a payload in their order.
struct Fields {
    bytes: Vec<u8>,
    read: usize,
}

impl Fields {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let field = *self.bytes.get(self.read..)?.first_chunk()?;
        self.read += N;
        Some(field)
    }

    /// Succeeds if all bytes have been read.
    fn finish(&self) -> Option<()> {
        (self.read == self.bytes.len()).then_some(())
    }
}

fn begin(kind: u8, key: &Key) -> Vec<u8> {
    let mut payload = Vec::with_capacity(MAX_TEXT_LENGTH);
    payload.push(kind);
    payload.extend_from_slice(&key.id.to_be_bytes());
    payload
}

fn role_byte(role: Role) -> u8 {
    match role {
        Role::User => 0,
        Role::Admin => 1,
    }
}

impl TokenSigner for HmacTokenSigner {
    fn access_token(&self, claims: &AccessClaims) -> String {
        let mut payload = begin(ACCESS, &self.current);
        payload.extend_from_slice(claims.user_id.0.as_bytes());
        payload.extend_from_slice(claims.session_id.0.as_bytes());
        payload.push(role_byte(claims.role));
        payload.extend_from_slice(&claims.expires_at.timestamp_micros().to_be_bytes());
        self.current.sign(payload)
    }

    fn read_access_token(&self, text: &str) -> Option<AccessClaims> {
        let mut fields = self.open(ACCESS, text)?;
        let user_id = UserId(Uuid::from_bytes(fields.take()?));
        let session_id = SessionId(Uuid::from_bytes(fields.take()?));
        let [role] = fields.take()?;
        let role = [Role::User, Role::Admin].into_iter().find(|known| role_byte(*known) == role)?;
        let expires_at = DateTime::from_timestamp_micros(i64::from_be_bytes(fields.take()?))?;
        fields.finish()?;
        Some(AccessClaims { user_id, session_id, role, expires_at })
    }

    fn refresh_token(&self, claims: &RefreshClaims, key: u32) -> Option<String> {
        let key = self.keys(key).next()?;
        let mut payload = begin(REFRESH, key);
        payload.extend_from_slice(claims.session_id.0.as_bytes());
        payload.extend_from_slice(&claims.nonce);
        Some(key.sign(payload))
    }

    fn read_refresh_token(&self, text: &str) -> Option<RefreshClaims> {
        let mut fields = self.open(REFRESH, text)?;
        let session_id = SessionId(Uuid::from_bytes(fields.take()?));
        let nonce = fields.take()?;
        fields.finish()?;
        Some(RefreshClaims { session_id, nonce })
    }

    fn current_key(&self) -> u32 {
        self.current.id
    }

    fn queue_token(&self, claims: &QueueClaims, key: u32) -> String {
        let key = self.keys(key).next().unwrap_or(&self.current);
        let mut payload = begin(QUEUE, key);
        payload.extend_from_slice(&claims.id.0.to_be_bytes());
        payload.extend_from_slice(claims.user_id.0.as_bytes());
        // Places count from 1.
        payload.extend_from_slice(&claims.place.unwrap_or(0).to_be_bytes());
        payload.extend_from_slice(&claims.issued_at.timestamp_micros().to_be_bytes());
        key.sign(payload)
    }

    fn mailed_code(&self, id: CodeId, key: u32) -> Option<CodeText> {
        let key = self.keys(key).next()?;
        let mut payload = begin(CODE, key);
        payload.extend_from_slice(id.0.as_bytes());
        // No token has this kind, so no token's tag reveals a code.
        Some(CodeText::of(&key.mac.clone().chain_update(&payload).finalize().into_bytes().into()))
    }

    fn read_queue_token(&self, text: &str) -> Option<QueueClaims> {
        let mut fields = self.open(QUEUE, text)?;
        let id = QueueTokenId(u64::from_be_bytes(fields.take()?));
        let user_id = UserId(Uuid::from_bytes(fields.take()?));
        let place = Some(u32::from_be_bytes(fields.take()?)).filter(|place| *place > 0);
        let issued_at = DateTime::from_timestamp_micros(i64::from_be_bytes(fields.take()?))?;
        fields.finish()?;
        Some(QueueClaims { id, user_id, place, issued_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "an old secret of more than 32 characters";
    const NEW: &str = "a new secret of more than 32 characters!";

    fn signer(secrets: &[&str]) -> HmacTokenSigner {
        let secrets: Vec<_> = secrets.iter().copied().map(str::to_owned).collect();
        HmacTokenSigner::new(&secrets).unwrap()
    }

    fn access() -> AccessClaims {
        AccessClaims {
            user_id: UserId(Uuid::from_u128(7)),
            session_id: SessionId(Uuid::from_u128(8)),
            role: Role::Admin,
            expires_at: DateTime::from_timestamp_micros(1_795_161_600_123_456).unwrap(),
        }
    }

    fn queue(place: Option<u32>) -> QueueClaims {
        QueueClaims {
            id: QueueTokenId((3 << 32) | 9),
            user_id: UserId(Uuid::from_u128(7)),
            place,
            issued_at: DateTime::from_timestamp_micros(1_795_161_600_123_456).unwrap(),
        }
    }

    fn refresh() -> RefreshClaims {
        RefreshClaims { session_id: SessionId(Uuid::from_u128(8)), nonce: [5; 32] }
    }

    #[test]
    fn signed_claims_are_read_back() {
        let signer = signer(&[NEW]);
        let text = signer.refresh_token(&refresh(), signer.current_key()).unwrap();
        assert_eq!(signer.read_refresh_token(&text), Some(refresh()));
        assert_eq!(signer.refresh_token(&refresh(), signer.current_key() ^ 1), None);
        for role in [Role::User, Role::Admin] {
            let claims = AccessClaims { role, ..access() };
            assert_eq!(signer.read_access_token(&signer.access_token(&claims)), Some(claims));
        }
        for place in [None, Some(1), Some(u32::MAX)] {
            let text = signer.queue_token(&queue(place), signer.current_key());
            assert_eq!(signer.read_queue_token(&text), Some(queue(place)));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            assert_eq!(text.len(), 76, "fields of fixed width");
        }
    }

    #[test]
    fn a_token_of_one_kind_is_refused_as_another() {
        let signer = signer(&[NEW]);
        let text = signer.access_token(&access());
        assert_eq!((signer.read_queue_token(&text), signer.read_refresh_token(&text)), (None, None));
        let text = signer.queue_token(&queue(Some(1)), signer.current_key());
        assert_eq!((signer.read_access_token(&text), signer.read_refresh_token(&text)), (None, None));
        let text = signer.refresh_token(&refresh(), signer.current_key()).unwrap();
        assert_eq!((signer.read_access_token(&text), signer.read_queue_token(&text)), (None, None));
    }

    /// A secret is rotated. The new one signs, tokens of the old one are accepted until it is removed, and a queue
    /// token's text stays the same.
    #[test]
    fn secrets_can_be_rotated() {
        let before = signer(&[OLD]);
        let during = signer(&[NEW, OLD]);
        let after = signer(&[NEW]);
        let old = before.access_token(&access());
        assert_eq!(during.read_access_token(&old), Some(access()));
        assert_eq!(after.read_access_token(&old), None);
        let new = during.access_token(&access());
        assert_eq!(after.read_access_token(&new), Some(access()));
        assert_eq!(before.read_access_token(&new), None);

        let key = before.current_key();
        assert_ne!(key, during.current_key());
        let text = before.queue_token(&queue(Some(5)), key);
        assert_eq!(during.queue_token(&queue(Some(5)), key), text);
        let signed_anew = after.queue_token(&queue(Some(5)), key);
        assert_ne!(signed_anew, text);
        assert_eq!(after.read_queue_token(&signed_anew), Some(queue(Some(5))));
    }

    /// Every byte of a token is changed in turn, and every character of its text, the last one's spare bits included.
    #[test]
    fn nothing_altered_is_read() {
        let signer = signer(&[NEW, OLD]);
        let access_text = signer.access_token(&access());
        let queue_text = signer.queue_token(&queue(Some(1)), signer.current_key());
        let refresh_text = signer.refresh_token(&refresh(), signer.current_key()).unwrap();
        let refused = |text: &str| {
            signer.read_access_token(text).is_none()
                && signer.read_queue_token(text).is_none()
                && signer.read_refresh_token(text).is_none()
        };
        for text in [&access_text, &queue_text, &refresh_text] {
            let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            for index in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bytes = bytes.clone();
                    bytes[index] ^= 1 << bit;
                    assert!(refused(&URL_SAFE_NO_PAD.encode(bytes)), "bit {bit} of byte {index}");
                }
            }
            for index in 0..text.len() {
                for other in "ABCDwxyz0189-_=+/ .".chars() {
                    let mut altered = text.clone();
                    altered.replace_range(index..=index, &other.to_string());
                    assert!(altered == *text || refused(&altered), "{other:?} at {index}");
                }
            }
            for length in 0..text.len() {
                assert!(refused(&text[..length]), "{length} characters");
                assert!(refused(&text[length + 1..]), "without the first {}", length + 1);
            }
            for altered in [
                format!("{text}A"),
                format!("{text}="),
                format!("{text}=="),
                format!(" {text}"),
                format!("{text}\n"),
                text.repeat(2),
            ] {
                assert!(refused(&altered), "{altered:?}");
            }
        }
        for text in ["", "A", "null", "가나다", &"A".repeat(10_000)] {
            assert!(refused(text));
        }
    }

    #[test]
    fn without_a_secret_there_is_no_signer() {
        assert_eq!(HmacTokenSigner::new(&[]).err(), Some(NoSecret));
    }
}
