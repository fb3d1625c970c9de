//! Filters rows one at a time: window, session, empty rows and flooring.

use std::sync::Arc;

use crate::series::stats::SeriesStats;
use crate::series::{CandleTimes, OpenSeries, Rows, SeriesRules};
use slices_core::candle::VALUES_PER_CANDLE;
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::format_timestamp;
use slices_core::session::SessionFilter;
use slices_parquet::{CandlePlaces, RawRows};

/// The values for a session filter that ignores them.
const NO_VALUES: [f64; VALUES_PER_CANDLE] = [f64::NAN; VALUES_PER_CANDLE];

/// The timestamps at the indexes outside of `kept`, which ascends.
pub(super) fn left_out(timestamps: &[i64], kept: &[u32]) -> impl Iterator<Item = i64> {
    let mut kept = kept.iter().peekable();
    let places = timestamps.iter().enumerate();
    places
        .filter(move |(place, _)| kept.next_if(|kept| **kept as usize == *place).is_none())
        .map(|(_, &timestamp_ns)| timestamp_ns)
}

/// Filters rows by window, session and prices, and floors their timestamps.
pub(super) struct RowFilter {
    rules: Arc<SeriesRules>,
    session: SessionFilter,
}

impl RowFilter {
    pub fn new(rules: &Arc<SeriesRules>) -> Self {
        Self {
            session: rules.session.clone(),
            rules: rules.clone(),
        }
    }

    /// The places of the values of a candle, if the rules need them and not only its timestamp.
    pub fn candle_places(&self) -> Option<CandlePlaces> {
        self.rules.candle_places
    }

    /// Filters consecutive rows from row `first_row` of the series on.
    pub fn filter_rows(
        &mut self,
        raw: &RawRows,
        first_row: u64,
        series: &OpenSeries,
        stats: &mut SeriesStats,
    ) -> Result<CandleTimes> {
        if let Some(begins) = &raw.begins
            && begins
                .iter()
                .any(|&begin_ns| begin_ns < self.rules.first_begin_ns)
        {
            return self.filter_late(raw, begins, first_row, series, stats);
        }
        let timestamps = &raw.timestamps;
        let all = timestamps.iter();
        let inside = if self.rules.has_window() {
            all.clone().filter(|&&at| self.rules.in_window(at)).count()
        } else {
            timestamps.len()
        };
        let wanted = if self.rules.has_lead_in() {
            all.filter(|&&at| self.rules.keeps(at)).count()
        } else {
            inside
        };
        stats.report.inside_window += inside as u64;
        let mut filtered = CandleTimes {
            timestamps: timestamps.clone(),
            begins: raw.begins.clone(),
            rows: Rows::consecutive(first_row, timestamps.len()),
            shuffled: None,
        };
        if wanted < timestamps.len() || !self.session.keeps_all() || self.rules.drops_empty {
            let (kept, empty) = self.kept(raw);
            let in_window = |&&at: &&u32| self.rules.in_window(timestamps[at as usize]);
            let dropped = inside - kept.iter().filter(in_window).count();
            stats.report.outside_session += (dropped - empty) as u64;
            stats.add_empty(empty);
            if dropped > 0 {
                let dropped = left_out(timestamps, &kept);
                stats.add_dropped(dropped.filter(|&at| self.rules.in_window(at)));
            }
            if kept.len() < timestamps.len() {
                filtered = filtered.take(&kept);
            }
        }
        if self.rules.normalize {
            if self.rules.time.guesses_days() {
                stats.add_days(&filtered.timestamps);
            }
            filtered.timestamps = self.floored(&filtered, series)?.into();
        }
        Ok(filtered)
    }

    /// The same for rows of which some are too old to show; those count as outside the window.
    fn filter_late(
        &mut self,
        raw: &RawRows,
        begins: &[i64],
        first_row: u64,
        series: &OpenSeries,
        stats: &mut SeriesStats,
    ) -> Result<CandleTimes> {
        let is_young = |place: &usize| begins[*place] >= self.rules.first_begin_ns;
        let young: Vec<_> = (0..begins.len()).filter(is_young).collect();
        let mut parts = Vec::new();
        for run in young.chunk_by(|a, b| a + 1 == *b) {
            let part = raw.slice(run[0], run.len());
            parts.push(self.filter_rows(&part, first_row + run[0] as u64, series, stats)?);
        }
        Ok(CandleTimes::concat(&parts))
    }

    /// The places of the rows that stay, and the number of empty ones in the window.
    fn kept(&mut self, raw: &RawRows) -> (Vec<u32>, usize) {
        let mut empty = 0;
        let mut kept = Vec::with_capacity(raw.timestamps.len());
        for (position, &timestamp_ns) in raw.timestamps.iter().enumerate() {
            if !self.rules.keeps(timestamp_ns) {
                continue;
            }
            let values = match &raw.values {
                Some(values) => std::array::from_fn(|field| values[field][position]),
                None => NO_VALUES,
            };
            if !self.session.keeps(timestamp_ns, values) {
                continue;
            }
            let [prices @ .., _] = values;
            if self.rules.drops_empty && prices.iter().all(|price| price.is_nan()) {
                empty += usize::from(self.rules.in_window(timestamp_ns));
                continue;
            }
            kept.push(position as u32);
        }
        (kept, empty)
    }

    fn floored(&self, filtered: &CandleTimes, series: &OpenSeries) -> Result<Vec<i64>> {
        let mut floored = Vec::with_capacity(filtered.len());
        for (position, &timestamp_ns) in filtered.timestamps.iter().enumerate() {
            floored.push(self.rules.timeframe.floor(timestamp_ns).ok_or_else(|| {
                let error = Error::input(
                    Code::CorruptInput,
                    format!(
                        "the timestamp {} floored to {} does not fit 64-bit nanoseconds",
                        format_timestamp(timestamp_ns),
                        self.rules.timeframe
                    ),
                );
                series
                    .at_row(error, filtered.rows.row(position))
                    .at_column(self.rules.timestamp.first())
                    .with_hint(hint![
                        "narrow the window with ",
                        Setting::Start,
                        ", or limit a higher timeframe with max-age",
                    ])
            })?);
        }
        Ok(floored)
    }
}
