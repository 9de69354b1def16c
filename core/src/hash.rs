//! FNV-1a, a 64-bit hash of bytes (<http://www.isthe.com/chongo/tech/comp/fnv/>).
//!
//! It detects accidents such as a torn snapshot, and recognises request ids. It stops no attack.

/// The hash of no bytes, with which every hash starts.
pub const START: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash `start`, continued with `bytes`. Costs two instructions for each byte.
#[must_use]
pub fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(start, step)
}
