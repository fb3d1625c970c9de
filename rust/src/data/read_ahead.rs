//! Owns reading ahead on the control side: all series are opened on the worker threads, and the
//! next chunk of candle times of each is read before it is asked for.

use std::sync::Arc;

use crate::data::layout::SeriesFiles;
use crate::data::series::{self, CandleTimes, SeriesRules, SeriesSource, TimestampReader};
use crate::data::workers::{Priority, Sequence, Workers};
use crate::error::Result;
use crate::report::{SeriesReport, Warning};

/// One series whose candle times are read one chunk ahead.
pub(crate) struct SeriesAhead {
    steps: Sequence<SeriesState, (), SeriesStep>,
    /// Whether the last step has been seen.
    ended: bool,
    report: Option<SeriesReport>,
    warnings: Vec<Warning>,
}

enum SeriesState {
    Closed(SeriesFiles, Arc<SeriesRules>),
    Open(Box<TimestampReader>),
}

enum SeriesStep {
    Opened(Arc<SeriesSource>),
    Read(Box<ReadStep>),
}

struct ReadStep {
    chunk: Option<CandleTimes>,
    report: SeriesReport,
    warnings: Vec<Warning>,
}

impl SeriesAhead {
    /// Has the series opened. [`SeriesAhead::open`] waits for it.
    pub fn start(workers: &Workers, files: SeriesFiles, rules: Arc<SeriesRules>) -> Self {
        let state = SeriesState::Closed(files, rules);
        let steps = workers.sequence(Priority::First, state, SeriesState::step);
        steps.submit(());
        Self {
            steps,
            ended: false,
            report: None,
            warnings: Vec::new(),
        }
    }

    /// Waits until the series is open, and has its first chunk read.
    ///
    /// # Errors
    ///
    /// Whatever opening it met; reported once.
    pub fn open(&mut self) -> Result<Arc<SeriesSource>> {
        match self.steps.take()? {
            SeriesStep::Opened(source) => {
                self.steps.submit(());
                Ok(source)
            }
            SeriesStep::Read(_) => unreachable!("the first step opens the series"),
        }
    }

    /// The next chunk, and has the one after it read. `None` is the end, for good.
    pub fn take(&mut self) -> Result<Option<CandleTimes>> {
        if self.ended {
            return Ok(None);
        }
        match self.steps.take()? {
            SeriesStep::Read(step) => {
                self.report = Some(step.report);
                self.warnings.extend(step.warnings);
                self.ended = step.chunk.is_none();
                if !self.ended {
                    self.steps.submit(());
                }
                Ok(step.chunk)
            }
            SeriesStep::Opened(_) => unreachable!("a series is opened once"),
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
        match self {
            Self::Closed(files, rules) => {
                let (source, reader) = series::open(files, rules.clone())?;
                *self = Self::Open(Box::new(reader));
                Ok(SeriesStep::Opened(source))
            }
            Self::Open(reader) => Ok(SeriesStep::Read(Box::new(ReadStep {
                chunk: reader.next_chunk()?,
                report: reader.report().clone(),
                warnings: reader.take_warnings(),
            }))),
        }
    }
}
