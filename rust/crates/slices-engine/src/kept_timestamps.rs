//! Keeps timestamps in little memory, so that a second pass over a column need not decode again: as
//! runs of equal steps, or as a bitmap where gaps are many.

use crate::delta_runs::DeltaRuns;

/// Number of timestamps to look at before the form may change.
const BLOCK: usize = 1_024;

/// A sequence of timestamps, read once from its start.
#[derive(Debug)]
pub enum KeptTimestamps {
    Runs(DeltaRuns),
    Bitmap(TimestampBitmap),
}

impl Default for KeptTimestamps {
    fn default() -> Self {
        Self::Runs(DeltaRuns::default())
    }
}

impl KeptTimestamps {
    /// Appends timestamps. `false` if they are too irregular; the whole sequence is then invalid.
    #[must_use]
    pub fn extend(&mut self, timestamps: &[i64]) -> bool {
        timestamps.chunks(BLOCK).all(|block| match self {
            Self::Runs(runs) => {
                if !runs.extend(block) {
                    return false;
                }
                if let Some(bitmap) = TimestampBitmap::if_smaller(runs) {
                    *self = Self::Bitmap(bitmap);
                }
                true
            }
            Self::Bitmap(bitmap) => {
                let before = bitmap.last;
                if bitmap.extend(block) {
                    return true;
                }
                // A duplicate or a stray timestamp: runs may still hold them all.
                bitmap.last = before;
                let mut runs = DeltaRuns::default();
                let held = runs.extend(&bitmap.read(usize::MAX)) && runs.extend(block);
                *self = Self::Runs(runs);
                held
            }
        })
    }

    /// Number of bytes that they take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Runs(runs) => runs.bytes(),
            Self::Bitmap(bitmap) => size_of_val(&bitmap.words[..]),
        }
    }

    /// The next `count` timestamps; fewer at the end.
    pub fn read(&mut self, count: usize) -> Vec<i64> {
        match self {
            Self::Runs(runs) => runs.read(count),
            Self::Bitmap(bitmap) => bitmap.read(count),
        }
    }
}

/// Strictly increasing timestamps on a grid, one bit per cell.
#[derive(Debug)]
pub struct TimestampBitmap {
    start_ns: i64,
    step_ns: i64,
    words: Vec<u64>,
    /// The cell of the last timestamp.
    last: u64,
    /// The first cell to read.
    next: u64,
}

impl TimestampBitmap {
    /// Number of runs from which a bitmap may pay.
    const MIN_RUNS: usize = 64;

    /// Number of cells at most; bounds the memory of a series.
    const MAX_CELLS: u64 = 1_572_864;

    /// The bitmap of some runs, if it takes less memory and holds them.
    fn if_smaller(runs: &DeltaRuns) -> Option<Self> {
        if runs.len() < Self::MIN_RUNS {
            return None;
        }
        let (start_ns, last_ns, step_ns) = runs.grid()?;
        let cells = last_ns.checked_sub(start_ns)? / step_ns + 1;
        if cells as u64 / 8 > runs.bytes() as u64 {
            return None;
        }
        let mut bitmap = Self {
            start_ns,
            step_ns,
            words: vec![1],
            last: 0,
            next: 0,
        };
        let mut timestamps = runs.timestamps().skip(1);
        timestamps
            .all(|timestamp_ns| bitmap.push(timestamp_ns))
            .then_some(bitmap)
    }

    fn extend(&mut self, timestamps: &[i64]) -> bool {
        timestamps
            .iter()
            .all(|&timestamp_ns| self.push(timestamp_ns))
    }

    /// Appends a timestamp. `false` if it is not later than the last, off the grid, or too far.
    fn push(&mut self, timestamp_ns: i64) -> bool {
        let last_ns = self.at(self.last);
        let Some(since_ns) = timestamp_ns.checked_sub(last_ns) else {
            return false;
        };
        let steps = if since_ns == self.step_ns {
            1
        } else if since_ns <= 0 || since_ns % self.step_ns != 0 {
            return false;
        } else {
            (since_ns / self.step_ns) as u64
        };
        self.last += steps;
        if self.last >= Self::MAX_CELLS {
            return false;
        }
        let word = (self.last / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (self.last % 64);
        true
    }

    fn at(&self, cell: u64) -> i64 {
        self.start_ns + self.step_ns * cell as i64
    }

    fn read(&mut self, count: usize) -> Vec<i64> {
        let mut timestamps = Vec::with_capacity(count.min(self.last as usize + 1));
        while timestamps.len() < count && self.next <= self.last {
            let word = self.next / 64;
            let mut bits = self.words[word as usize] & (u64::MAX << (self.next % 64));
            while bits != 0 && timestamps.len() < count {
                let cell = word * 64 + u64::from(bits.trailing_zeros());
                if cell > self.last {
                    return timestamps;
                }
                timestamps.push(self.at(cell));
                bits &= bits - 1;
                self.next = cell + 1;
            }
            if bits == 0 {
                self.next = (word + 1) * 64;
            }
        }
        timestamps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_was_appended(
            cells in prop::collection::btree_set(0..6_000_i64, 0..3_000),
            (start_ns, step_ns) in (any::<i32>(), 1..100_000_i64),
            stray in prop::option::of((0..3_000_usize, any::<i64>())),
            cuts in prop::collection::vec(1..900_usize, 1..20),
        ) {
            let mut all: Vec<i64> =
                cells.iter().map(|cell| i64::from(start_ns) + cell * step_ns).collect();
            if let Some((place, timestamp_ns)) = stray
                && let Some(at) = all.get_mut(place)
            {
                *at = timestamp_ns;
            }
            let mut kept = KeptTimestamps::default();
            let mut rest = &all[..];
            let mut held = true;
            for &cut in cuts.iter().cycle() {
                if rest.is_empty() || !held {
                    break;
                }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                held = kept.extend(now);
                rest = later;
            }
            prop_assert!(held || all.len() > 2_000);
            if held {
                let mut read = Vec::new();
                for &count in cuts.iter().cycle() {
                    let part = kept.read(count);
                    prop_assert_eq!(part.len(), count.min(all.len() - read.len()));
                    if part.is_empty() {
                        break;
                    }
                    read.extend(part);
                }
                prop_assert_eq!(read, all);
            }
        }
    }

    #[test]
    fn many_gaps_become_a_bitmap_and_few_stay_runs() {
        let minute_ns = 60_000_000_000;
        let minutes = |is_there: fn(&i64) -> bool| -> Vec<i64> {
            (0..100_000)
                .filter(is_there)
                .map(|at| at * minute_ns)
                .collect()
        };
        let mut gappy = KeptTimestamps::default();
        assert!(gappy.extend(&minutes(|at| at % 3 != 1)));
        assert!(matches!(&gappy, KeptTimestamps::Bitmap(bitmap) if bitmap.words.len() == 1_563));
        let mut regular = KeptTimestamps::default();
        assert!(regular.extend(&minutes(|at| at % 1_000 != 1)));
        assert!(matches!(regular, KeptTimestamps::Runs(_)));
    }
}
