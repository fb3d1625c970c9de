//! Iterates over batches: sends plans to the columns, and assembles the gathered columns.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::assemble::Assembler;
use crate::gather::{BufferPool, GatherTask, Plan, TILE_SLICES};
use crate::memory::Reservation;
use crate::multi_symbol::column_sources::ColumnSources;
use crate::multi_symbol::columns::Columns;
use crate::multi_symbol::options::Shares;
use crate::multi_symbol::slice::BatchContext;
use crate::multi_symbol::warnings::{empty_series, empty_timeline};
use crate::multi_symbol::{Inputs, ReadOptions, SliceBatch};
use crate::planner::{Join, Planner, SliceRule};
use crate::prefetch::Prefetcher;
use crate::series::{ObservedSeries, OpenSeries, SeriesObserver};
use crate::series_files::Role;
use crate::thread_pool::ThreadPool;
use slices_core::alignment::TimelineRule;
use slices_core::candle::StreamSchema;
use slices_core::error::Result;
use slices_core::report::{Report, Warning};
use slices_core::request::{Request, Timeline};
use slices_core::units::NANOSECONDS_PER_SECOND;
use slices_store::{Storage, Traffic};

/// Target number of rows (slices × symbols) of a full batch.
const BATCH_ROWS: usize = 65_536;

/// Plans in work while the batches of one are used, so that columns never wait for planning.
pub(super) const PLANS_AHEAD: usize = 2;

/// Maximum number of batches in a plan: they are in memory together.
const MAX_PLAN_BATCHES: usize = 16;

/// What the process takes before it opens a series.
const PROCESS_BYTES: u64 = 32 << 20;

/// What a decoding thread takes for what it decompresses and moves.
const THREAD_BYTES: u64 = 8 << 20;

/// The progress of a run, in rows of all series together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Candles processed.
    pub candles: u64,
    /// Maximum number of candles.
    pub planned: u64,
    /// Slices returned.
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
/// # mod omega_slices { pub use slices_core::{Error, request::*}; pub use slices_engine::multi_symbol::*; }
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
    timeline: Timeline,
    /// Number of series that shape the timeline; these come first.
    shaping: usize,
    /// Whether a warning is an error.
    strict: bool,
    symbols: Arc<[String]>,
    schema: SchemaRef,
    layout: Arc<BatchContext>,
    planner: Planner,
    all_series: Vec<Arc<OpenSeries>>,
    columns: Columns,
    assembler: Assembler,
    /// Plans in work, oldest first.
    planned: VecDeque<Arc<Plan>>,
    /// Batches that are ready.
    ready: VecDeque<RecordBatch>,
    /// Why planning has ended: the end of the data, or an error still to be returned.
    planned_end: Option<Result<()>>,
    ended: bool,
    at_end: bool,
    slices: u64,
    batches: u64,
    first_timestamp_ns: Option<i64>,
    last_timestamp_ns: Option<i64>,
    warnings: Vec<Warning>,
    /// The memory of the columns, and their temporary file.
    sources: ColumnSources,
    storage: Storage,
    /// The memory of everything else.
    _held: Vec<Reservation>,
    /// Last, so that it outlives the tasks above.
    _thread_pool: ThreadPool,
}

impl SliceBatches {
    /// Opens every series of the request.
    ///
    /// Finds and opens all files, and checks the first candles of each series. So missing files and
    /// malformed footers show here, and damage further in shows while iterating.
    ///
    /// # Errors
    ///
    /// See [`slices_core::Code`] for the reasons. If several series fail, reports the first one in
    /// request order.
    pub fn open(request: &Request, options: &ReadOptions) -> Result<Self> {
        Self::open_inputs(request, Inputs::find(request, options)?, options)
    }

    /// The same, for a request whose inputs are already found.
    pub fn open_inputs(request: &Request, inputs: Inputs, options: &ReadOptions) -> Result<Self> {
        Self::open_observed(request, inputs, options, |_| Box::new(()))
    }

