//! Prunes a JSON object to the members of a struct, in a fixed buffer, for serde-json-core to read.
//!
//! In: the tokens of an object of any size. Out: `{"requestId":"...","memorySizeMB":128}`: flat,
//! ASCII only, numbers as integers, long strings clipped, the first of duplicate members. Members
//! are taken from the object itself and, for some structs, from its member `metrics`.

use core::fmt;

use heapless::string::StringView;
use serde::Deserializer;
use serde::de::{self, DeserializeSeed, MapAccess, Visitor};

use crate::buffer::Bytes;
use crate::decimal::{DIGITS_MAX, decimal};
use crate::scan::compact;
use crate::scan::lexer::{Lexer, Token};
use crate::sizes::{FUNCTION_NAME_MAX, PRUNED_KEY_SIZE, RECORD_SIZE};

/// Declares a struct of pruned members. Each member is named once, with its key in the JSON object:
/// a number (`u64`), or a string that is clipped to its capacity.
macro_rules! pruned_members {
    (
        $(#[$doc:meta])*
        $visibility:vis struct $name:ident, metrics: $takes_metrics:literal, {
            $($member:ident: $type:ty = $key:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Default)]
        $visibility struct $name {
            $(pub(super) $member: $type,)+
        }

        impl $crate::scan::prune::PrunedMembers for $name {
            const KEYS: &'static [$crate::scan::prune::Key] = &[
                $(($key, <$type as $crate::scan::prune::PrunedMember>::LEN_MAX),)+
            ];
            const TAKES_METRICS: bool = $takes_metrics;

            fn read<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                members: &mut A,
            ) -> Result<(), A::Error> {
                match key {
                    $($key => $crate::scan::prune::PrunedMember::read(&mut self.$member, members),)+
                    // The pruner keeps no other.
                    _ => Err(serde::de::Error::custom("")),
                }
            }
        }

        const _: () = $crate::scan::prune::assert_room_for(
            <$name as $crate::scan::prune::PrunedMembers>::KEYS,
        );
    };
}

pub(crate) use pruned_members;

/// A struct of [`pruned_members`].
pub(crate) trait PrunedMembers {
    const KEYS: &'static [Key];
    /// Members of the member `metrics` are taken too.
    const TAKES_METRICS: bool;

    /// Reads the value of the member `key`.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, members: &mut A) -> Result<(), A::Error>;
}

/// A member's name, and the most bytes of its value: 0 for a number.
pub(crate) type Key = (&'static str, usize);

/// A type that a pruned member can have.
pub(crate) trait PrunedMember {
    const LEN_MAX: usize;

    /// Reads the next value.
    fn read<'de, A: MapAccess<'de>>(&mut self, members: &mut A) -> Result<(), A::Error>;
}

impl PrunedMember for u64 {
    const LEN_MAX: usize = 0;

    fn read<'de, A: MapAccess<'de>>(&mut self, members: &mut A) -> Result<(), A::Error> {
        *self = members.next_value()?;
        Ok(())
    }
}

impl<const N: usize> PrunedMember for heapless::String<N> {
    const LEN_MAX: usize = N;

    fn read<'de, A: MapAccess<'de>>(&mut self, members: &mut A) -> Result<(), A::Error> {
        members.next_value_seed(StringReader(self))
    }
}

/// Reads each member in its place. The code that serde derives moves the members, and is twice as
/// large.
struct MembersReader<'a, T>(&'a mut T);

impl<'de, T: PrunedMembers> Visitor<'de> for MembersReader<'_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<&str>()? {
            self.0.read(key, &mut members)?;
        }
        Ok(())
    }
}

/// Reads a string of any capacity, so that all share one copy of the code.
struct StringReader<'a>(&'a mut StringView);

impl<'de> DeserializeSeed<'de> for StringReader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for StringReader<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text).map_err(|_| E::custom(""))
    }
}

/// The buffer, and where in the object the tokens are.
pub(crate) struct Pruner {
    out: Bytes<RECORD_SIZE>,
    key: Bytes<PRUNED_KEY_SIZE>,
    keys: &'static [Key],
    /// Bit `n` is set if one of the keys has `n` bytes.
    key_lengths: u32,
    /// Depth of the object's own members.
    depth: u32,
    takes_metrics: bool,
    in_metrics: bool,
    /// Bit `n` is set when the member of `keys[n]` has been taken.
    taken: u32,
    place: PrunerPlace,
}

/// Where in the object the next token is.
#[derive(Clone, Copy)]
enum PrunerPlace {
    /// Between members, or in a value that is not kept.
    Idle,
    /// In a member's name.
    Key,
    /// Before the value of `keys[n]`.
    Value(usize),
    /// Before the value of `metrics`.
    Metrics,
    /// In a string value: where the member began in the output, and how many bytes it may still
    /// take.
    Copying { start: usize, left: usize },
}

