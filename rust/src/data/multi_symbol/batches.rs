//! Owns the batch iterator: it brings the series together, block by block, in bounded memory.
//!
//! Where a batch ends follows from the number of symbols alone, never from chunk sizes or timing;
//! that is what makes the output the same bytes at any number of threads.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::data::candle::{CandleChunk, stream_schema};
use crate::data::gather::{BatchBuilder, SeriesBlock};
use crate::data::layout;
use crate::data::multi_symbol::SliceBatch;
use crate::data::multi_symbol::slice::BatchLayout;
use crate::data::read_ahead::ReadAhead;
use crate::data::series::SeriesRules;
use crate::data::sync::{self, Placement};
use crate::error::Result;
use crate::report::{Report, SeriesReport, Warning};
use crate::request::{Request, Timeline, format_timestamp};

/// Rows (slices × symbols) of a full batch, as near as whole slices come.
const BATCH_ROWS: usize = 65_536;

/// What the decoded chunks of all series together may take.
const CHUNK_BUDGET_BYTES: usize = 64 << 20;

/// Bounds for the rows of a chunk: below, decoding goes in steps too small to pay; above, the
/// cache no longer holds what is moved.
const CHUNK_ROWS: std::ops::RangeInclusive<usize> = 256..=16_384;

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

    fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }

    fn chunk_rows(&self, series: usize) -> usize {
        // Per series: the window, the chunk that waits and the one that is being decoded.
        const CHUNKS_PER_SERIES: usize = 3;
        const ROW_BYTES: usize = 6 * size_of::<f64>();
        let by_budget = CHUNK_BUDGET_BYTES / (series.max(1) * CHUNKS_PER_SERIES * ROW_BYTES);
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
    input: ReadAhead,
    windows: Vec<Window>,
    /// A series is topped up as soon as it has fewer rows than this.
    low_water_rows: usize,
    block: Block,
    builder: BatchBuilder,
    ended: bool,
    progress: Progress,
    batches: u64,
    first_timestamp_ns: Option<i64>,
    last_timestamp_ns: Option<i64>,
    warnings: Vec<Warning>,
}

/// What is loaded of one series and not yet used up.
#[derive(Default)]
struct Window {
    /// Timestamps of all loaded rows, in one piece.
    timestamps: Vec<i64>,
    chunks: VecDeque<CandleChunk>,
    /// Rows used up: a prefix of `timestamps`, shorter than the first chunk.
    used: usize,
    exhausted: bool,
}

/// The part of the timeline that is final and not yet handed out.
#[derive(Default)]
struct Block {
    timeline: Vec<i64>,
    placements: Vec<Placement>,
    /// Rows of each series that lie in the block.
    rows: Vec<usize>,
    /// Slices of the block that have been gathered.
    gathered: usize,
}

