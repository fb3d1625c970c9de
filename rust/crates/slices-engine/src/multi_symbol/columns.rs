//! Runs the gatherers of all columns: sends steps to each, and collects the columns of each batch.

use crate::assemble::GroupColumns;
use crate::gather::{BufferPool, ColumnGatherer, GatherTask, GatheredColumn, TimestampGatherer};
use crate::multi_symbol::column_sources::ColumnSources;
use crate::thread_pool::{Priority, SerialTask, ThreadPool};
use slices_core::candle::{ColumnGroup, StreamSchema};
use slices_core::error::Result;

/// The gatherers of all columns, which any free thread runs.
pub(super) struct Columns(Vec<GroupTasks>);

struct GroupTasks {
    values: Vec<SerialTask<ColumnGatherer, GatherTask, Vec<GatheredColumn>>>,
    timestamps: Option<SerialTask<TimestampGatherer, GatherTask, Vec<Vec<i64>>>>,
}

impl Columns {
    /// Creates the gatherers of all series of a request.
    pub fn new(
        layout: &StreamSchema,
        symbols: usize,
        sources: &mut ColumnSources,
        thread_pool: &ThreadPool,
        buffers: &(BufferPool<f64>, BufferPool<i64>),
    ) -> Self {
        let groups = layout.groups.iter();
        let columns_of = |group: &ColumnGroup| {
            let stands_still = group.higher.is_some();
            let series = || (0..symbols).map(|symbol| group.series(symbol));
            let values = (0..group.values.len()).map(|_| {
                let cursors = sources.next_columns(symbols);
                let gatherer = ColumnGatherer::new(cursors, stands_still, buffers.0.clone());
                thread_pool.serial_task(gatherer, ColumnGatherer::step)
            });
            let timestamps = group.timestamp.as_ref().map(|_| {
                let gatherer =
                    TimestampGatherer::new(series().collect(), stands_still, buffers.1.clone());
                thread_pool.serial_task(gatherer, TimestampGatherer::step)
            });
            GroupTasks {
                values: values.collect(),
                timestamps,
            }
        };
        Self(groups.map(columns_of).collect())
    }

    /// Sends a step to every column.
    pub fn submit(&self, task: &GatherTask) {
        for group in &self.0 {
            for column in &group.values {
                column.submit(Priority::InTurn, task.clone());
            }
            if let Some(column) = &group.timestamps {
                column.submit(Priority::InTurn, task.clone());
            }
        }
    }

    /// Waits for the oldest step of `batches` batches. Returns the columns of all groups for each
    /// batch.
    ///
    /// # Errors
    ///
    /// The error of the first column that failed.
    pub fn take(&self, batches: usize) -> Result<Vec<Vec<GroupColumns>>> {
        let empty = || self.0.iter().map(|_| GroupColumns::default()).collect();
        let mut taken: Vec<Vec<_>> = std::iter::repeat_with(empty).take(batches).collect();
        for (number, group) in self.0.iter().enumerate() {
            for column in &group.values {
                for (batch, column) in taken.iter_mut().zip(column.take()?) {
                    batch[number].values.push(column);
                }
            }
            if let Some(column) = &group.timestamps {
                for (batch, column) in taken.iter_mut().zip(column.take()?) {
                    batch[number].timestamps = Some(column);
                }
            }
        }
        Ok(taken)
    }
}
