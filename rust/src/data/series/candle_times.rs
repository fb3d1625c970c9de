//! Owns candles without their values: when they are, and which rows of their series they came from.

use std::ops::Range;

use arrow::buffer::ScalarBuffer;

use crate::data::series::Rows;

/// Consecutive candles of a series.
pub(crate) struct CandleTimes {
    pub timestamps: ScalarBuffer<i64>,
    pub rows: Rows,
    /// Where the rows do not ascend: the rows that all of them lie among, and no row of any other
    /// candle does.
    pub shuffled: Option<Range<u64>>,
}

impl CandleTimes {
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// The last timestamp of these candles and the first one of those after them.
    pub fn border(&self, after: &Self) -> Option<(i64, i64)> {
        let last = self.timestamps.last()?;
        let first = after.timestamps.first()?;
        Some((*last, *first))
    }

    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            timestamps: self.timestamps.slice(offset, len),
            rows: self.rows.slice(offset..offset + len),
            shuffled: self.shuffled.clone(),
        }
    }

    pub fn take(&self, kept: &[u32]) -> Self {
        Self {
            timestamps: kept
                .iter()
                .map(|&at| self.timestamps[at as usize])
                .collect(),
            rows: self.rows.take(kept),
            shuffled: self.shuffled.clone(),
        }
    }

    /// All parts, one after the other, as they came from the files.
    pub fn concat(parts: &[Self]) -> Self {
        let mut timestamps = Vec::with_capacity(parts.iter().map(Self::len).sum());
        let mut rows = Rows::default();
        for part in parts {
            timestamps.extend_from_slice(&part.timestamps);
            rows.append(&part.rows);
        }
        Self {
            timestamps: timestamps.into(),
            rows,
            shuffled: None,
        }
    }
}
