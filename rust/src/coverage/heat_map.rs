//! Owns the heat map's figures: for each symbol and bin of time, how many timestamps it covers how.

use std::iter::Sum;
use std::ops::Add;

use crate::coverage::bins::{Bins, TimeCounts};
use slices_core::request::{Request, Timeframe};

/// Symbol × time, in bins of time of the same length, all within window and session of the request.
///
/// The bins reach from the first to the last timestamp of the union or of a dropped row. A bin holds one
/// bar of the timeframe, or so many, a power of two, that there are no more than a few hundred bins.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    symbols: Vec<String>,
    timeframe: Timeframe,
    bins: Option<Bins>,
    /// Timestamps of the union, per bin.
    timestamps: Vec<u64>,
    /// Of one symbol after the other, in request order, the cell of each bin.
    cells: Vec<HeatMapCell>,
}

/// What one symbol has in one bin: `present + one_sided + missing` are the timestamps of the union there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeatMapCell {
    /// Timestamps at which it has all requested price types.
    pub present: u64,
    /// Timestamps at which it has some of them, and others not.
    pub one_sided: u64,
    /// Timestamps at which it has none, and another symbol has one.
    pub missing: u64,
    /// Rows of its files that the session filter or the rule of duplicates dropped.
    pub dropped: u64,
}

impl Add for HeatMapCell {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            present: self.present + other.present,
            one_sided: self.one_sided + other.one_sided,
            missing: self.missing + other.missing,
            dropped: self.dropped + other.dropped,
        }
    }
}

impl Sum for HeatMapCell {
    fn sum<I: Iterator<Item = Self>>(cells: I) -> Self {
        cells.fold(Self::default(), Add::add)
    }
}

/// The counters of a bin in which a tally counts over so many symbols.
#[derive(Debug, Clone, Copy)]
pub(super) struct CellLanes {
    symbols: usize,
}

impl CellLanes {
    /// Timestamps of the union.
    pub const TIMESTAMPS: usize = 0;

    pub fn new(symbols: usize) -> Self {
        Self { symbols }
    }

    pub fn count(self) -> usize {
        1 + 2 * self.symbols
    }

    pub fn one_sided(self, symbol: usize) -> usize {
        1 + symbol
    }

    pub fn missing(self, symbol: usize) -> usize {
        1 + self.symbols + symbol
    }
}

impl HeatMap {
    /// From what a tally counted in [`CellLanes`], and the rows that were dropped of each series: for each
    /// symbol in turn of its price types.
    pub(super) fn new(
        request: &Request,
        symbols: &[String],
        mut walked: TimeCounts,
        mut dropped: Vec<TimeCounts>,
    ) -> Self {
        let most = walked.most();
        let all = dropped.iter().chain([&walked]).filter_map(TimeCounts::bins);
        let bins = all.reduce(|one, other| one.covering(other, most));
        if let Some(bins) = bins {
            let all = dropped.iter_mut().chain([&mut walked]);
            all.for_each(|counts| counts.extend_to(bins));
        }
        let lanes = CellLanes::new(symbols.len());
        let rows: Vec<_> = walked.rows().collect();
        let price_types = request.price_types().len();
        let mut cells = Vec::with_capacity(symbols.len() * rows.len());
        for (symbol, dropped) in dropped.chunks(price_types).enumerate() {
            let first = cells.len();
            cells.extend(rows.iter().map(|row| {
                let (one_sided, missing) =
                    (row[lanes.one_sided(symbol)], row[lanes.missing(symbol)]);
                HeatMapCell {
                    present: row[CellLanes::TIMESTAMPS] - one_sided - missing,
                    one_sided,
                    missing,
                    dropped: 0,
                }
            }));
            for series in dropped {
                for (cell, row) in cells[first..].iter_mut().zip(series.rows()) {
                    cell.dropped += row[0];
                }
            }
        }
        Self {
            symbols: symbols.to_vec(),
            timeframe: request.timeframe().clone(),
            bins,
            timestamps: rows.iter().map(|row| row[CellLanes::TIMESTAMPS]).collect(),
            cells,
        }
    }

    /// The symbols, in request order.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// Timestamps of the union, per bin.
    #[must_use]
    pub fn timestamps(&self) -> &[u64] {
        &self.timestamps
    }

    /// The cells of the symbol at `symbol` of [`Self::symbols`], one per bin.
    #[must_use]
    pub fn cells(&self, symbol: usize) -> &[HeatMapCell] {
        let bins = self.timestamps.len();
        &self.cells[symbol * bins..][..bins]
    }

    /// All cells of a symbol together.
    #[must_use]
    pub fn total(&self, symbol: usize) -> HeatMapCell {
        self.cells(symbol).iter().copied().sum()
    }

    /// How many bars of the timeframe a bin holds.
    #[must_use]
    pub fn bars_per_bin(&self) -> u64 {
        self.bins.map_or(1, |bins| bins.bars())
    }

    /// When a bin begins, nanoseconds UTC: inclusive. That of the bin behind the last one is where the last
    /// one ends. The nearest timestamp that an `i64` can hold where it holds no such one.
    #[must_use]
    pub fn start_ns(&self, bin: usize) -> i64 {
        let start = |bins: Bins| bins.start_ns(bin, &self.timeframe);
        self.bins.map_or(0, start)
    }
}
