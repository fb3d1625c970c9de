//! Decompresses the start of a Snappy block. The library decodes only whole blocks, but the first
//! rows of a file need only a small part of a large dictionary.

use super::varint;

/// Decompresses the first `wanted` bytes of a block; fewer if the input or the block ends earlier.
/// `None` for invalid input.
pub(super) fn beginning(compressed: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let mut input = Input(compressed);
    let whole = usize::try_from(input.varint()?).ok()?;
    let wanted = wanted.min(whole);
    let mut output = Vec::with_capacity(wanted);
    while output.len() < wanted {
        let Some(element) = input.element() else {
            break;
        };
        let left = wanted - output.len();
        match element {
            Element::Literal(len) => {
                let bytes = input.take_at_most(len.min(left));
                output.extend_from_slice(bytes);
                if bytes.len() < len.min(left) {
                    break;
                }
            }
            Element::Copy { offset, len } => {
                let len = len.min(left);
                let start = output.len().checked_sub(offset).filter(|_| offset > 0)?;
                if offset >= len {
                    output.extend_from_within(start..start + len);
                } else {
                    // The copy may overlap the bytes that it writes.
                    for at in start..start + len {
                        output.push(output[at]);
                    }
                }
            }
        }
    }
    Some(output)
}

/// An element of a block: literal bytes, or a copy of earlier bytes.
enum Element {
    Literal(usize),
    Copy { offset: usize, len: usize },
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn varint(&mut self) -> Option<u64> {
        varint::unsigned(35, || self.little_endian(1).map(|byte| byte as u8))
    }

    /// The next element; `None` if the input ends before it.
    fn element(&mut self) -> Option<Element> {
        let tag = self.little_endian(1)?;
        let long = tag >> 2;
        Some(match tag & 3 {
            0 => Element::Literal(match long {
                60.. => self.little_endian(long - 59)? + 1,
                short => short + 1,
            }),
            1 => Element::Copy {
                offset: (tag >> 5) << 8 | self.little_endian(1)?,
                len: 4 + (long & 7),
            },
            two_or_four => Element::Copy {
                offset: self.little_endian(if two_or_four == 2 { 2 } else { 4 })?,
                len: 1 + long,
            },
        })
    }

    fn little_endian(&mut self, bytes: usize) -> Option<usize> {
        let (taken, left) = self.0.split_at_checked(bytes)?;
        self.0 = left;
        let number = taken.iter().rev();
        Some(number.fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn take_at_most(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = left;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that Snappy encodes as literals and as near and far copies.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            (any::<u8>(), 0..400_usize).prop_map(|(byte, len)| vec![byte; len]),
            (any::<u32>(), 0..600_u64).prop_map(|(start, len)| {
                let minutes = (0..len).map(|minute| u64::from(start) + minute * 60_000_000_000);
                minutes.flat_map(u64::to_le_bytes).collect()
            }),
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn the_beginning_is_what_the_library_says(bytes in bytes(), wanted in 0..20_000_usize, cut: u16) {
            let compressed = snap::raw::Encoder::new().compress_vec(&bytes).expect("few bytes");
            let expected = &bytes[..wanted.min(bytes.len())];
            let found = beginning(&compressed, wanted);
            prop_assert_eq!(found.as_deref(), Some(expected));
            // Cut the input anywhere.
            let cut = 3 + usize::from(cut) % compressed.len().max(1);
            if let Some(read) = compressed.get(..cut) {
                let found = beginning(read, wanted).expect("whole elements, then none");
                prop_assert!(expected.starts_with(&found));
            }
        }

        /// Reading any bytes ends without a panic.
        #[test]
        fn damaged_blocks_are_bytes_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(found) = beginning(&bytes, 5_000) {
                prop_assert!(found.len() <= 5_000);
            }
        }
    }
}
