//! Computes the heat map: for each symbol and bin of time, at how many timestamps it has candles.

use std::iter::Sum;
use std::ops::Add;

use crate::coverage::bins::{Bins, TimeCounts};
use slices_core::request::{Request, Timeframe};

/// Symbol × time, in bins of equal length, within window and session of the request.
///
/// The bins reach from the first to the last timestamp of the union or of a dropped row. A bin
/// holds a power of two of bars of the timeframe, at least one. There are at most a few hundred
/// bins.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    symbols: Vec<String>,
    timeframe: Timeframe,
    bins: Option<Bins>,
    /// Timestamps of the union, per bin.
    timestamps: Vec<u64>,
    /// The cells of each bin, symbol by symbol in request order.
    cells: Vec<HeatMapCell>,
}

/// The counts of one symbol in one bin: `present + one_sided + missing` is the number of timestamps
/// of the union.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeatMapCell {
    /// Timestamps at which it has all requested price types.
    pub present: u64,
    /// Timestamps at which it has some of them, and lacks others.
    pub one_sided: u64,
    /// Timestamps at which it has none, but another symbol has one.
    pub missing: u64,
    /// Rows of its files that the session filter or the duplicate rule dropped.
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

/// The indexes of the counters of a bin in the tally of a number of symbols.
#[derive(Debug, Clone, Copy)]
pub(super) struct CellCounters {
    symbols: usize,
}

impl CellCounters {
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
    /// Builds the heat map from the counters of a tally ([`CellCounters`]) and the dropped rows of
    /// each series. The series come symbol by symbol, with the price types of each.
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
        let counters = CellCounters::new(symbols.len());
        let rows: Vec<_> = walked.rows().collect();
        let price_types = request.price_types().len();
        let mut cells = Vec::with_capacity(symbols.len() * rows.len());
        for (symbol, dropped) in dropped.chunks(price_types).enumerate() {
            let first = cells.len();
            cells.extend(rows.iter().map(|row| {
                let (one_sided, missing) = (
                    row[counters.one_sided(symbol)],
                    row[counters.missing(symbol)],
                );
                HeatMapCell {
                    present: row[CellCounters::TIMESTAMPS] - one_sided - missing,
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
            timestamps: rows
                .iter()
                .map(|row| row[CellCounters::TIMESTAMPS])
                .collect(),
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

    /// The cells of the symbol at index `symbol` of [`Self::symbols`], one per bin.
    #[must_use]
    pub fn cells(&self, symbol: usize) -> &[HeatMapCell] {
        let bins = self.timestamps.len();
        &self.cells[symbol * bins..][..bins]
    }

    /// The sum of all cells of a symbol.
    #[must_use]
    pub fn total(&self, symbol: usize) -> HeatMapCell {
        self.cells(symbol).iter().copied().sum()
    }

    /// Number of bars of the timeframe per bin.
    #[must_use]
    pub fn bars_per_bin(&self) -> u64 {
        self.bins.map_or(1, |bins| bins.bars())
    }

    /// Start of a bin, nanoseconds UTC, inclusive. The index behind the last bin gives the end of
    /// the last one. Clamped to the range of `i64`.
    #[must_use]
    pub fn start_ns(&self, bin: usize) -> i64 {
        let start = |bins: Bins| bins.start_ns(bin, &self.timeframe);
        self.bins.map_or(0, start)
    }
}
