//! Gathers columns whose values stay for several slices. Keeps one line of values per symbol,
//! applies changes to it, and copies it into every slice.

use std::ops::Range;

use super::plan::{Block, Plan, SeriesRows};
use super::{BufferPool, GatheredColumn, Source};
use slices_core::alignment::RowRun;
use slices_core::error::Result;

/// Maximum number of rows to read per wanted row in one read; otherwise rows are read one by one.
const ROWS_PER_WANTED: u64 = 4;

/// A symbol shows a new value from this slice on.
pub(super) struct Change<T> {
    pub slice: usize,
    pub symbol: usize,
    pub value: T,
}

/// Writes slices of one value per symbol. `changes` come in any order; the value of a symbol is
/// `absent` before its first change.
pub(super) fn write_steps<T: Copy>(
    cells: &mut [T],
    symbols: usize,
    changes: &mut Vec<Change<T>>,
    absent: T,
) {
    changes.sort_unstable_by_key(|change| change.slice);
    let mut changes = changes.drain(..).peekable();
    let mut line = vec![absent; symbols];
    for (slice, cells) in cells.chunks_mut(symbols).enumerate() {
        while let Some(change) = changes.next_if(|change| change.slice <= slice) {
            line[change.symbol] = change.value;
        }
        cells.copy_from_slice(&line);
    }
}

/// The runs of a series in some slices of a block. Each has its first slice, counted from the first
/// one. `None` is a gap.
pub(super) fn shown(
    block: &Block,
    series: &SeriesRows,
    part: &Range<usize>,
) -> Vec<(usize, Option<RowRun>)> {
    let reach = block.reach(part);
    let touched = series.touched_by(&reach);
    let mut shown = Vec::with_capacity(touched.len() + 1);
    let mut next = part.start;
    for run in touched {
        let slices = block.slices_at(part, &run.positions());
        if slices.is_empty() {
            continue;
        }
        if next < slices.start {
            shown.push((next - part.start, None));
        }
        shown.push((slices.start - part.start, Some(*run)));
        next = slices.end;
    }
    if next < part.end {
        shown.push((next - part.start, None));
    }
    shown
}

/// Fills one column, batch after batch.
pub struct StepGatherer {
    /// One source per symbol.
    pub(super) sources: Vec<Source>,
    buffers: BufferPool<f64>,
    changes: Vec<Change<f64>>,
}

impl StepGatherer {
    pub(super) fn new(sources: Vec<Source>, buffers: BufferPool<f64>) -> Self {
        Self {
            sources,
            buffers,
            changes: Vec::new(),
        }
    }

    /// Gathers the column of each batch of a plan.
    pub(super) fn gather(&mut self, plan: &Plan) -> Result<Vec<GatheredColumn>> {
        plan.batches()
            .map(|slices| self.column(plan, slices))
            .collect()
    }

    fn column(&mut self, plan: &Plan, slices: Range<usize>) -> Result<GatheredColumn> {
        let symbols = self.sources.len();
        let mut values = self.buffers.take(slices.len() * symbols, f64::NAN);
        let mut finite = true;
        for (block, part, cells) in plan.parts_with(slices, symbols, &mut values) {
            for (symbol, source) in self.sources.iter_mut().enumerate() {
                finite &= source.changes(block, &part, symbol, &mut self.changes)?;
            }
            write_steps(cells, symbols, &mut self.changes, f64::NAN);
        }
        Ok(GatheredColumn { values, finite })
    }
}

impl Source {
    /// Appends the changes of a symbol in some slices of a block. Returns whether every value is
    /// finite.
    fn changes(
        &mut self,
        block: &Block,
        part: &Range<usize>,
        symbol: usize,
        changes: &mut Vec<Change<f64>>,
    ) -> Result<bool> {
        let series = &block.series[self.series];
        let shown = shown(block, series, part);
        let is_new = |row: &u64| self.latest.is_none_or(|(latest, _)| latest != *row);
        let rows = || {
            shown
                .iter()
                .filter_map(|(_, run)| Some(run.as_ref()?.row()))
        };
        let mut new = rows().filter(is_new);
        let first = new.next();
        let mut read = Vec::new();
        if let (Some(first), Some(last)) = (first, rows().next_back())
            && series.shuffled.is_empty()
            && last - first < ROWS_PER_WANTED * shown.len() as u64
        {
            read.resize((last - first + 1) as usize, f64::NAN);
            series.read(&mut self.cursor, first, &mut read)?;
        }
        let mut finite = true;
        for (slice, run) in shown {
            let value = match run {
                None => f64::NAN,
                Some(run) => {
                    debug_assert!(run.is_repeated());
                    let at_once = first
                        .and_then(|first| run.row().checked_sub(first))
                        .and_then(|place| read.get(place as usize));
                    let value = match at_once {
                        Some(&value) => value,
                        None => self.value_at(series, run.row())?,
                    };
                    self.latest = Some((run.row(), value));
                    finite &= value.is_finite();
                    value
                }
            };
            changes.push(Change {
                slice,
                symbol,
                value,
            });
        }
        Ok(finite)
    }
}
