//! Decodes Parquet's RLE/bit-packed hybrid encoding of dictionary indexes and levels. Does no I/O;
//! invalid bytes are an error.

use bytes::Bytes;
use parquet::errors::ParquetError;

use super::varint;

/// Values per bit-packed group.
const GROUP: usize = 8;

/// The bytes read at the start of a group: at most 32 of its own, and the rest of the word of its
/// last value.
const GROUP_WINDOW: usize = 40;

/// A reader of numbers with a fixed bit width.
#[derive(Debug)]
pub(super) struct RleBitPacked {
    bytes: Bytes,
    /// The offset of the next run.
    at: usize,
    /// The bit width of a number, 0 to 32.
    width: usize,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    /// A repeated number.
    Same { number: u32, left: usize },
    /// Bit-packed groups from byte `start` on; `next` is the index of the next number, `end` the
    /// number of them.
    Packed {
        start: usize,
        next: usize,
        end: usize,
    },
}

impl RleBitPacked {
    pub fn new(bytes: Bytes, width: u8) -> Result<Self, ParquetError> {
        if width > 32 {
            return Err(ParquetError::General(format!(
                "a dictionary index of {width} bits is too wide"
            )));
        }
        Ok(Self {
            bytes,
            at: 0,
            width: usize::from(width),
            run: Run::Same { number: 0, left: 0 },
        })
    }

    /// Whether the next `count` numbers all equal `number` and belong to one run.
    pub fn begins_with(&mut self, number: u32, count: usize) -> Result<bool, ParquetError> {
        if self.left() == 0 && count > 0 {
            self.next_run()?;
        }
        Ok(match self.run {
            Run::Same { number: same, left } => same == number && left >= count,
            Run::Packed { .. } => count == 0,
        })
    }

    /// Fills `into` with the next numbers; fails if there are fewer.
    pub fn read(&mut self, into: &mut [u32]) -> Result<(), ParquetError> {
        let mut filled = 0;
        while filled < into.len() {
            let rest = &mut into[filled..];
            filled += match &mut self.run {
                Run::Same { left: 0, .. } => {
                    self.next_run()?;
                    0
                }
                Run::Packed { next, end, .. } if next == end => {
                    self.next_run()?;
                    0
                }
                Run::Same { number, left } => {
                    let count = rest.len().min(*left);
                    rest[..count].fill(*number);
                    *left -= count;
                    count
                }
                Run::Packed { start, next, end } => {
                    let count = rest.len().min(*end - *next);
                    unpack_from(&self.bytes[*start..], self.width, *next, &mut rest[..count]);
                    *next += count;
                    count
                }
            };
        }
        Ok(())
    }

    /// The largest of all remaining numbers, including those after the last one to be read.
    pub fn largest(&self) -> Result<u32, ParquetError> {
        let mut ahead = Self {
            bytes: self.bytes.clone(),
            run: self.run,
            ..*self
        };
        let mut largest = 0;
        let mut part = [0; 512];
        loop {
            match &mut ahead.run {
                // Handle it as a whole: a damaged run may declare any length.
                Run::Same { number, left } if *left > 0 => {
                    largest = largest.max(*number);
                    *left = 0;
                }
                &mut Run::Packed { next, end, .. } if next < end => {
                    let len = (end - next).min(part.len());
                    ahead.read(&mut part[..len])?;
                    largest = part[..len].iter().copied().fold(largest, u32::max);
                }
                _ if ahead.at == ahead.bytes.len() => return Ok(largest),
                _ => ahead.next_run()?,
            }
        }
    }

    /// Numbers left in the current run.
    fn left(&self) -> usize {
        match self.run {
            Run::Same { left, .. } => left,
            Run::Packed { next, end, .. } => end - next,
        }
    }

