//! Owns the columns of all groups at work: steps go out to each, columns come back batch by batch.

use std::sync::Arc;

use crate::data::assemble::GroupColumns;
use crate::data::candle::{ColumnGroup, StreamSchema};
use crate::data::gather::{
    BufferPool, ColumnGatherer, GatherTask, GatheredColumn, TimestampGatherer,
};
use crate::data::multi_symbol::ReadOptions;
use crate::data::series::{SeriesSource, ValueCursor};
use crate::data::thread_pool::{Priority, SerialTask, ThreadPool};
use crate::error::Result;

/// The columns of all groups, each filled on whichever thread is free.
pub(super) struct Columns(Vec<GroupTasks>);

struct GroupTasks {
    values: Vec<SerialTask<ColumnGatherer, GatherTask, Vec<GatheredColumn>>>,
    timestamps: Option<SerialTask<TimestampGatherer, GatherTask, Vec<Vec<i64>>>>,
}

impl Columns {
    /// Over all series of a request, by their numbers.
    pub fn new(
        layout: &StreamSchema,
        symbols: usize,
        sources: &[Arc<SeriesSource>],
        thread_pool: &ThreadPool,
        buffers: &(BufferPool<f64>, BufferPool<i64>),
    ) -> Self {
        let groups = layout.groups.iter();
        let ahead_rows = ReadOptions::ahead_rows(
            groups
                .clone()
                .map(|group| group.values.len() * symbols)
                .sum(),
        );
        let columns_of = |group: &ColumnGroup| {
            let stands_still = group.higher.is_some();
            let series = || (0..symbols).map(|symbol| group.series(symbol));
            let values = (0..group.values.len()).map(|field| {
                let cursors = series().map(|number| {
                    let source = sources[number].clone();
                    (number, ValueCursor::new(source, field, ahead_rows))
                });
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

    /// Has a step taken by every column.
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

    /// Waits for the oldest step, of so many batches: for each of them, the columns of all groups.
    ///
    /// # Errors
    ///
    /// What the first column failed with that did.
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
