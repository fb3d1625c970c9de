//! Owns the worker threads that open series and decode them ahead of their reader.
//!
//! Each series has at most one decoded chunk waiting. Which worker decodes what, and when, never
//! shows in the output: chunks are taken by series, in the order of the series.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::data::candle::CandleChunk;
use crate::data::layout::SeriesFiles;
use crate::data::series::{SeriesReader, SeriesRules};
use crate::error::{Error, Result};
use crate::report::{SeriesReport, Warning};

/// Many series, read ahead by a few threads. Dropping it stops the threads and waits for them.
pub(crate) struct ReadAhead {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// A job was queued, or the end was declared.
    work: Condvar,
    /// A slot was filled.
    filled: Condvar,
}

struct State {
    /// Slots that wait for a worker, oldest first.
    jobs: VecDeque<usize>,
    slots: Vec<Slot>,
    closed: bool,
}

/// One series on its way: a worker takes it from `Waiting`, puts it back as `Filled`.
enum Slot {
    Waiting(Task),
    /// A worker has it.
    Taken,
    Filled(Box<SeriesReader>, Option<CandleChunk>),
    Failed(Option<Error>),
}

enum Task {
    Open(SeriesFiles, Arc<SeriesRules>),
    Decode(Box<SeriesReader>),
}

impl ReadAhead {
    /// Starts opening all series. The results are waited for by [`ReadAhead::open`].
    pub fn start(
        series: Vec<SeriesFiles>,
        rules: &Arc<SeriesRules>,
        threads: NonZeroUsize,
    ) -> Result<Self> {
        let threads = threads.get().min(series.len().max(1));
        let slots: Vec<_> = series
            .into_iter()
            .map(|files| Slot::Waiting(Task::Open(files, rules.clone())))
            .collect();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                jobs: (0..slots.len()).collect(),
                slots,
                closed: false,
            }),
            work: Condvar::new(),
            filled: Condvar::new(),
        });
        // Built first, so that the threads already started are stopped where a later one fails.
        let mut started = Self {
            shared,
            workers: Vec::with_capacity(threads),
        };
        for number in 0..threads {
            let shared = started.shared.clone();
            let worker = thread::Builder::new()
                .name(format!("decode-{number}"))
                .spawn(move || shared.work_until_closed())
                .map_err(|error| {
                    Error::system("a decoding thread cannot be started")
                        .with_source(error)
                        .with_hint("lower --threads, or raise the limit on processes")
                })?;
            started.workers.push(worker);
        }
        Ok(started)
    }

    /// Waits until the series is open.
    ///
    /// # Errors
    ///
    /// Whatever opening it met; reported once.
    pub fn open(&self, series: usize) -> Result<OpenSeries> {
        let mut state = self.shared.wait_for(series);
        match &mut state.slots[series] {
            Slot::Filled(reader, _) => Ok(OpenSeries {
                planned_rows: reader.planned_rows(),
                warnings: reader.warnings().to_vec(),
            }),
            slot => Err(slot.failure()),
        }
    }

    /// The next chunk of a series, and has the one after it decoded. `None` is its end, for good.
    pub fn take(&self, series: usize) -> Result<Option<CandleChunk>> {
        let mut state = self.shared.wait_for(series);
        match std::mem::replace(&mut state.slots[series], Slot::Taken) {
            Slot::Filled(reader, Some(chunk)) => {
                state.slots[series] = Slot::Waiting(Task::Decode(reader));
                state.jobs.push_back(series);
                drop(state);
                self.shared.work.notify_one();
                Ok(Some(chunk))
            }
            ended @ Slot::Filled(_, None) => {
                state.slots[series] = ended;
                Ok(None)
            }
            mut other => {
                let error = other.failure();
                state.slots[series] = other;
                Err(error)
            }
        }
    }

    /// What was read of each series; complete for those that have been read to their end.
    pub fn reports(&self) -> Vec<SeriesReport> {
        let count = self.shared.lock().slots.len();
        (0..count)
            .filter_map(|series| match &self.shared.wait_for(series).slots[series] {
                Slot::Filled(reader, _) => Some(reader.report().clone()),
                _ => None,
            })
            .collect()
    }
}

/// What is known of a series once it is open.
pub(crate) struct OpenSeries {
    pub planned_rows: u64,
    pub warnings: Vec<Warning>,
}

impl Slot {
    fn failure(&mut self) -> Error {
        let reported = || Error::system("this series has already failed");
        match self {
            Self::Failed(error) => error.take().unwrap_or_else(reported),
            _ => reported(),
        }
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches what its tasks do; there is no result to lose.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and the state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no worker is needed for the slot any more.
    fn wait_for(&self, series: usize) -> MutexGuard<'_, State> {
        self.filled
            .wait_while(self.lock(), |state| {
                matches!(state.slots[series], Slot::Waiting(_) | Slot::Taken)
            })
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn work_until_closed(&self) {
        while let Some((series, task)) = self.next_task() {
            let filled = catch_unwind(AssertUnwindSafe(|| task.run())).unwrap_or_else(|_| {
                Err(Error::system("a decoding thread failed").with_hint("please report this"))
            });
            let slot = filled.unwrap_or_else(|error| Slot::Failed(Some(error)));
            self.lock().slots[series] = slot;
            self.filled.notify_all();
        }
    }

    fn next_task(&self) -> Option<(usize, Task)> {
        let mut state = self
            .work
            .wait_while(self.lock(), |state| state.jobs.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        let series = state.jobs.pop_front()?;
        match std::mem::replace(&mut state.slots[series], Slot::Taken) {
            Slot::Waiting(task) => Some((series, task)),
            _ => unreachable!("a slot is queued exactly while it waits"),
        }
    }
}

impl Task {
    /// Decodes one chunk, of a series that it opens first where it has to.
    fn run(self) -> Result<Slot> {
        let mut reader = match self {
            Self::Open(files, rules) => Box::new(SeriesReader::open(&files, rules)?),
            Self::Decode(reader) => reader,
        };
        let chunk = reader.next_chunk()?;
        Ok(Slot::Filled(reader, chunk))
    }
}
