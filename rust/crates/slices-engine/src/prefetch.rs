//! Owns reading ahead on the control side: all series are opened on the worker threads, and the
//! next chunk of candle times of each is read before it is asked for.

use std::sync::Arc;

use crate::discovery::SeriesFiles;
use crate::series::{
    self, CandleTimes, SeriesObserver, SeriesRules, SeriesSource, TimestampReader,
};
use crate::thread_pool::{Priority, SerialTask, ThreadPool};
use slices_core::error::Result;
use slices_core::report::{SeriesReport, Warning};

/// One series whose candle times are read one chunk ahead.
pub struct Prefetcher {
    steps: SerialTask<SeriesState, (), SeriesStep>,
    /// Whether a step was asked for and its chunk not taken yet.
    pending: bool,
    /// What the first step read, while it waits.
    read: Option<Box<ReadStep>>,
    /// Whether the last step has been seen.
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
    /// While it is being opened.
    Opening,
    Closed(Box<ClosedSeries>),
    Open(Box<TimestampReader>),
}

/// What one step gives: the first one opens the series too.
struct SeriesStep {
    opened: Option<Arc<SeriesSource>>,
    read: Box<ReadStep>,
}

struct ReadStep {
    chunk: Option<CandleTimes>,
    report: SeriesReport,
    warnings: Vec<Warning>,
}

impl Prefetcher {
    /// Has the series opened. [`Prefetcher::open`] waits for it.
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
    /// Whatever opening it and reading its first chunk met; reported once.
    pub fn open(&mut self) -> Result<Arc<SeriesSource>> {
        let step = self.steps.take()?;
        self.read = Some(step.read);
        Ok(step.opened.expect("the first step opens the series"))
    }

    /// The next chunk. `None` is the end, for good.
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

    /// Has the next chunk read, before all other work.
    pub fn read_now(&mut self) {
        self.submit(Priority::First);
    }

    /// Has the next chunk read, after all work that waits.
    pub fn prefetch(&mut self) {
        self.submit(Priority::InTurn);
    }

    fn submit(&mut self, priority: Priority) {
        if !self.pending && !self.ended {
            self.steps.submit(priority, ());
            self.pending = true;
        }
    }

    /// What has been taken of the series; complete once it has ended.
    pub fn report(&self) -> Option<&SeriesReport> {
        self.report.as_ref()
    }

    /// What a person should know about the rows that were taken; each once.
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
            let (source, reader) = series::open(&files, rules, observer)?;
            opened = Some(source);
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
