//! Opens all series on the worker threads, and reads the next chunk of candle times of each before
//! it is needed.
//!
//! The files of all series are opened before the first of them is read. So those of a bucket arrive
//! together.

use std::sync::Arc;

use crate::series::{
    self, CandleTimes, OpenSeries, OpenedFiles, SeriesObserver, SeriesRules, TimestampReader,
};
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

/// A series that is not read yet.
struct ClosedSeries {
    files: SeriesFiles,
    rules: Arc<SeriesRules>,
    observer: Box<dyn SeriesObserver>,
    opened: Option<OpenedFiles>,
}

enum SeriesState {
    /// While the series is being opened.
    Opening,
    Closed(Box<ClosedSeries>),
    Open(Box<TimestampReader>),
}

/// The result of a step.
enum SeriesStep {
    /// Of the first one: the files are open.
    Files,
    /// Of the second one: the series is open, and its first chunk read.
    Opened(Arc<OpenSeries>, Box<ReadStep>),
    /// Of the later ones.
    Read(Box<ReadStep>),
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
            opened: None,
        }));
        let steps = thread_pool.serial_task(state, SeriesState::step);
        steps.submit(Priority::First, ());
        // Queued again behind the files of the other series.
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
        self.steps.take()?;
        match self.steps.take()? {
            SeriesStep::Opened(series, read) => {
                self.read = Some(read);
                Ok(series)
            }
            _ => unreachable!("the second step opens the series"),
        }
    }

    /// The next chunk; `None` at the end, and from then on.
    pub fn take(&mut self) -> Result<Option<CandleTimes>> {
        if self.ended {
            return Ok(None);
        }
        self.read_now();
        let read = match self.read.take() {
            Some(read) => read,
            None => match self.steps.take()? {
                SeriesStep::Read(read) => read,
                _ => unreachable!("an open series is read"),
            },
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
        match self {
            Self::Open(reader) => return Ok(SeriesStep::Read(ReadStep::of(reader)?)),
            Self::Closed(closed) if closed.opened.is_none() => {
                closed.opened = Some(series::open_files(&closed.files, &closed.rules)?);
                return Ok(SeriesStep::Files);
            }
            _ => {}
        }
        let Self::Closed(closed) = std::mem::replace(self, Self::Opening) else {
            unreachable!("no step follows one that failed");
        };
        let ClosedSeries {
            files,
            rules,
            observer,
            opened,
        } = *closed;
        let opened = opened.expect("the first step opened the files");
        let (series, mut reader) = series::open(&files, opened, rules, observer)?;
        let read = ReadStep::of(&mut reader)?;
        *self = Self::Open(Box::new(reader));
        Ok(SeriesStep::Opened(series, read))
    }
}

impl ReadStep {
    /// Reads the next chunk.
    fn of(reader: &mut TimestampReader) -> Result<Box<Self>> {
        let chunk = reader.next_chunk()?;
        Ok(Box::new(Self {
            chunk,
            report: reader.report().clone(),
            warnings: reader.take_warnings(),
        }))
    }
}
