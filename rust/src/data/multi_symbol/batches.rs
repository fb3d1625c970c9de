//! Owns the batch iterator: plans go out to the columns, gathered columns come back as batches.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::data::assemble::Assembler;
use crate::data::candle::{VALUES_PER_CANDLE, stream_schema};
use crate::data::gather::{ColumnGatherer, GatheredColumn, Plan, SpareColumns, Step, TILE_SLICES};
use crate::data::layout;
use crate::data::multi_symbol::SliceBatch;
use crate::data::multi_symbol::slice::BatchLayout;
use crate::data::plan::Planner;
use crate::data::read_ahead::SeriesAhead;
use crate::data::series::{SeriesRules, ValueCursor};
use crate::data::workers::{Priority, Sequence, Workers};
use crate::error::Result;
use crate::report::{Report, SeriesReport, Warning};
use crate::request::{Request, Timeline, format_timestamp};

/// Rows (slices × symbols) of a full batch, as near as whole slices come.
const BATCH_ROWS: usize = 65_536;

/// Plans that are being carried out while the batches of one are used: none waits for planning.
const PLANS_AHEAD: usize = 2;

/// Batches in a plan at most: they are in memory together.
const MAX_PLAN_BATCHES: usize = 16;

/// What the candle times of all series together may take.
const CHUNK_BUDGET_BYTES: usize = 16 << 20;

/// What the timestamps of segments that are held whole may take, for all series together.
const SEGMENT_BUDGET_BYTES: usize = 128 << 20;

/// What values that are decoded ahead may take, for all columns of all series together.
const AHEAD_BUDGET_BYTES: usize = 128 << 20;

/// Bounds for the rows that are decoded ahead: for fewer it does not pay, and by then nearly all of a
/// dictionary has been used.
const AHEAD_ROWS: std::ops::RangeInclusive<usize> = 4_096..=20_000;

/// Bounds for the rows of a chunk: below, reading goes in steps too small to pay; above, the
/// cache no longer holds what is compared.
const CHUNK_ROWS: std::ops::RangeInclusive<usize> = 1_024..=16_384;

/// How to read, as far as it does not show in the output.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    threads: Option<NonZeroUsize>,
    chunk_rows: Option<NonZeroUsize>,
}

impl ReadOptions {
    /// As many decoding threads as there are cores, chunks by the memory budget.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many threads decode.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// How many rows of a series are decoded at a time, whatever the memory budget says.
    #[must_use]
    pub fn with_chunk_rows(mut self, chunk_rows: NonZeroUsize) -> Self {
        self.chunk_rows = Some(chunk_rows);
        self
    }

    /// The rules of a request of so many series.
    pub(crate) fn series_rules(&self, request: &Request, series: usize) -> SeriesRules {
        let segment_rows = SEGMENT_BUDGET_BYTES / (series.max(1) * size_of::<i64>());
        SeriesRules::new(request, self.chunk_rows(series), segment_rows)
    }

    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }

    /// How many rows of a column are decoded ahead where that pays; 0 where there are too many columns.
    fn ahead_rows(series: usize) -> usize {
        let columns = (series * VALUES_PER_CANDLE).max(1);
        let by_budget = AHEAD_BUDGET_BYTES / (columns * size_of::<f64>());
        if by_budget < *AHEAD_ROWS.start() {
            0
        } else {
            by_budget.min(*AHEAD_ROWS.end())
        }
    }

    fn chunk_rows(&self, series: usize) -> usize {
        // Per series: timestamps of the window, of the chunk that waits and of the one that is
        // being read; what is placed in the blocks of the plans, as little as that is in long
        // stretches.
        const ROW_BYTES: usize = 3 * size_of::<i64>() + PLANS_AHEAD * size_of::<u32>();
        let by_budget = CHUNK_BUDGET_BYTES / (series.max(1) * ROW_BYTES);
        self.chunk_rows.map_or_else(
            || by_budget.clamp(*CHUNK_ROWS.start(), *CHUNK_ROWS.end()),
            NonZeroUsize::get,
        )
    }
}

/// How far a run has come, in rows of all series together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Candles that have been brought together.
    pub candles: u64,
    /// Candles there are at most.
    pub planned: u64,
    /// Slices that have been handed out.
    pub slices: u64,
}