impl SliceBatches {
    /// Opens every series of the request.
    ///
    /// All files are found, opened and looked through before this returns, so whatever is missing
    /// or malformed in general shows here; what is damaged further in shows while iterating.
    ///
    /// # Errors
    ///
    /// See [`crate::Code`] for the reasons. Of several series that cannot be opened the first one
    /// in request order is reported.
    pub fn open(request: &Request, options: &ReadOptions) -> Result<Self> {
        let resolved = layout::resolve(request)?;
        let series = resolved.series.len();
        let chunk_rows = options.chunk_rows(series);
        let rules = Arc::new(SeriesRules::new(request, chunk_rows));
        let input = ReadAhead::start(resolved.series, &rules, options.threads())?;
        let mut planned = 0;
        let mut warnings = Vec::new();
        for number in 0..series {
            let open = input.open(number)?;
            planned += open.planned_rows;
            warnings.extend(open.warnings);
        }
        let schema = stream_schema(request, &resolved.symbols);
        let batch_slices = (BATCH_ROWS / resolved.symbols.len()).max(1);
        let price_types = request.price_types().len();
        let builder =
            BatchBuilder::new(schema.clone(), &resolved.symbols, price_types, batch_slices);
        let symbols: Arc<[String]> = resolved.symbols.into();
        Ok(Self {
            timeline_rule: request.timeline(),
            layout: Arc::new(BatchLayout::new(request, symbols.clone())),
            symbols,
            schema,
            input,
            windows: (0..series).map(|_| Window::default()).collect(),
            low_water_rows: chunk_rows.div_ceil(2),
            block: Block::default(),
            builder,
            ended: false,
            progress: Progress {
                candles: 0,
                planned,
                slices: 0,
            },
            batches: 0,
            first_timestamp_ns: None,
            last_timestamp_ns: None,
            warnings,
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
        self.progress
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
            slices: self.progress.slices,
            batches: self.batches,
            first_timestamp_ns: self.first_timestamp_ns,
            last_timestamp_ns: self.last_timestamp_ns,
            series: self.input.reports(),
        }
    }

    /// A batch without slices, of the same schema and dictionary as all others.
    pub(crate) fn seal(&mut self) -> RecordBatch {
        debug_assert!(self.ended && self.builder.is_empty());
        self.builder.finish()
    }

    /// Takes back the memory of a batch that has been written.
    pub(crate) fn recycle(&mut self, batch: RecordBatch) {
        self.builder.recycle(batch);
    }

    fn next_batch(&mut self) -> Result<Option<SliceBatch>> {
        while self.builder.room() > 0 {
            if self.block.gathered == self.block.timeline.len() && !self.next_block()? {
                break;
            }
            self.gather_block();
        }
        if self.builder.is_empty() {
            return Ok(None);
        }
        let batch = SliceBatch::new(self.builder.finish(), self.layout.clone());
        self.batches += 1;
        self.progress.slices += batch.len() as u64;
        self.first_timestamp_ns = self.first_timestamp_ns.or(batch.first_timestamp_ns());
        self.last_timestamp_ns = batch.last_timestamp_ns();
        Ok(Some(batch))
    }

    /// Makes the next stretch of the timeline final. `false` when there is none.
    ///
    /// All series are read to their end even where no further slice can come of them: whether a
    /// file is sound must not depend on how the others are cut.
    fn next_block(&mut self) -> Result<bool> {
        for (window, rows) in self.windows.iter_mut().zip(self.block.rows.drain(..)) {
            window.use_up(rows);
        }
        for (number, window) in self.windows.iter_mut().enumerate() {
            while !window.exhausted && window.left().len() < self.low_water_rows {
                match self.input.take(number)? {
                    Some(chunk) => window.load(chunk),
                    None => window.exhausted = true,
                }
            }
        }
        if self.windows.iter().all(|window| window.left().is_empty()) {
            return Ok(false);
        }
        let loaded = self
            .windows
            .iter()
            .map(|window| (window.left(), window.exhausted));
        let horizon =
            sync::safe_horizon(loaded).expect("a series with more to come was just topped up");
        let final_rows: Vec<&[i64]> = self
            .windows
            .iter()
            .map(|window| {
                let left = window.left();
                &left[..left.partition_point(|&timestamp_ns| timestamp_ns <= horizon)]
            })
            .collect();
        sync::timeline(self.timeline_rule, &final_rows, &mut self.block.timeline);
        self.block.gathered = 0;
        self.block
            .rows
            .extend(final_rows.iter().map(|rows| rows.len()));
        self.block.placements.clear();
        let timeline = &self.block.timeline;
        self.block
            .placements
            .extend(final_rows.iter().map(|rows| sync::place(timeline, rows)));
        self.progress.candles += self.block.rows.iter().map(|&rows| rows as u64).sum::<u64>();
        Ok(true)
    }

    /// Moves as much of the block into the batch as fits.
    fn gather_block(&mut self) {
        let start = self.block.gathered;
        let end = self.block.timeline.len().min(start + self.builder.room());
        let series: Vec<_> = self
            .windows
            .iter()
            .zip(&self.block.placements)
            .map(|(window, placement)| SeriesBlock {
                placement,
                chunks: &window.chunks,
                first_row: window.used,
            })
            .collect();
        self.builder
            .append(&self.block.timeline, start..end, &series);
        self.block.gathered = end;
    }

    fn end(&mut self) {
        self.ended = true;
        if self.progress.slices == 0 {
            self.warnings
                .push(empty_timeline(self.timeline_rule, &self.input.reports()));
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

impl Window {
    fn left(&self) -> &[i64] {
        &self.timestamps[self.used..]
    }

    fn load(&mut self, chunk: CandleChunk) {
        self.timestamps.extend_from_slice(&chunk.timestamps);
        self.chunks.push_back(chunk);
    }

    fn use_up(&mut self, rows: usize) {
        self.used += rows;
        let mut dropped = 0;
        while let Some(chunk) = self.chunks.front()
            && dropped + chunk.len() <= self.used
        {
            dropped += chunk.len();
            self.chunks.pop_front();
        }
        self.timestamps.drain(..dropped);
        self.used -= dropped;
    }
}

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