impl Pruner {
    pub(crate) const fn new() -> Self {
        Self {
            out: Bytes::new(),
            key: Bytes::new(),
            keys: &[],
            key_lengths: 0,
            depth: 0,
            takes_metrics: false,
            in_metrics: false,
            taken: 0,
            place: PrunerPlace::Idle,
        }
    }

    /// Begins another object, whose members are at `depth`. Those that `T` has are kept.
    pub(crate) fn start<T: PrunedMembers>(&mut self, depth: u32) {
        self.out.clear();
        self.push(b"{");
        self.keys = T::KEYS;
        self.key_lengths = const { key_lengths(T::KEYS) };
        self.depth = depth;
        self.takes_metrics = T::TAKES_METRICS;
        self.in_metrics = false;
        self.taken = 0;
        self.place = PrunerPlace::Idle;
    }

    /// Takes the next token of the object. `depth` is the lexer's depth after it.
    pub(crate) fn token(&mut self, token: &Token<'_>, depth: u32) {
        let is_member = self.is_member(depth);
        self.place = match (token, self.place) {
            (Token::KeyStart, _) if is_member => {
                self.key.clear();
                PrunerPlace::Key
            }
            (Token::Text(run), PrunerPlace::Key) => {
                // A name that is too long is not one of the keys. Clipped, it fills the buffer, and
                // so still equals none of them.
                self.key.append(run);
                PrunerPlace::Key
            }
            (Token::Unit(unit), PrunerPlace::Key) => {
                self.key.append(&[ascii(*unit)]);
                PrunerPlace::Key
            }
            (Token::KeyEnd, PrunerPlace::Key) => self.key_end(),
            (Token::Open, PrunerPlace::Metrics) => {
                self.in_metrics = true;
                PrunerPlace::Idle
            }
            (Token::Close, _) => {
                self.in_metrics &= depth > self.depth;
                PrunerPlace::Idle
            }
            (Token::StringStart, PrunerPlace::Value(index)) => self.string_start(index),
            (Token::Number(Some(value)), PrunerPlace::Value(index)) => self.number(index, *value),
            (Token::Text(run), PrunerPlace::Copying { start, left }) => {
                self.copy_run(start, left, run)
            }
            (Token::Unit(unit), place @ PrunerPlace::Copying { .. }) => {
                self.copy(place, ascii(*unit))
            }
            (Token::StringEnd, PrunerPlace::Copying { .. }) => {
                self.close(b'"');
                PrunerPlace::Idle
            }
            _ => PrunerPlace::Idle,
        };
    }

    /// True if members at this depth may be kept.
    fn is_member(&self, depth: u32) -> bool {
        depth == self.depth || self.in_metrics && depth == self.depth.saturating_add(1)
    }

    /// Takes the next members at once, or skips them, while they are whole and plain in `rest`. The
    /// lexer reads what remains of it.
    pub(crate) fn take_members(&mut self, lexer: &mut Lexer, rest: &mut &[u8]) {
        if !self.is_member(lexer.depth()) {
            return;
        }
        while let Some((key, value)) = lexer.at_member(rest).and_then(compact::member) {
            let after = match self.place_of(key) {
                PrunerPlace::Value(index) => self.take_value(index, value),
                PrunerPlace::Metrics => {
                    let Some(members) = compact::after(b'{', value) else { return };
                    lexer.enter_object();
                    self.in_metrics = true;
                    *rest = members;
                    continue;
                }
                _ => compact::after_value(value),
            };
            let Some(after) = after else { return };
            lexer.pass_value();
            *rest = after;
        }
    }

