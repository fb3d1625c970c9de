//! Gathers the values of many series into the columns of a batch, following a plan. Knows no rules
//! about time.
//!
//! One gatherer fills one column, such as `bid_close`, for all symbols. Columns are independent, so
//! different threads can fill them. `dense` gathers values that change with every slice; `step`
//! gathers values that stay for several slices.

mod dense;
mod plan;
mod step;
mod tile;
mod timestamps;

use std::sync::{Arc, Mutex, PoisonError};

use self::dense::DenseGatherer;
pub use self::dense::interleave_all;
pub use self::plan::{Block, GatherTask, Plan, SeriesRows};
use self::step::StepGatherer;
pub use self::tile::TILE_SLICES;
pub use self::timestamps::TimestampGatherer;
use crate::series::ValueCursor;
use slices_core::error::Result;

/// One column of a batch, time-major: the values of all symbols at one timestamp are adjacent.
#[derive(Default)]
pub struct GatheredColumn {
    pub values: Vec<f64>,
    /// Whether all values read for it are finite; any other value is then an absent one.
    pub finite: bool,
}

/// Fills one column, batch after batch.
pub enum ColumnGatherer {
    Dense(DenseGatherer),
    Stepped(StepGatherer),
}

impl ColumnGatherer {
    /// Creates a gatherer from the series number and cursor of each symbol. `stands_still` selects
    /// the step gatherer, for values that stay for several slices.
    pub fn new(
        cursors: impl IntoIterator<Item = (usize, ValueCursor)>,
        stands_still: bool,
        buffers: BufferPool<f64>,
    ) -> Self {
        let source = |(series, cursor)| Source {
            series,
            cursor,
            latest: None,
        };
        let sources = cursors.into_iter().map(source).collect();
        if stands_still {
            Self::Stepped(StepGatherer::new(sources, buffers))
        } else {
            Self::Dense(DenseGatherer::new(sources, buffers))
        }
    }

    /// Gathers the column of each batch of a plan; returns none for [`GatherTask::Finish`].
    pub fn step(&mut self, task: GatherTask) -> Result<Vec<GatheredColumn>> {
        match (task, &mut *self) {
            (GatherTask::Gather(plan), Self::Dense(gatherer)) => gatherer.gather(&plan),
            (GatherTask::Gather(plan), Self::Stepped(gatherer)) => gatherer.gather(&plan),
            (GatherTask::Finish, _) => {
                for source in self.sources() {
                    source.cursor.finish()?;
                }
                Ok(Vec::new())
            }
        }
    }

    fn sources(&mut self) -> &mut [Source] {
        match self {
            Self::Dense(gatherer) => &mut gatherer.sources,
            Self::Stepped(gatherer) => &mut gatherer.sources,
        }
    }
}

/// The source of the values of one symbol.
pub(super) struct Source {
    /// The number of the series in a block.
    series: usize,
    cursor: ValueCursor,
    /// The last requested row and its value. Later slices may show it too, and a cursor never goes
    /// back.
    latest: Option<(u64, f64)>,
}

impl Source {
    /// The value of a row: the latest one, or one read from the cursor.
    fn value_at(&mut self, series: &SeriesRows, row: u64) -> Result<f64> {
        if let Some((latest, value)) = self.latest
            && latest == row
        {
            return Ok(value);
        }
        let mut value = [f64::NAN];
        series.read(&mut self.cursor, row, &mut value)?;
        self.latest = Some((row, value[0]));
        Ok(value[0])
    }
}

/// Whether all values are finite numbers.
fn all_finite(values: &[f64]) -> bool {
    // No early exit, so that the compiler can compare several values at a time.
    !values
        .iter()
        .fold(false, |any, value| any | !value.is_finite())
}

/// A pool of column buffers to reuse.
pub struct BufferPool<T>(Arc<Mutex<Vec<Vec<T>>>>);

impl<T> Clone for BufferPool<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for BufferPool<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> BufferPool<T> {
    pub fn give(&self, column: Vec<T>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(column);
    }

    /// Takes a buffer of `cells` values, which the caller must overwrite; new cells contain
    /// `blank`.
    pub fn take(&self, cells: usize, blank: T) -> Vec<T> {
        let buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut column = buffers.unwrap_or_default();
        column.resize(cells, blank);
        column
    }
}
