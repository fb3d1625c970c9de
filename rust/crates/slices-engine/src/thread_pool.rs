//! Runs tasks on worker threads. A serial task owns a state and processes its inputs one after the
//! other, in order.
//!
//! Scheduling never shows in the output: callers take outputs task by task, in the order of the
//! inputs.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use slices_core::error::{Error, Result};
use slices_core::hint::{Setting, hint};

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. Dropping it stops them after their current jobs, and waits for that.
pub struct ThreadPool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// The priority of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Before all waiting steps.
    First,
    /// After all waiting steps.
    InTurn,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    /// Signals a queued job or the close of the queue.
    work: Condvar,
}

#[derive(Default)]
struct QueueState {
    first: VecDeque<Job>,
    in_turn: VecDeque<Job>,
    closed: bool,
}

impl ThreadPool {
    pub fn start(threads: NonZeroUsize) -> Result<Self> {
        // Created first: if a thread fails to start, dropping it stops the earlier ones.
        let mut started = Self {
            queue: Arc::default(),
            threads: Vec::with_capacity(threads.get()),
        };
        for number in 0..threads.get() {
            let queue = started.queue.clone();
            let worker = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    while let Some(job) = queue.next_job() {
                        job();
                    }
                })
                .map_err(|error| {
                    Error::system("cannot start a decoding thread")
                        .with_source(error)
                        .with_hint(hint![
                            "lower ",
                            Setting::Threads,
                            ", or raise the limit on processes (ulimit -u)"
                        ])
                })?;
            started.threads.push(worker);
        }
        Ok(started)
    }

    /// Creates a task whose steps run on the threads of the pool.
    pub fn serial_task<S, I, O>(
        &self,
        state: S,
        step: fn(&mut S, I) -> Result<O>,
    ) -> SerialTask<S, I, O>
    where
        S: Send + 'static,
        I: Send + 'static,
        O: Send + 'static,
    {
        let (sender, outputs) = mpsc::channel();
        SerialTask {
            shared: Arc::new(Shared {
                queue: self.queue.clone(),
                step,
                queued: Mutex::new(Queued {
                    state: Some((state, sender)),
                    inputs: VecDeque::new(),
                }),
            }),
            outputs,
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A job catches its own panics, so there is no result to lose.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // No code panics while it holds the lock, and every statement leaves a valid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, priority: Priority, job: Job) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        match priority {
            Priority::First => state.first.push_back(job),
            Priority::InTurn => state.in_turn.push_back(job),
        }
        drop(state);
        self.work.notify_one();
    }

    fn next_job(&self) -> Option<Job> {
        let idle = |state: &mut QueueState| {
            state.first.is_empty() && state.in_turn.is_empty() && !state.closed
        };
        let mut state = self
            .work
            .wait_while(self.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        state
            .first
            .pop_front()
            .or_else(|| state.in_turn.pop_front())
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Drop jobs outside the lock: they may own much memory.
        let left = (
            std::mem::take(&mut state.first),
            std::mem::take(&mut state.in_turn),
        );
        drop(state);
        self.work.notify_all();
        drop(left);
    }
}

/// A state that takes one input at a time and gives one output for each, until a step fails.
pub struct SerialTask<S, I, O> {
    shared: Arc<Shared<S, I, O>>,
    outputs: Receiver<Result<O>>,
}

struct Shared<S, I, O> {
    queue: Arc<Queue>,
    step: fn(&mut S, I) -> Result<O>,
    queued: Mutex<Queued<S, I, O>>,
}

struct Queued<S, I, O> {
    /// Absent while a step is queued or runs, and for good after a failure.
    state: Option<(S, Sender<Result<O>>)>,
    inputs: VecDeque<(Priority, I)>,
}

impl<S, I, O> SerialTask<S, I, O>
where
    S: Send + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    /// Queues a step for this input, after those of earlier inputs.
    pub fn submit(&self, priority: Priority, input: I) {
        let mut queued = self.shared.lock();
        queued.inputs.push_back((priority, input));
        if let Some((state, sender)) = queued.state.take() {
            drop(queued);
            Shared::queue_step(&self.shared, priority, state, sender);
        }
    }

    /// Waits for the output of the next input. Every input gives one output.
    ///
    /// # Errors
    ///
    /// The error of the step, reported once.
    pub fn take(&self) -> Result<O> {
        self.outputs.recv().unwrap_or_else(|_| {
            Err(Error::system("this part of the run has already failed")
                .with_hint("stop at the first error of a run"))
        })
    }
}

impl<S, I, O> Shared<S, I, O>
where
    S: Send + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    fn lock(&self) -> MutexGuard<'_, Queued<S, I, O>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue_step(shared: &Arc<Self>, priority: Priority, state: S, sender: Sender<Result<O>>) {
        let this = shared.clone();
        let job = Box::new(move || Self::take_step(&this, state, sender));
        shared.queue.push(priority, job);
    }

    fn take_step(shared: &Arc<Self>, mut state: S, sender: Sender<Result<O>>) {
        let Some((_, input)) = shared.lock().inputs.pop_front() else {
            unreachable!("a step is queued only with an input");
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| (shared.step)(&mut state, input)))
            .unwrap_or_else(|_| {
                Err(Error::system("a worker thread panicked").with_hint("report this as a bug"))
            });
        let failed = outcome.is_err();
        // The receiver of the outputs may be gone.
        let gone = sender.send(outcome).is_err();
        if failed || gone {
            return;
        }
        let mut queued = shared.lock();
        match queued.inputs.front() {
            None => queued.state = Some((state, sender)),
            Some(&(priority, _)) => {
                drop(queued);
                Self::queue_step(shared, priority, state, sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_in_the_order_of_the_inputs() {
        let thread_pool =
            ThreadPool::start(NonZeroUsize::new(3).expect("not zero")).expect("threads");
        let sums: Vec<_> = (0..5_u64)
            .map(|_| {
                thread_pool.serial_task(0, |sum, number: u64| {
                    *sum += number;
                    Ok(*sum)
                })
            })
            .collect();
        for number in 1..=100 {
            sums.iter()
                .for_each(|sum| sum.submit(Priority::InTurn, number));
        }
        for number in 1..=100 {
            for sum in &sums {
                assert_eq!(sum.take().expect("a sum"), number * (number + 1) / 2);
            }
        }
    }

    #[test]
    fn after_a_failed_step_none_is_taken() {
        let thread_pool = ThreadPool::start(NonZeroUsize::MIN).expect("a thread");
        let steps = thread_pool.serial_task((), |(), number: u64| match number {
            2 => Err(Error::system("two")),
            3 => panic!("a step after one that failed"),
            _ => Ok(number),
        });
        (1..=3).for_each(|number| steps.submit(Priority::First, number));
        assert_eq!(steps.take().expect("one"), 1);
        assert!(
            steps
                .take()
                .is_err_and(|error| error.to_string().contains("two"))
        );
        assert!(
            steps
                .take()
                .is_err_and(|error| error.to_string().contains("already failed"))
        );
    }
}
