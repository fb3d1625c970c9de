//! Changes inputs at random, for builds without coverage.

use crate::mutate::mutate;

/// Maximum size of an input, as in `scripts/fuzz`.
const INPUT_BYTES_MAX: usize = 16_384;

/// Edge values of lengths and counts.
const NUMBERS: [u64; 12] = [
    0,
    1,
    7,
    127,
    128,
    255,
    65_535,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// A random number generator with a fixed sequence per seed (SplitMix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Picks an input, changes it a few times, and sometimes splices it with another.
pub fn change(inputs: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut data = inputs[random.below(inputs.len())].1.clone();
    if random.below(8) == 0 {
        let other = &inputs[random.below(inputs.len())].1;
        let at = random.below(data.len());
        data.truncate(at);
        data.extend_from_slice(&other[random.below(other.len())..]);
    }
    for _ in 0..=random.below(4) {
        let size = data.len();
        let max_size = (size + 64).min(INPUT_BYTES_MAX).max(size);
        let seed = random.next() as u32;
        let state = std::cell::RefCell::new(&mut *random);
        data.resize(max_size, 0);
        let size = mutate(&mut data, size, max_size, seed, |data, size, max_size| {
            any(data, size, max_size, &mut state.borrow_mut())
        });
        data.truncate(size);
    }
    data
}

/// Changes the first `size` bytes in one place; returns their new number.
fn any(data: &mut [u8], size: usize, max_size: usize, random: &mut Random) -> usize {
    let at = random.below(size);
    match random.below(16) {
        // Cut at the end or in the middle.
        0 if size > 1 => at.max(1),
        1 if size > 1 => {
            let length = 1 + random.below((size - at).min(16));
            data.copy_within(at + length.min(size - at)..size, at);
            size - length.min(size - at)
        }
        // Repeat a part.
        2 if size < max_size => {
            let length = (1 + random.below(16)).min(max_size - size).min(size - at);
            data.copy_within(at..size, at + length);
            size + length
        }
        3..=6 => {
            let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
            let length = [1, 2, 4, 8][random.below(4)].min(size - at);
            data[at..at + length].copy_from_slice(&number[..length]);
            size
        }
        7..=9 if size > 0 => {
            data[at] = random.next() as u8;
            size
        }
        _ if size > 0 => {
            data[at] ^= 1 << random.below(8);
            size
        }
        _ => size,
    }
}
