//! Opens all series on the worker threads, and reads the next chunk of candle times of each before
//! it is needed.

use std::sync::Arc;

use crate::series::{self, CandleTimes, OpenSeries, SeriesObserver, SeriesRules, TimestampReader};
use crate::series_files::SeriesFiles;
use crate::thread_pool::{Priority, SerialTask, ThreadPool};
use slices_core::error::Result;
use slices_core::report::{SeriesReport, Warning};

/// One series, whose candle times are read one chunk ahead.
pub struct Prefetcher {
    steps: SerialTask<SeriesState, (), SeriesStep>,
    /// Whether a step was submitted whose chunk was not taken yet.
    pending: bool,
    /// The chunk of the first step, until it is taken.
    read: Option<Box<ReadStep>>,
    /// Whether the end of the series was reached.
    ended: bool,
    report: Option<SeriesReport>,
    warnings: Vec<Warning>,
}

/// A series before its first step.
struct ClosedSeries {
    files: SeriesFiles,
    rules: Arc<SeriesRules>,
    observer: Box<dyn SeriesObserver>,
}

enum SeriesState {
    /// While the series is being opened.
    Opening,
    Closed(Box<ClosedSeries>),
    Open(Box<TimestampReader>),
}

/// The result of a step. The first step also opens the series.
struct SeriesStep {
    opened: Option<Arc<OpenSeries>>,
    read: Box<ReadStep>,
}

struct ReadStep {
    chunk: Option<CandleTimes>,
    report: SeriesReport,
    warnings: Vec<Warning>,
}

impl Prefetcher {
    /// Submits the opening of a series. [`Prefetcher::open`] waits for it.
    pub fn start(
        thread_pool: &ThreadPool,
        files: SeriesFiles,
        rules: Arc<SeriesRules>,
        observer: Box<dyn SeriesObserver>,
    ) -> Self {
        let state = SeriesState::Closed(Box::new(ClosedSeries {
            files,
            rules,
            observer,
        }));
        let steps = thread_pool.serial_task(state, SeriesState::step);
        steps.submit(Priority::First, ());
        Self {
            steps,
            pending: true,
            read: None,
            ended: false,
            report: None,
            warnings: Vec::new(),
        }
    }

    /// Waits until the series is open.
    ///
    /// # Errors
    ///
    /// Any error of opening the series and reading its first chunk; reported once.
    pub fn open(&mut self) -> Result<Arc<OpenSeries>> {
        let step = self.steps.take()?;
        self.read = Some(step.read);
        Ok(step.opened.expect("the first step opens the series"))
    }

    /// The next chunk; `None` at the end, and from then on.
    pub fn take(&mut self) -> Result<Option<CandleTimes>> {
        if self.ended {
            return Ok(None);
        }
        self.read_now();
        let read = match self.read.take() {
            Some(read) => read,
            None => self.steps.take()?.read,
        };
        self.pending = false;
        self.report = Some(read.report);
        self.warnings.extend(read.warnings);
        self.ended = read.chunk.is_none();
        Ok(read.chunk)
    }

    /// Submits the read of the next chunk before all other work.
    pub fn read_now(&mut self) {
        self.submit(Priority::First);
    }

    /// Submits the read of the next chunk behind all waiting work.
    pub fn prefetch(&mut self) {
        self.submit(Priority::InTurn);
    }

    fn submit(&mut self, priority: Priority) {
        if !self.pending && !self.ended {
            self.steps.submit(priority, ());
            self.pending = true;
        }
    }

    /// The counts of the chunks taken so far; complete once the series has ended.
    pub fn report(&self) -> Option<&SeriesReport> {
        self.report.as_ref()
    }

    /// Takes the warnings about the chunks taken so far; each appears once.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }
}

impl SeriesState {
    fn step(&mut self, (): ()) -> Result<SeriesStep> {
        let mut opened = None;
        if matches!(self, Self::Closed(_))
            && let Self::Closed(closed) = std::mem::replace(self, Self::Opening)
        {
            let ClosedSeries {
                files,
                rules,
                observer,
            } = *closed;
            let (series, reader) = series::open(&files, rules, observer)?;
            opened = Some(series);
            *self = Self::Open(Box::new(reader));
        }
        let Self::Open(reader) = self else {
            unreachable!("it has just been opened");
        };
        let chunk = reader.next_chunk()?;
        let read = Box::new(ReadStep {
            chunk,
            report: reader.report().clone(),
            warnings: reader.take_warnings(),
        });
        Ok(SeriesStep { opened, read })
    }
}
