//! Owns the rules that look at one row at a time: window, session, flooring.

use std::sync::Arc;

use crate::data::candle::VALUES_PER_CANDLE;
use crate::data::series::{CandleTimes, Rows, SeriesRules, SeriesSource};
use crate::data::session::SessionFilter;
use crate::data::source::RawRows;
use crate::error::{Code, Error, Result};
use crate::report::SeriesReport;
use crate::request::format_timestamp;

/// What a session filter is given where it does not look at values.
const NO_VALUES: [f64; VALUES_PER_CANDLE] = [f64::NAN; VALUES_PER_CANDLE];

/// Window, session and flooring: the rules that look at one row at a time.
pub(super) struct Cleaner {
    rules: Arc<SeriesRules>,
    session: SessionFilter,
}

impl Cleaner {
    pub fn new(rules: &Arc<SeriesRules>) -> Self {
        Self {
            session: rules.session.clone(),
            rules: rules.clone(),
        }
    }

    /// Whether the rules look at a candle's values too, not at its timestamp alone.
    pub fn needs_values(&self) -> bool {
        self.session.needs_values()
    }

    /// Cleans consecutive rows, the first of which is row `first_row` of the series.
    pub fn clean(
        &mut self,
        raw: &RawRows,
        first_row: u64,
        source: &SeriesSource,
        report: &mut SeriesReport,
    ) -> Result<CandleTimes> {
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
        report.inside_window += inside as u64;
        let mut cleaned = CandleTimes {
            timestamps: timestamps.clone(),
            rows: Rows::consecutive(first_row, timestamps.len()),
            shuffled: None,
        };
        if wanted < timestamps.len() || !self.session.keeps_all() {
            let kept = self.kept(raw);
            let in_window = |&&at: &&u32| self.rules.in_window(timestamps[at as usize]);
            report.outside_session += (inside - kept.iter().filter(in_window).count()) as u64;
            if kept.len() < timestamps.len() {
                cleaned = cleaned.take(&kept);
            }
        }
        if self.rules.normalize {
            cleaned.timestamps = self.floored(&cleaned, source)?.into();
        }
        Ok(cleaned)
    }

    fn kept(&mut self, raw: &RawRows) -> Vec<u32> {
        let mut kept = Vec::with_capacity(raw.timestamps.len());
        for (position, &timestamp_ns) in raw.timestamps.iter().enumerate() {
            if !self.rules.keeps(timestamp_ns) {
                continue;
            }
            let values = match &raw.values {
                Some(values) => std::array::from_fn(|field| values[field][position]),
                None => NO_VALUES,
            };
            if self.session.keeps(timestamp_ns, values) {
                kept.push(position as u32);
            }
        }
        kept
    }

    fn floored(&self, cleaned: &CandleTimes, source: &SeriesSource) -> Result<Vec<i64>> {
        let mut floored = Vec::with_capacity(cleaned.len());
        for (position, &timestamp_ns) in cleaned.timestamps.iter().enumerate() {
            floored.push(self.rules.timeframe.floor(timestamp_ns).ok_or_else(|| {
                let error = Error::input(
                    Code::CorruptInput,
                    format!(
                        "the timestamp {} floored to {} does not fit 64-bit nanoseconds",
                        format_timestamp(timestamp_ns),
                        self.rules.timeframe
                    ),
                );
                source
                    .at_row(error, cleaned.rows.row(position))
                    .at_column(&self.rules.timestamp)
                    .with_hint(
                        "narrow the window with --start, or a further timeframe with its max-age",
                    )
            })?);
        }
        Ok(floored)
    }
}
