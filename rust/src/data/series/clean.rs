//! Owns the rules that look at one row at a time (window, session, flooring), and decoded rows on
//! their way through them, which never forget where they came from.

use std::sync::Arc;

use crate::data::candle::{CandleChunk, VALUES_PER_CANDLE};
use crate::data::series::SeriesRules;
use crate::data::session::SessionFilter;
use crate::data::source::{RawRows, RowNumbers, SourceFile};
use crate::error::{Code, Error, Result};
use crate::report::SeriesReport;
use crate::request::format_timestamp;

/// Rows after window, session and flooring, and where they came from.
pub(super) struct Cleaned {
    pub chunk: CandleChunk,
    pub source: usize,
    rows: RowNumbers,
    /// Positions in the decoded rows, where they are not simply all of them.
    positions: Option<Vec<u32>>,
    /// How many leading rows have been sliced away since.
    offset: usize,
}

impl Cleaned {
    /// The last timestamp of this chunk and the first one of the chunk after it.
    pub fn border(&self, after: &Self) -> Option<(i64, i64)> {
        let last = self.chunk.timestamps.last()?;
        let first = after.chunk.timestamps.first()?;
        Some((*last, *first))
    }

    pub fn row(&self, position: usize) -> u64 {
        let position = position + self.offset;
        self.rows.row(match &self.positions {
            Some(positions) => positions[position] as usize,
            None => position,
        })
    }

    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            chunk: self.chunk.slice(offset, len),
            source: self.source,
            rows: self.rows.clone(),
            positions: self.positions.clone(),
            offset: self.offset + offset,
        }
    }

    pub fn take(&self, kept: &[u32]) -> Self {
        let positions = kept.iter().map(|&at| {
            let at = at as usize + self.offset;
            self.positions
                .as_ref()
                .map_or(at as u32, |positions| positions[at])
        });
        Self {
            chunk: self.chunk.take(kept),
            source: self.source,
            rows: self.rows.clone(),
            positions: Some(positions.collect()),
            offset: 0,
        }
    }
}

/// Window, session and flooring: the rules that look at one row at a time.
pub(super) struct Cleaner {
    rules: Arc<SeriesRules>,
    session: SessionFilter,
}

impl Cleaner {
    pub fn new(rules: &Arc<SeriesRules>) -> Self {
        Self {
            session: SessionFilter::new(rules.session, &rules.timeframe),
            rules: rules.clone(),
        }
    }

    pub fn clean(
        &mut self,
        raw: RawRows,
        source: usize,
        file: &SourceFile,
        report: &mut SeriesReport,
    ) -> Result<Cleaned> {
        let rows = raw.rows;
        let chunk = CandleChunk {
            timestamps: raw
                .timestamps
                .expect("decoded, or kept from the first pass"),
            values: raw.values.expect("a pass over candles decodes values"),
        };
        let inside = chunk
            .timestamps
            .iter()
            .filter(|&&at| self.rules.in_window(at))
            .count();
        report.inside_window += inside as u64;
        let mut cleaned = Cleaned {
            chunk,
            source,
            rows,
            positions: None,
            offset: 0,
        };
        if inside < cleaned.chunk.len() || !self.session.keeps_all() {
            let kept = self.kept(&cleaned.chunk);
            report.outside_session += (inside - kept.len()) as u64;
            if kept.len() < cleaned.chunk.len() {
                cleaned = cleaned.take(&kept);
            }
        }
        if self.rules.normalize {
            cleaned.chunk.timestamps = self.floored(&cleaned, file)?.into();
        }
        Ok(cleaned)
    }

    fn kept(&mut self, chunk: &CandleChunk) -> Vec<u32> {
        let mut kept = Vec::with_capacity(chunk.len());
        for (position, &timestamp_ns) in chunk.timestamps.iter().enumerate() {
            if !self.rules.in_window(timestamp_ns) {
                continue;
            }
            let values: [f64; VALUES_PER_CANDLE] =
                std::array::from_fn(|field| chunk.values[field][position]);
            if self.session.keeps(timestamp_ns, values) {
                kept.push(position as u32);
            }
        }
        kept
    }

    fn floored(&self, cleaned: &Cleaned, file: &SourceFile) -> Result<Vec<i64>> {
        let timestamps = &cleaned.chunk.timestamps;
        let mut floored = Vec::with_capacity(timestamps.len());
        for (position, &timestamp_ns) in timestamps.iter().enumerate() {
            floored.push(self.rules.timeframe.floor(timestamp_ns).ok_or_else(|| {
                Error::input(
                    Code::CorruptInput,
                    format!(
                        "the timestamp {} floored to {} does not fit 64-bit nanoseconds",
                        format_timestamp(timestamp_ns),
                        self.rules.timeframe
                    ),
                )
                .at_file(file.path())
                .at_row(cleaned.row(position))
                .at_column(&self.rules.columns.timestamp)
                .with_hint("narrow the window with --start")
            })?);
        }
        Ok(floored)
    }
}