/// The slices of a request, batch by batch, in time order.
///
/// An iterator of `Result<SliceBatch>`: batches are never empty, each holds whole slices, and
/// timestamps strictly increase from slice to slice over all batches. After an error, or after the
/// last batch, it yields `None` for good. Memory is bounded by the number of series, not by rows,
/// unless a series is out of order and has to be sorted.
///
/// It is `Send`. Two of them share nothing that changes.
///
/// ```no_run
/// use omega_slices::{ReadOptions, Request, SliceBatches};
///
/// let request = Request::builder("data/parquet").symbols(["EURUSD", "GBPUSD"]).build()?;
/// for batch in SliceBatches::open(&request, &ReadOptions::new())? {
///     for slice in batch?.slices() {
///         println!("{} {:?}", slice.timestamp_ns(), slice.column("bid_close"));
///     }
/// }
/// # Ok::<(), omega_slices::Error>(())
/// ```
pub struct SliceBatches {
    timeline_rule: Timeline,
    symbols: Arc<[String]>,
    schema: SchemaRef,
    layout: Arc<BatchLayout>,
    planner: Planner,
    /// Rows of all series that are decoded.
    planned_rows: u64,
    columns: Vec<Column>,
    assembler: Assembler,
    /// Plans that the columns are being filled by, oldest first.
    planned: VecDeque<Arc<Plan>>,
    /// Batches that are ready.
    ready: VecDeque<RecordBatch>,
    /// Why no further batch can be planned: the end, or an error that is still to be handed out.
    planned_end: Option<Result<()>>,
    ended: bool,
    slices: u64,
    batches: u64,
    first_timestamp_ns: Option<i64>,
    last_timestamp_ns: Option<i64>,
    warnings: Vec<Warning>,
    /// Last, so that the states of the sequences above are not in use any more.
    _workers: Workers,
}

/// One value column, filled on whichever thread is free.
type Column = Sequence<ColumnGatherer, Step, Vec<GatheredColumn>>;

impl SliceBatches {
    /// Opens every series of the request.
    ///
    /// All files are found and opened, and the first candles of each series looked through, before
    /// this returns, so whatever is missing or malformed in general shows here; what is damaged
    /// further in shows while iterating.
    ///
    /// # Errors
    ///
    /// See [`crate::Code`] for the reasons. Of several series that cannot be opened the first one
    /// in request order is reported.
    pub fn open(request: &Request, options: &ReadOptions) -> Result<Self> {
        let resolved = layout::resolve(request)?;
        let rules = Arc::new(options.series_rules(request, resolved.series.len()));
        let workers = Workers::start(options.threads())?;
        let mut series: Vec<_> = resolved
            .series
            .into_iter()
            .map(|files| SeriesAhead::start(&workers, files, rules.clone()))
            .collect();
        // The last one first: when it is open, nearly all are, and need no waiting. Of several
        // errors the one of the first series counts.
        let mut opened: Vec<_> = series.iter_mut().rev().map(SeriesAhead::open).collect();
        opened.reverse();
        let sources = opened.into_iter().collect::<Result<Vec<_>>>()?;
        let schema = stream_schema(request, &resolved.symbols);
        let batch_slices = (BATCH_ROWS / resolved.symbols.len()).max(1);
        let batches = (TILE_SLICES / batch_slices).clamp(1, MAX_PLAN_BATCHES);
        let price_types = request.price_types().len();
        let spare = SpareColumns::default();
        let ahead_rows = ReadOptions::ahead_rows(sources.len());
        let columns = (0..price_types).flat_map(|price_type| {
            let (sources, spare) = (&sources, &spare);
            (0..VALUES_PER_CANDLE).map(move |field| {
                let of_price_type = sources.iter().skip(price_type).step_by(price_types);
                let cursors =
                    of_price_type.map(|source| ValueCursor::new(source.clone(), field, ahead_rows));
                ColumnGatherer::new(cursors.collect(), price_type, price_types, spare.clone())
            })
        });
        let columns = columns
            .map(|column| workers.sequence(column, ColumnGatherer::step))
            .collect();
        let symbols: Arc<[String]> = resolved.symbols.into();
        Ok(Self {
            layout: Arc::new(BatchLayout::new(request, symbols.clone())),
            planner: Planner::new(
                request.timeline(),
                series,
                batch_slices,
                batches,
                rules.chunk_rows(),
            ),
            columns,
            assembler: Assembler::new(schema.clone(), &symbols, price_types, batch_slices, spare),
            symbols,
            schema,
            timeline_rule: request.timeline(),
            planned_rows: sources.iter().map(|source| source.rows()).sum(),
            planned: VecDeque::new(),
            ready: VecDeque::new(),
            planned_end: None,
            ended: false,
            slices: 0,
            batches: 0,
            first_timestamp_ns: None,
            last_timestamp_ns: None,
            warnings: Vec::new(),
            _workers: workers,
        })
    }