    /// Takes a plain value. Returns the bytes after it.
    fn take_value<'a>(&mut self, index: usize, value: &'a [u8]) -> Option<&'a [u8]> {
        if let Some((number, after)) = compact::whole_number(value) {
            self.number(index, number);
            return Some(after);
        }
        let (text, after) = compact::unescaped(value)?;
        let mut place = self.string_start(index);
        if let PrunerPlace::Copying { start, left } = place {
            place = self.copy_run(start, left, text);
        }
        if let PrunerPlace::Copying { .. } = place {
            self.close(b'"');
        }
        Some(after)
    }

    /// Reads the kept members into `members`. `None` if one does not have its type.
    pub(crate) fn read<T: PrunedMembers>(&mut self, members: &mut T) -> Option<()> {
        let length = self.out.len();
        self.close(b'}');
        let mut unescaped = [0; STRING_MAX];
        let mut reader = serde_json_core::de::Deserializer::new(&self.out, Some(&mut unescaped));
        let read = reader.deserialize_map(MembersReader(members)).ok();
        self.out.truncate(length);
        read
    }

    fn key_end(&self) -> PrunerPlace {
        self.place_of(&self.key)
    }

    /// Where the pruner is after a member's name: before a value that it keeps, or not.
    fn place_of(&self, key: &[u8]) -> PrunerPlace {
        if *key == *METRICS && self.takes_metrics && !self.in_metrics {
            return PrunerPlace::Metrics;
        }
        if self.key_lengths.checked_shr(u32::try_from(key.len()).unwrap_or(u32::MAX)).unwrap_or(0)
            & 1
            == 0
        {
            return PrunerPlace::Idle;
        }
        self.keys
            .iter()
            .position(|(name, _)| *name.as_bytes() == *key)
            .filter(|index| self.taken & 1 << index == 0)
            .map_or(PrunerPlace::Idle, PrunerPlace::Value)
    }

    fn string_start(&mut self, index: usize) -> PrunerPlace {
        let Some((_, left @ 1..)) = self.keys.get(index).copied() else {
            return PrunerPlace::Idle;
        };
        let start = self.out.len();
        if !self.begin_member(index) || !self.push(b"\"") {
            self.out.truncate(start);
            return PrunerPlace::Idle;
        }
        PrunerPlace::Copying { start, left }
    }

    fn number(&mut self, index: usize, value: u64) -> PrunerPlace {
        let Some((_, 0)) = self.keys.get(index) else {
            return PrunerPlace::Idle;
        };
        let start = self.out.len();
        let mut digits = [0; DIGITS_MAX];
        if !self.begin_member(index) || !self.push(decimal(value, &mut digits)) {
            self.out.truncate(start);
        }
        PrunerPlace::Idle
    }

    /// Writes `,"key":`. False if it does not fit.
    fn begin_member(&mut self, index: usize) -> bool {
        self.taken |= 1 << index;
        let key = self.keys.get(index).map_or("", |(key, _)| key);
        (self.out.len() <= 1 || self.push(b","))
            && self.push(b"\"")
            && self.push(key.as_bytes())
            && self.push(b"\":")
    }

    /// Copies a piece of a string, at once if it is plain.
    fn copy_run(&mut self, start: usize, left: usize, run: &[u8]) -> PrunerPlace {
        let run = run.get(..left).unwrap_or(run);
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if run.iter().all(is_plain) && self.push(run) {
            return PrunerPlace::Copying { start, left: left.saturating_sub(run.len()) };
        }
        run.iter().fold(PrunerPlace::Copying { start, left }, |place, byte| self.copy(place, *byte))
    }

    /// Copies one byte of a string, as ASCII. A member that does not fit the buffer is removed
    /// again.
    fn copy(&mut self, place: PrunerPlace, byte: u8) -> PrunerPlace {
        let PrunerPlace::Copying { start, left: left @ 1.. } = place else {
            return place;
        };
        let fits = match byte {
            b'"' | b'\\' => self.push(&[b'\\', byte]),
            b' '..=b'~' => self.push(&[byte]),
            _ => self.push(&[NO_ASCII]),
        };
        if !fits {
            self.out.truncate(start);
            return PrunerPlace::Idle;
        }
        PrunerPlace::Copying { start, left: left.saturating_sub(1) }
    }

    /// Appends, but leaves room to close a string and the object. False if the bytes do not fit.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = RECORD_SIZE.saturating_sub(CLOSING.len()).saturating_sub(self.out.len());
        bytes.len() <= room && self.out.push(bytes)
    }

    /// Closes a string or the object. There is always room for that.
    fn close(&mut self, byte: u8) {
        self.out.push(&[byte]);
    }
}

fn ascii(unit: u16) -> u8 {
    u8::try_from(unit).unwrap_or(NO_ASCII)
}

/// The member whose own members may be taken too.
const METRICS: &[u8] = b"metrics";

/// Refuses keys that the pruner has no room for.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which would refuse to build"
)]
pub(crate) const fn assert_room_for(keys: &[Key]) {
    assert!(keys.len() <= u32::BITS as usize, "one bit says that a member was taken");
    let mut index = 0;
    while index < keys.len() {
        let (key, len_max) = keys[index];
        assert!(key.len() < PRUNED_KEY_SIZE, "a key is longer than PRUNED_KEY_SIZE allows");
        assert!(2 * len_max <= STRING_MAX, "a string is longer than STRING_MAX allows");
        index += 1;
    }
}

/// Bit `n` is set if one of the keys has `n` bytes.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which would refuse to build"
)]
const fn key_lengths(keys: &[Key]) -> u32 {
    let (mut lengths, mut index) = (0, 0);
    while index < keys.len() {
        lengths |= 1 << keys[index].0.len();
        index += 1;
    }
    lengths
}

/// Replaces each byte that is not printable ASCII. No request id, status or error type has this
/// byte.
const NO_ASCII: u8 = 0x7f;

/// The longest string, with every byte escaped.
const STRING_MAX: usize = 2 * FUNCTION_NAME_MAX;

/// [`Pruner::push`] keeps room for these bytes.
const CLOSING: &[u8] = b"\"}";

#[cfg(test)]
mod tests;
