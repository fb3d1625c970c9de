//! Owns the columns of all panels at work: steps go out to each, columns come back batch by batch.

use std::sync::Arc;

use crate::data::assemble::PanelColumns;
use crate::data::candle::{Panel, StreamLayout};
use crate::data::gather::{
    BufferPool, ColumnGatherer, GatherTask, GatheredColumn, TimestampGatherer,
};
use crate::data::multi_symbol::ReadOptions;
use crate::data::series::{SeriesSource, ValueCursor};
use crate::data::thread_pool::{Priority, SerialTask, ThreadPool};
use crate::error::Result;

/// The columns of all panels, each filled on whichever thread is free.
pub(super) struct Columns(Vec<ColumnsOfPanel>);

struct ColumnsOfPanel {
    values: Vec<SerialTask<ColumnGatherer, GatherTask, Vec<GatheredColumn>>>,
    timestamps: Option<SerialTask<TimestampGatherer, GatherTask, Vec<Vec<i64>>>>,
}

impl Columns {
    /// Over all series of a request, by their numbers.
    pub fn new(
        layout: &StreamLayout,
        symbols: usize,
        sources: &[Arc<SeriesSource>],
        thread_pool: &ThreadPool,
        buffers: &(BufferPool<f64>, BufferPool<i64>),
    ) -> Self {
        let panels = layout.panels.iter();
        let ahead_rows = ReadOptions::ahead_rows(
            panels
                .clone()
                .map(|panel| panel.values.len() * symbols)
                .sum(),
        );
        let columns_of = |panel: &Panel| {
            let stands_still = panel.further.is_some();
            let series = || (0..symbols).map(|symbol| panel.series(symbol));
            let values = (0..panel.values.len()).map(|field| {
                let cursors = series().map(|number| {
                    let source = sources[number].clone();
                    (number, ValueCursor::new(source, field, ahead_rows))
                });
                let gatherer = ColumnGatherer::new(cursors, stands_still, buffers.0.clone());
                thread_pool.serial_task(gatherer, ColumnGatherer::step)
            });
            let timestamps = panel.timestamp.as_ref().map(|_| {
                let gatherer =
                    TimestampGatherer::new(series().collect(), stands_still, buffers.1.clone());
                thread_pool.serial_task(gatherer, TimestampGatherer::step)
            });
            ColumnsOfPanel {
                values: values.collect(),
                timestamps,
            }
        };
        Self(panels.map(columns_of).collect())
    }

    /// Has a step taken by every column.
    pub fn submit(&self, task: &GatherTask) {
        for panel in &self.0 {
            for column in &panel.values {
                column.submit(Priority::InTurn, task.clone());
            }
            if let Some(column) = &panel.timestamps {
                column.submit(Priority::InTurn, task.clone());
            }
        }
    }

    /// Waits for the oldest step, of so many batches: for each of them, the columns of all panels.
    ///
    /// # Errors
    ///
    /// What the first column failed with that did.
    pub fn take(&self, batches: usize) -> Result<Vec<Vec<PanelColumns>>> {
        let empty = || self.0.iter().map(|_| PanelColumns::default()).collect();
        let mut taken: Vec<Vec<_>> = std::iter::repeat_with(empty).take(batches).collect();
        for (number, panel) in self.0.iter().enumerate() {
            for column in &panel.values {
                for (batch, column) in taken.iter_mut().zip(column.take()?) {
                    batch[number].values.push(column);
                }
            }
            if let Some(column) = &panel.timestamps {
                for (batch, column) in taken.iter_mut().zip(column.take()?) {
                    batch[number].timestamps = Some(column);
                }
            }
        }
        Ok(taken)
    }
}