    /// The symbols, in the order of the rows of a slice.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// The Arrow schema of every batch, with the stream's metadata.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            candles: self.planner.candles(),
            planned: self.planned_rows,
            slices: self.slices,
        }
    }

    /// What a person should know; complete after the last batch.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What was read and emitted so far; complete after the last batch.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            slices: self.slices,
            batches: self.batches,
            first_timestamp_ns: self.first_timestamp_ns,
            last_timestamp_ns: self.last_timestamp_ns,
            series: self.planner.reports(),
        }
    }

    /// A batch without slices, of the same schema and dictionary as all others.
    pub(crate) fn seal(&self) -> RecordBatch {
        debug_assert!(self.ended);
        self.assembler.seal()
    }

    /// Takes back the memory of a batch that has been written.
    pub(crate) fn recycle(&self, batch: RecordBatch) {
        self.assembler.recycle(batch);
    }

    fn next_batch(&mut self) -> Result<Option<SliceBatch>> {
        if self.ready.is_empty() && !self.make_ready()? {
            return Ok(None);
        }
        let batch = self
            .ready
            .pop_front()
            .map(|batch| SliceBatch::new(batch, self.layout.clone()));
        if let Some(batch) = &batch {
            self.batches += 1;
            self.slices += batch.len() as u64;
            self.first_timestamp_ns = self.first_timestamp_ns.or(batch.first_timestamp_ns());
            self.last_timestamp_ns = batch.last_timestamp_ns();
        }
        Ok(batch)
    }

    /// Waits for the batches of the oldest plan. `false` after the last one.
    fn make_ready(&mut self) -> Result<bool> {
        self.plan_ahead();
        let Some(plan) = self.planned.pop_front() else {
            return self.finish().map(|()| false);
        };
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push(column.take()?.into_iter());
        }
        // The columns go on meanwhile.
        self.plan_ahead();
        for slices in plan.batches() {
            let of_batch = columns.iter_mut().filter_map(Iterator::next).collect();
            self.ready
                .push_back(self.assembler.assemble(&plan, slices, of_batch));
        }
        Ok(true)
    }

    /// Keeps the columns in work.
    fn plan_ahead(&mut self) {
        while self.planned.len() < PLANS_AHEAD && self.planned_end.is_none() {
            let step = match self.planner.next_plan() {
                Ok(Some(plan)) => {
                    let plan = Arc::new(plan);
                    self.planned.push_back(plan.clone());
                    Step::Gather(plan)
                }
                Ok(None) => {
                    self.planned_end = Some(Ok(()));
                    Step::Finish
                }
                // The batches before it come first.
                Err(error) => {
                    self.planned_end = Some(Err(error));
                    break;
                }
            };
            for column in &self.columns {
                column.submit(Priority::InTurn, step.clone());
            }
        }
        self.planner.read_on();
        self.warnings.extend(self.planner.take_warnings());
    }

    /// What comes after the last batch: the error that ended it, or the check of what is left.
    fn finish(&mut self) -> Result<()> {
        match self.planned_end.take() {
            Some(Err(error)) => Err(error),
            _ => self
                .columns
                .iter()
                .try_for_each(|column| column.take().map(drop)),
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if self.slices == 0 {
            self.warnings
                .push(empty_timeline(self.timeline_rule, &self.planner.reports()));
        }
    }
}

impl Iterator for SliceBatches {
    type Item = Result<SliceBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let batch = self.next_batch().transpose();
        match &batch {
            None => self.end(),
            Some(Err(_)) => self.ended = true,
            Some(Ok(_)) => {}
        }
        batch
    }
}

impl std::iter::FusedIterator for SliceBatches {}

/// Says which series share no timestamp, as exactly as their counts and ends allow.
fn empty_timeline(rule: Timeline, series: &[SeriesReport]) -> Warning {
    let name = |one: &SeriesReport| format!("{} {}", one.symbol, one.price_type);
    let without: Vec<_> = series.iter().filter(|one| one.candles == 0).collect();
    let earliest_end = series.iter().min_by_key(|one| one.last_timestamp_ns);
    let latest_start = series.iter().max_by_key(|one| one.first_timestamp_ns);
    let why = if !without.is_empty() {
        format!(
            "no candle is left of {}",
            listed(without.iter().map(|one| name(one)))
        )
    } else if let (Some(ended), Some(began)) = (earliest_end, latest_start)
        && let (Some(end_ns), Some(start_ns)) = (ended.last_timestamp_ns, began.first_timestamp_ns)
        && end_ns < start_ns
    {
        format!(
            "{} ends at {}, before {} begins at {}",
            name(ended),
            format_timestamp(end_ns),
            name(began),
            format_timestamp(start_ns)
        )
    } else {
        format!(
            "these series share no timestamp: {}",
            listed(series.iter().map(name))
        )
    };
    Warning {
        name: "EMPTY_TIMELINE",
        message: format!("the {rule} of the requested series holds no timestamp: {why}"),
        file: None,
        symbol: None,
        price_type: None,
    }
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 20;
    let more = names.len().saturating_sub(SHOWN);
    let mut text = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