    fn next_run(&mut self) -> Result<(), ParquetError> {
        let too_short =
            || ParquetError::EOF("a page contains too few levels or indexes".to_owned());
        let header = self.varint().ok_or_else(too_short)?;
        let count = usize::try_from(header >> 1).unwrap_or(usize::MAX);
        if count == 0 {
            // Writers never produce empty runs; zeros in place of a run are damage.
            return Err(ParquetError::General(
                "a run of levels or indexes is empty".to_owned(),
            ));
        }
        if header & 1 == 0 {
            let len = self.width.div_ceil(8);
            let bytes = self.bytes.get(self.at..self.at + len);
            let mut number = [0; 4];
            number[..len].copy_from_slice(bytes.ok_or_else(too_short)?);
            self.at += len;
            self.run = Run::Same {
                number: u32::from_le_bytes(number),
                left: count,
            };
        } else if self.width == 0 {
            self.run = Run::Same {
                number: 0,
                left: count.saturating_mul(GROUP),
            };
        } else {
            // Some writers leave out the padding of the last group.
            let there = self.bytes.len() - self.at;
            let taken = count.saturating_mul(self.width).min(there);
            self.run = Run::Packed {
                start: self.at,
                next: 0,
                end: count.saturating_mul(GROUP).min(taken * 8 / self.width),
            };
            self.at += taken;
        }
        Ok(())
    }

    fn varint(&mut self) -> Option<u64> {
        varint::unsigned(64, || {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            Some(byte)
        })
    }
}

/// Unpacks numbers from index `first` on, from groups that start with `bytes`.
fn unpack_from(bytes: &[u8], width: usize, first: usize, into: &mut [u32]) {
    let (mut group, within) = (first / GROUP, first % GROUP);
    let mut rest = into;
    if within > 0 {
        // The rest of a partly read group.
        let (head, after) = rest.split_at_mut(rest.len().min(GROUP - within));
        let mut whole = [[0; GROUP]];
        unpack(bytes, width, group, &mut whole);
        head.copy_from_slice(&whole[0][within..within + head.len()]);
        (rest, group) = (after, group + 1);
    }
    let (groups, tail) = rest.as_chunks_mut::<GROUP>();
    unpack(bytes, width, group, groups);
    if !tail.is_empty() {
        let mut whole = [[0; GROUP]];
        unpack(bytes, width, group + groups.len(), &mut whole);
        tail.copy_from_slice(&whole[0][..tail.len()]);
    }
}

