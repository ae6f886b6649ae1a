//! The codes of tickets, signed by Ed25519. `docs/tickets.md` shows how to verify one.
//!
//! A code is the Base32 text, without padding, of a payload and its signature. The payload has big-endian fields: the
//! format, the key's id, performance, booking, seat, the seat's number, section and row. Base32 fits into the
//! alphanumeric mode of QR codes, which makes the picture smaller than the shorter Base64 text would
//! (`docs/decisions/0040-codes-of-tickets.md`).

use data_encoding::BASE32_NOPAD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{derived_key::derived_key, token_signer::NoSecret};
use crate::domain::{
    id::{BookingId, PerformanceId, SeatId},
    ticket::{Ticket, TicketClaims, TicketKey, TicketSigner},
};

/// The text from which the keys are derived with the secret.
const KEY_PURPOSE: &str = "concert-reservation: codes of tickets";

/// The first byte of each payload. Another layout gets another one.
const FORMAT: u8 = 1;

const SIGNATURE_BYTES: usize = 64;

/// The most bytes of a section's or row's name in a code. The rest is cut off, so that the picture stays small.
const NAME_BYTES: usize = 40;

/// Longer than any code. A longer text isn't decoded.
const MAX_CODE_LENGTH: usize = 320;

/// Signs with the first of its secrets' keys, and verifies with all of them.
pub struct Ed25519TicketSigner {
    current: Ed25519KeyPair,
    keys: Vec<TicketKey>,
}

impl Ed25519TicketSigner {
    /// Creates a signer from the current secret and the former ones.
    ///
    /// # Errors
    ///
    /// [`NoSecret`] if the list is empty.
    pub fn new(secrets: &[String]) -> Result<Self, NoSecret> {
        let current = key_pair(secrets.first().ok_or(NoSecret)?);
        let keys = secrets.iter().map(|secret| key_of(&key_pair(secret))).collect();
        Ok(Self { current, keys })
    }
}

fn key_pair(secret: &str) -> Ed25519KeyPair {
    let seed = derived_key(secret, KEY_PURPOSE);
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed has 32 bytes")
}

fn key_of(pair: &Ed25519KeyPair) -> TicketKey {
    let public_key: [u8; 32] = pair.public_key().as_ref().try_into().expect("a public key has 32 bytes");
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(public_key));
    TicketKey { id: u32::from_be_bytes([a, b, c, d]), public_key }
}

