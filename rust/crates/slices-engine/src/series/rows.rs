//! Maps candles to the rows that they come from, as runs of consecutive rows.

use std::ops::Range;

/// The row of each of `len` candles. Rows count from 0 over all decoded rows of the series, through
/// all its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The first candle of each run and its row, ascending by candle.
    runs: Vec<(usize, u64)>,
    len: usize,
}

impl Rows {
    pub fn consecutive(first_row: u64, len: usize) -> Self {
        let mut rows = Self::default();
        rows.push_run(first_row, len);
        rows
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The row of a candle.
    pub fn row(&self, candle: usize) -> u64 {
        debug_assert!(candle < self.len);
        let run = self.runs.partition_point(|&(start, _)| start <= candle);
        let (start, row) = self.runs[run - 1];
        row + (candle - start) as u64
    }

    pub fn push(&mut self, row: u64) {
        self.push_run(row, 1);
    }

    pub fn append(&mut self, other: &Self) {
        for (candles, row) in other.runs_in(0..other.len) {
            self.push_run(row, candles.len());
        }
    }

    /// The rows of some candles.
    pub fn slice(&self, candles: Range<usize>) -> Self {
        let mut part = Self::default();
        for (candles, row) in self.runs_in(candles) {
            part.push_run(row, candles.len());
        }
        part
    }

    /// The rows of the candles at `candles`, in that order.
    pub fn take(&self, candles: &[u32]) -> Self {
        let mut taken = Self::default();
        for &candle in candles {
            taken.push(self.row(candle as usize));
        }
        taken
    }

    /// The runs of `candles`: a range of candles, and the row of the first one.
    pub fn runs_in(&self, candles: Range<usize>) -> impl Iterator<Item = (Range<usize>, u64)> + '_ {
        let first = self
            .runs
            .partition_point(|&(start, _)| start <= candles.start)
            .saturating_sub(1);
        let ends = self.runs.iter().skip(first + 1).map(|&(start, _)| start);
        self.runs[first..]
            .iter()
            .zip(ends.chain([self.len]))
            .map(move |(&(start, row), end)| {
                let from = start.max(candles.start);
                (from..end.min(candles.end), row + (from - start) as u64)
            })
            .take_while(|(candles, _)| !candles.is_empty())
    }

    fn push_run(&mut self, row: u64, len: usize) {
        if len == 0 {
            return;
        }
        let goes_on = self
            .runs
            .last()
            .is_some_and(|&(start, first)| first + (self.len - start) as u64 == row);
        if !goes_on {
            self.runs.push((self.len, row));
        }
        self.len += len;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_candle_keeps_its_row(
            parts in prop::collection::vec((0..50_u64, 0..6_usize), 0..12),
            (from, to) in (0..80_usize, 0..80_usize),
        ) {
            let mut rows = Rows::default();
            let mut expected = Vec::new();
            for (first, len) in parts {
                rows.append(&Rows::consecutive(first, len));
                expected.extend((0..len as u64).map(|at| first + at));
            }
            let all = |rows: &Rows| (0..rows.len()).map(|at| rows.row(at)).collect::<Vec<_>>();
            prop_assert_eq!(&all(&rows), &expected);
            let (from, to) = (from.min(expected.len()), to.min(expected.len()));
            let part = from..to.max(from);
            prop_assert_eq!(all(&rows.slice(part.clone())), &expected[part.clone()]);
            let backwards: Vec<u32> = part.clone().rev().map(|at| at as u32).collect();
            let mut turned = expected[part].to_vec();
            turned.reverse();
            prop_assert_eq!(all(&rows.take(&backwards)), turned);
        }
    }

    #[test]
    fn consecutive_rows_are_one_run() {
        let mut rows = Rows::consecutive(7, 3);
        rows.push(10);
        assert_eq!(rows, Rows::consecutive(7, 4));
    }
}