/// Unpacks whole groups, from group `first` on.
fn unpack(bytes: &[u8], width: usize, first: usize, into: &mut [[u32; GROUP]]) {
    macro_rules! by_width {
        ($($constant:literal)*) => {
            match width {
                $($constant => unpack_groups::<$constant>(bytes, first, into),)*
                _ => unreachable!("a width of {width} is rejected above, and a width of 0 has no groups"),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
}

/// With a constant width, the compiler turns every shift and offset into a constant.
fn unpack_groups<const WIDTH: usize>(bytes: &[u8], first: usize, into: &mut [[u32; GROUP]]) {
    let mut start = first * WIDTH;
    for group in into {
        let rest = bytes.get(start..).unwrap_or_default();
        match rest.first_chunk::<GROUP_WINDOW>() {
            Some(window) => unpack_group::<WIDTH>(window, group),
            None => {
                let mut window = [0; GROUP_WINDOW];
                window[..rest.len()].copy_from_slice(rest);
                unpack_group::<WIDTH>(&window, group);
            }
        }
        start += WIDTH;
    }
}

#[inline(always)]
fn unpack_group<const WIDTH: usize>(window: &[u8; GROUP_WINDOW], group: &mut [u32; GROUP]) {
    let mask = u64::MAX >> (64 - WIDTH);
    for (place, number) in group.iter_mut().enumerate() {
        let bit = place * WIDTH;
        let mut word = [0; 8];
        word.copy_from_slice(&window[bit / 8..bit / 8 + 8]);
        *number = ((u64::from_le_bytes(word) >> (bit % 8)) & mask) as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An encoded run, and the numbers that it stands for.
    #[derive(Debug, Clone)]
    enum Written {
        Same(u32, usize),
        Packed(Vec<u32>),
    }

    fn varint(mut value: usize, into: &mut Vec<u8>) {
        while value >= 0x80 {
            into.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        into.push(value as u8);
    }

    /// Encodes runs bit by bit; the padding of a packed group is zeros.
    fn write(runs: &[Written], width: usize) -> (Vec<u8>, Vec<u32>) {
        let (mut bytes, mut numbers) = (Vec::new(), Vec::new());
        for run in runs {
            match run {
                Written::Same(number, count) => {
                    varint(count << 1, &mut bytes);
                    bytes.extend_from_slice(&number.to_le_bytes()[..width.div_ceil(8)]);
                    numbers.extend(std::iter::repeat_n(*number, *count));
                }
                Written::Packed(packed) => {
                    let groups = packed.len() / GROUP;
                    varint(groups << 1 | 1, &mut bytes);
                    let mut bits = vec![0_u8; groups * width];
                    for (place, number) in packed.iter().enumerate() {
                        for bit in (0..width).filter(|bit| number >> bit & 1 == 1) {
                            let at = place * width + bit;
                            bits[at / 8] |= 1 << (at % 8);
                        }
                    }
                    bytes.extend(bits);
                    numbers.extend(packed);
                }
            }
        }
        (bytes, numbers)
    }

    fn written() -> impl Strategy<Value = (usize, Vec<Written>)> {
        (0..=32_usize).prop_flat_map(|width| {
            let number = 0..=u32::MAX.checked_shr(32 - width as u32).unwrap_or(0);
            let packed = (1..9_usize).prop_flat_map({
                let number = number.clone();
                move |groups| prop::collection::vec(number.clone(), groups * GROUP)
            });
            let run = prop_oneof![
                (number, 1..40_usize).prop_map(|(number, count)| Written::Same(number, count)),
                packed.prop_map(Written::Packed),
            ];
            (Just(width), prop::collection::vec(run, 0..8))
        })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            (width, runs) in written(),
            steps in prop::collection::vec(0..30_usize, 0..60),
        ) {
            let (bytes, numbers) = write(&runs, width);
            let mut hybrid = RleBitPacked::new(bytes.into(), width as u8).expect("a width of at most 32");
            let largest = numbers.iter().copied().max().unwrap_or(0);
            prop_assert_eq!(hybrid.largest().expect("whole runs"), largest);
            let mut read = Vec::new();
            for step in steps {
                let step = step.min(numbers.len() - read.len());
                let mut part = vec![0; step];
                let is_one_run = step > 0 && hybrid.begins_with(numbers[read.len()], step)
                    .expect("that many numbers");
                hybrid.read(&mut part).expect("that many numbers");
                prop_assert!(!is_one_run || part.iter().all(|&number| number == part[0]));
                read.extend(part);
            }
            let mut rest = vec![0; numbers.len() - read.len()];
            hybrid.read(&mut rest).expect("that many numbers");
            read.extend(rest);
            prop_assert_eq!(read, numbers);
            prop_assert!(hybrid.read(&mut [0]).is_err());
        }

        /// Reading any bytes ends without a panic.
        #[test]
        fn damaged_bytes_are_numbers_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..60), width in 0..=32_u8,
        ) {
            let mut hybrid = RleBitPacked::new(bytes.into(), width).expect("a width of at most 32");
            let _ = hybrid.largest();
            let mut numbers = [0; 100];
            // A run may declare any length.
            for _ in 0..100 {
                if hybrid.read(&mut numbers).is_err() {
                    break;
                }
                let fits = |number: &u32| u64::from(*number) < 1 << (width.div_ceil(8) * 8);
                prop_assert!(numbers.iter().all(fits));
            }
        }
    }

    #[test]
    fn a_last_group_may_be_cut_short() {
        // Ten numbers of three bits in four bytes; two full groups would take six.
        let bytes = [
            0b0000_0101,
            0b1000_1000,
            0b1100_0110,
            0b1111_1010,
            0b0000_1000,
        ];
        let mut hybrid = RleBitPacked::new(bytes.to_vec().into(), 3).expect("three bits");
        let mut numbers = [0; 10];
        hybrid.read(&mut numbers).expect("ten numbers");
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]);
        assert!(hybrid.read(&mut [0]).is_err());
    }

    /// If an empty run were skipped, the values after it would move to other rows.
    #[test]
    fn empty_runs_are_refused() {
        for empty in [0, 1] {
            let bytes = vec![2 << 1, 7, empty, 0, 2 << 1, 9];
            let mut hybrid = RleBitPacked::new(bytes.into(), 4).expect("four bits");
            let mut numbers = [0; 2];
            hybrid.read(&mut numbers).expect("two numbers");
            assert_eq!(numbers, [7, 7]);
            assert!(hybrid.largest().is_err());
            assert!(hybrid.read(&mut numbers).is_err());
        }
    }

    #[test]
    fn a_width_of_more_than_32_bits_is_refused() {
        assert!(RleBitPacked::new(Bytes::new(), 33).is_err());
    }
}