/// Appends the length and the text of a name, which is cut before the first character that doesn't fit.
fn push_name(payload: &mut Vec<u8>, name: &str) {
    let end = (0..=NAME_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    payload.push(u8::try_from(end).unwrap_or(0));
    payload.extend_from_slice(&name.as_bytes()[..end]);
}

fn take<const N: usize>(payload: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = payload.split_first_chunk()?;
    *payload = rest;
    Some(*field)
}

impl TicketSigner for Ed25519TicketSigner {
    fn code(&self, ticket: &Ticket) -> String {
        let mut bytes = Vec::with_capacity(128);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&key_of(&self.current).id.to_be_bytes());
        bytes.extend_from_slice(&ticket.performance_id.0.to_be_bytes());
        bytes.extend_from_slice(ticket.booking_id.0.as_bytes());
        bytes.extend_from_slice(&ticket.seat.id.0.to_be_bytes());
        bytes.extend_from_slice(&ticket.seat.number.to_be_bytes());
        push_name(&mut bytes, &ticket.seat.section);
        push_name(&mut bytes, &ticket.seat.row);
        let signature = self.current.sign(&bytes);
        bytes.extend_from_slice(signature.as_ref());
        BASE32_NOPAD.encode(&bytes)
    }

    fn read(&self, code: &str) -> Option<TicketClaims> {
        // The decoder accepts neither padding nor stray bits at the end, so a code has one text only.
        let code = Some(code).filter(|code| code.len() <= MAX_CODE_LENGTH)?;
        let bytes = BASE32_NOPAD.decode(code.as_bytes()).ok()?;
        let (payload, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>()?;
        let mut fields = payload;
        let [format] = take(&mut fields)?;
        let id = u32::from_be_bytes(take(&mut fields)?);
        let verifies =
            |key: &TicketKey| UnparsedPublicKey::new(&ED25519, key.public_key).verify(payload, signature).is_ok();
        // Two keys may share an id by chance.
        if format != FORMAT || !self.keys.iter().filter(|key| key.id == id).any(verifies) {
            return None;
        }
        Some(TicketClaims {
            performance_id: PerformanceId(u64::from_be_bytes(take(&mut fields)?)),
            booking_id: BookingId(Uuid::from_bytes(take(&mut fields)?)),
            seat_id: SeatId(u64::from_be_bytes(take(&mut fields)?)),
        })
    }

    fn keys(&self) -> Vec<TicketKey> {
        self.keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{booking::BookedSeat, id::TicketId, points::Points};

    const OLD: &str = "an old secret of more than 32 characters";
    const NEW: &str = "a new secret of more than 32 characters!";

    fn signer(secrets: &[&str]) -> Ed25519TicketSigner {
        let secrets: Vec<_> = secrets.iter().copied().map(str::to_owned).collect();
        Ed25519TicketSigner::new(&secrets).unwrap()
    }

    fn ticket(section: &str) -> Ticket {
        let booking_id = BookingId("01939e6b-0c5d-7b11-8f3e-5a0d6c1b2e34".parse().unwrap());
        Ticket {
            id: TicketId::of(booking_id, SeatId(41)),
            booking_id,
            performance_id: PerformanceId(7),
            seat: BookedSeat {
                id: SeatId(41),
                section: section.to_owned(),
                row: "B".to_owned(),
                number: 12,
                grade: "VIP".to_owned(),
                price: Points::ZERO,
            },
        }
    }

    fn claims() -> TicketClaims {
        let Ticket { performance_id, booking_id, seat, .. } = ticket("");
        TicketClaims { performance_id, booking_id, seat_id: seat.id }
    }

    #[test]
    fn a_code_is_verified_by_any_configured_key_and_by_no_other() {
        let (before, during, after) = (signer(&[OLD]), signer(&[NEW, OLD]), signer(&[NEW]));
        let (old, new) = (before.code(&ticket("Floor")), during.code(&ticket("Floor")));
        assert_ne!(old, new);
        assert_eq!(new, after.code(&ticket("Floor")));
        assert_eq!((before.read(&old), during.read(&old)), (Some(claims()), Some(claims())));
        assert_eq!(after.read(&old), None);
        assert_eq!((after.read(&new), before.read(&new)), (Some(claims()), None));
        assert_eq!(during.keys(), [after.keys(), before.keys()].concat());
    }

    #[test]
    fn a_code_of_a_usual_seat_fits_into_a_small_picture() {
        let code = signer(&[NEW]).code(&ticket("Floor"));
        // The most alphanumeric characters of version 7 at level M, 45 modules wide.
        assert!(code.len() <= 178, "{}", code.len());
        assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()), "{code}");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let signer = signer(&[NEW]);
        // Three bytes each: thirteen fit.
        let code = signer.code(&ticket(&"층".repeat(100)));
        assert_eq!(code, signer.code(&ticket(&"층".repeat(13))));
        assert_ne!(code, signer.code(&ticket(&"층".repeat(12))));
        assert!(code.len() <= MAX_CODE_LENGTH);
        assert_eq!(signer.read(&code), Some(claims()));
        let longest = signer
            .code(&Ticket { seat: BookedSeat { row: "x".repeat(200), ..ticket(&"x".repeat(200)).seat }, ..ticket("") });
        assert!(longest.len() <= MAX_CODE_LENGTH);
        assert_eq!(signer.read(&longest), Some(claims()));
    }

    #[test]
    fn every_altered_or_truncated_code_is_refused() {
        let signer = signer(&[NEW]);
        let code = signer.code(&ticket("Floor"));
        let bytes = BASE32_NOPAD.decode(code.as_bytes()).unwrap();
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut bytes = bytes.clone();
                bytes[index] ^= 1 << bit;
                assert_eq!(signer.read(&BASE32_NOPAD.encode(&bytes)), None, "bit {bit} of byte {index}");
            }
        }
        for length in 0..code.len() {
            assert_eq!(signer.read(&code[..length]), None, "{length} characters");
            assert_eq!(signer.read(&code[length + 1..]), None, "without the first {}", length + 1);
        }
        let lower = code.to_lowercase();
        for text in [format!("{code}A"), format!("{code}="), format!(" {code}"), format!("{code}\n"), lower] {
            assert_eq!(signer.read(&text), None, "{text:?}");
        }
        for text in ["", "A", "가나다", &"A".repeat(10_000)] {
            assert_eq!(signer.read(text), None);
        }
    }

    #[test]
    fn without_a_secret_there_is_no_signer() {
        assert_eq!(Ed25519TicketSigner::new(&[]).err(), Some(NoSecret));
    }
}