    /// The same, with an observer for each series, made in request order.
    pub fn open_observed(
        request: &Request,
        inputs: Inputs,
        options: &ReadOptions,
        mut observer: impl FnMut(ObservedSeries<'_>) -> Box<dyn SeriesObserver>,
    ) -> Result<Self> {
        let Inputs {
            hours,
            resolved,
            storage,
        } = inputs;
        let number = resolved.series.len();
        let memory = options.memory_budget();
        // No series has work for more than two threads at a time.
        let busy_threads = options.threads().get().min(2 * number.max(1)) as u64;
        let process = PROCESS_BYTES + THREAD_BYTES * busy_threads;
        let mut held = vec![memory.reserve(process, "the program itself")?];
        let rules = options.series_rules(request, hours.as_ref(), number, &memory, &storage);
        let thread_pool = ThreadPool::start(options.threads())?;
        let roles: Vec<_> = resolved.series.iter().map(|files| files.role).collect();
        let mut series: Vec<_> = resolved
            .series
            .into_iter()
            .map(|files| {
                let rules = rules.of(&files).clone();
                let observer = observer(rules.observed());
                Prefetcher::start(&thread_pool, files, rules, observer)
            })
            .collect();
        // Start with the last one: when it is open, most others are too. Of several errors, report
        // that of the first series.
        let mut opened: Vec<_> = series.iter_mut().rev().map(Prefetcher::open).collect();
        opened.reverse();
        let all_series = opened.into_iter().collect::<Result<Vec<_>>>()?;
        let symbols: Arc<[String]> = resolved.symbols.into();
        let layout = Arc::new(StreamSchema::new(request, symbols.len()));
        let shaping = symbols.len() * request.price_types().len();
        let known_after_ns = known_after_ns(request, &all_series[..shaping]);
        let joins = roles
            .into_iter()
            .map(|role| join(request, role, known_after_ns))
            .collect();
        let schema = layout.schema(request, &symbols, known_after_ns);
        let batch_slices = (BATCH_ROWS / symbols.len()).max(1);
        // Plans in work, the one whose batches are used, and the one that is written.
        let plan_bytes =
            (batch_slices * symbols.len() * layout.row_bytes() * (PLANS_AHEAD + 2)) as u64;
        let shares = Shares {
            options,
            series: number,
            plan_bytes,
            batches: (TILE_SLICES / batch_slices).clamp(1, MAX_PLAN_BATCHES),
        };
        let timestamp_bytes = all_series.iter().map(|series| series.timestamp_bytes());
        let timestamp_bytes = timestamp_bytes.sum::<Result<u64>>()?;
        held.push(memory.reserve(timestamp_bytes, "the timestamps")?);
        let mut sources = ColumnSources::new(
            &layout,
            symbols.len(),
            &all_series,
            (&memory, shares),
            options,
            &thread_pool,
        )?;
        held.push(memory.reserve(shares.bytes(memory.limit()), "the batches")?);
        let batches = shares.batches(memory.limit());
        let chunk_rows = rules.chunk_rows();
        let buffers = (BufferPool::default(), BufferPool::default());
        let price_types = request.price_types().len();
        let rule = SliceRule {
            timeline: TimelineRule::new(request.timeline(), &symbols)?,
            price_types,
            first_ns: request.first_slice_ns().unwrap_or(i64::MIN),
        };
        Ok(Self {
            layout: Arc::new(BatchContext::new(
                request,
                layout.clone(),
                symbols.clone(),
                known_after_ns,
            )),
            planner: Planner::new(rule, (series, joins), batch_slices, batches, chunk_rows),
            columns: Columns::new(&layout, symbols.len(), &mut sources, &thread_pool, &buffers),

            assembler: Assembler::new(schema.clone(), layout, &symbols, batch_slices, buffers),
            timeline: request.timeline().clone(),
            shaping,
            strict: options.is_strict(),
            symbols,
            schema,
            all_series,
            planned: VecDeque::new(),
            ready: VecDeque::new(),
            planned_end: None,
            ended: false,
            at_end: false,
            slices: 0,
            batches: 0,
            first_timestamp_ns: None,
            last_timestamp_ns: None,
            warnings: Vec::new(),
            sources,
            storage,
            _held: held,
            _thread_pool: thread_pool,
        })
    }

    /// The symbols, in the order of the rows of a slice.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// The Arrow schema of every batch, with the stream metadata.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The progress so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            candles: self.planner.candles(),
            planned: self.all_series.iter().map(|series| series.rows()).sum(),
            slices: self.slices,
        }
    }

    /// Whether the last batch has been returned, and all inputs passed their checks.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// The warnings so far; complete after the last batch.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The counts so far; complete after the last batch.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::new(self.planner.reports());
        report.slices = self.slices;
        report.batches = self.batches;
        report.temporary_bytes = self.sources.temporary_bytes();
        report.first_timestamp_ns = self.first_timestamp_ns;
        report.last_timestamp_ns = self.last_timestamp_ns;
        report
    }

    /// The requests and bytes so far, if any input is an object.
    #[must_use]
    pub fn traffic(&self) -> Option<Traffic> {
        self.storage.traffic()
    }

    /// The empty batch that seals the stream, with the schema and dictionary of all batches.
    pub fn seal(&self) -> RecordBatch {
        debug_assert!(self.ended);
        self.assembler
            .output(&self.assembler.seal())
            .expect("a batch without rows has no timestamp that does not fit")
    }

    /// Reuses the memory of a batch without other references.
    pub fn recycle(&self, batch: RecordBatch) {
        self.assembler.recycle(batch);
    }

    fn next_batch(&mut self) -> Result<Option<SliceBatch>> {
        if self.ready.is_empty() && !self.make_ready()? {
            return Ok(None);
        }
        let batch = match self.ready.pop_front() {
            None => None,
            Some(batch) => {
                let output = self.assembler.output(&batch)?;
                let slices = SliceBatch::new(batch, self.layout.clone());
                Some(slices.with_output(output))
            }
        };
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
        let columns = self.columns.take(plan.batches().count())?;
        // The columns keep working meanwhile.
        self.plan_ahead();
        for (slices, columns) in plan.batches().zip(columns) {
            self.ready
                .push_back(self.assembler.assemble(&plan, slices, columns));
        }
        Ok(true)
    }

    /// Queues plans, so that the columns always have work.
    fn plan_ahead(&mut self) {
        while self.planned.len() < PLANS_AHEAD && self.planned_end.is_none() {
            let task = match self.planner.next_plan() {
                Ok(Some(plan)) => {
                    let plan = Arc::new(plan);
                    self.planned.push_back(plan.clone());
                    GatherTask::Gather(plan)
                }
                Ok(None) => {
                    self.planned_end = Some(Ok(()));
                    GatherTask::Finish
                }
                // Return the batches before the error first.
                Err(error) => {
                    self.planned_end = Some(Err(error));
                    break;
                }
            };
            self.columns.submit(&task);
        }
        self.planner.prefetch();
        self.warnings.extend(self.planner.take_warnings());
    }

    /// Ends the run after the last batch: returns its error, or checks the rest of the inputs.
    fn finish(&mut self) -> Result<()> {
        match self.planned_end.take() {
            Some(Err(error)) => Err(error),
            _ => {
                self.columns.take(0)?;
                // Each file was consistent when it was read. They belong together only if all still
                // exist unchanged.
                self.storage.check_all()?;
                self.all_series
                    .iter()
                    .try_for_each(|series| series.check_named())
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.at_end = true;
        let reports = self.planner.reports();
        let (shaping, others) = reports.split_at(self.shaping.min(reports.len()));
        self.warnings.extend(empty_series(others));
        if self.slices == 0 {
            self.warnings.push(empty_timeline(&self.timeline, shaping));
        }
    }
}

impl Iterator for SliceBatches {
    type Item = Result<SliceBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut batch = self.next_batch().transpose();
        if batch.is_none() {
            self.end();
        }
        if self.strict
            && !matches!(batch, Some(Err(_)))
            && let Some(warning) = self.warnings.first()
        {
            self.at_end = false;
            batch = Some(Err(warning.to_error()));
        }
        self.ended |= !matches!(batch, Some(Ok(_)));
        batch
    }
}

impl std::iter::FusedIterator for SliceBatches {}

/// How long after its date a day has ended in all zones of the series that shape the timeline.
/// `None` if slices are stamped with instants.
fn known_after_ns(request: &Request, shaping: &[Arc<OpenSeries>]) -> Option<i64> {
    if !request.is_dated() {
        return None;
    }
    let offsets = shaping
        .iter()
        .filter_map(|series| series.smallest_offset_s());
    let offset_ns = offsets.min().unwrap_or(0) * NANOSECONDS_PER_SECOND;
    Some(request.timeframe().duration_ns() - offset_ns)
}

/// The join of a series by its role. `known_after_ns` says when primary candles are known, if not
/// after their timeframe.
fn join(request: &Request, role: Role, known_after_ns: Option<i64>) -> Join {
    match role {
        Role::Primary => Join::Primary {
            max_age_ns: request.max_age_ns(),
        },
        Role::Higher(number) => {
            let higher = &request.higher_timeframes()[number];
            let (delay_ns, max_age_ns) = request.higher_timeframe_delays_ns(higher, known_after_ns);
            Join::Complete {
                delay_ns,
                max_age_ns,
            }
        }
        Role::Indicators => Join::Exact,
    }
}
