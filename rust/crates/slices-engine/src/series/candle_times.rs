//! Stores candles without their values: their timestamps, and the rows that they come from.

use std::ops::Range;

use arrow::buffer::ScalarBuffer;

use crate::series::Rows;

/// Consecutive candles of a series.
pub struct CandleTimes {
    pub timestamps: ScalarBuffer<i64>,
    /// The end of each candle minus its timeframe, if that is not its timestamp.
    pub begins: Option<ScalarBuffer<i64>>,
    pub rows: Rows,
    /// Set if the rows are out of order: the range that contains them, and no row of another
    /// candle.
    pub shuffled: Option<Range<u64>>,
}

impl CandleTimes {
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// The last timestamp of these candles, and the first one of the candles `after`.
    pub fn border(&self, after: &Self) -> Option<(i64, i64)> {
        let last = self.timestamps.last()?;
        let first = after.timestamps.first()?;
        Some((*last, *first))
    }

    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            timestamps: self.timestamps.slice(offset, len),
            begins: self.begins.as_ref().map(|begins| begins.slice(offset, len)),
            rows: self.rows.slice(offset..offset + len),
            shuffled: self.shuffled.clone(),
        }
    }

    pub fn take(&self, kept: &[u32]) -> Self {
        Self {
            timestamps: taken(&self.timestamps, kept),
            begins: self.begins.as_ref().map(|begins| taken(begins, kept)),
            rows: self.rows.take(kept),
            shuffled: self.shuffled.clone(),
        }
    }

    /// Joins parts, in the order of the files.
    pub fn concat(parts: &[Self]) -> Self {
        let mut timestamps = Vec::with_capacity(parts.iter().map(Self::len).sum());
        let mut begins = parts
            .iter()
            .all(|part| part.begins.is_some())
            .then(|| Vec::with_capacity(timestamps.capacity()));
        let mut rows = Rows::default();
        for part in parts {
            timestamps.extend_from_slice(&part.timestamps);
            if let (Some(begins), Some(of_part)) = (&mut begins, &part.begins) {
                begins.extend_from_slice(of_part);
            }
            rows.append(&part.rows);
        }
        Self {
            timestamps: timestamps.into(),
            begins: begins.map(Into::into),
            rows,
            shuffled: None,
        }
    }
}

fn taken(instants: &[i64], kept: &[u32]) -> ScalarBuffer<i64> {
    kept.iter().map(|&at| instants[at as usize]).collect()
}
