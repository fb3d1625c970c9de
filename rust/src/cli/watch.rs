//! Owns what happens beside a run: the end of a run whose reader has gone away, and signs of life for a
//! program that waits.
//!
//! A writer learns only by writing that nobody reads any more. A run that sorts, waits for another
//! process, or finds no slice for a long time would go on for nobody; so a thread asks the system. What
//! has ended the one way or the other stays so: once all slices are made, or the run is about to say what
//! it failed of, nothing here ends the process.

use std::io;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use omega_slices::Error;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use crate::cli::messages::Messages;

/// The watch over a run, which ends where this is dropped.
pub struct Watch {
    made_all: Arc<Mutex<bool>>,
    heartbeat: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Watch {
    /// Begins with the signs of life, if any are asked for.
    pub fn start(messages: Messages, heartbeat: Option<Duration>) -> Result<Self, Error> {
        let start = |every: Duration| {
            let (run, over) = mpsc::channel::<()>();
            let beat = move || {
                while over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    messages.alive();
                }
            };
            Ok((run, spawn("heartbeat", beat)?))
        };
        Ok(Self {
            made_all: Arc::default(),
            heartbeat: heartbeat.map(start).transpose()?,
        })
    }

    /// Ends the process, quietly and with success, as soon as stdout is a pipe or a socket without a
    /// reader; `clean_up` comes before.
    pub fn end_without_reader(
        &self,
        clean_up: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        // Nobody reads a file or a device, and a terminal has signals of its own.
        let kind = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if !matches!(kind, Ok(FileType::Fifo | FileType::Socket)) {
            return Ok(());
        }
        let made_all = self.made_all.clone();
        let wait = move || {
            if !wait_until_gone() {
                return;
            }
            // Held to the very end: a run that is over meanwhile waits here and has the same status, and
            // one that was over first stays what it was.
            let made_all = made_all.lock().unwrap_or_else(PoisonError::into_inner);
            if !*made_all {
                clean_up();
                end_process();
            }
        };
        spawn("reader-watch", wait).map(drop)
    }

    /// From now on nothing but writing can end the run, which tells by itself that nobody reads: a reader
    /// that has all and goes must not cost the report.
    pub fn leave_to_writing(&self) {
        let made_all = self.made_all.lock();
        *made_all.unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.leave_to_writing();
        if let Some((run, beats)) = self.heartbeat.take() {
            drop(run);
            // It says at most one line more, and has no result to lose.
            let _ = beats.join();
        }
    }
}

fn spawn(name: &str, watch: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(watch);
    thread.map_err(|error| {
        Error::system("cannot start a watching thread")
            .with_source(error)
            .with_hint("raise the limit on processes (ulimit -u)")
    })
}

/// Waits, without an end, until stdout has lost its reader. `false` where the system cannot tell.
fn wait_until_gone() -> bool {
    let stdout = io::stdout();
    loop {
        // No event is asked for: the system tells these unasked. A pipe without a reader is in error, a
        // socket whose other end is closed has hung up.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut watched, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => {
                let told = watched[0].revents();
                return told.intersects(PollFlags::ERR | PollFlags::HUP);
            }
        }
    }
}

#[expect(
    clippy::exit,
    reason = "threads that decode or wait for another process cannot be asked to return"
)]
fn end_process() -> ! {
    process::exit(0)
}
