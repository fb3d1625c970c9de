//! Watches a run: ends it if its reader is gone, and writes heartbeats.
//!
//! A writer notices a closed pipe only when it writes. A run that sorts, waits or finds no slices
//! would go on for a reader that is gone, so a thread polls stdout. Once all slices are made or the
//! run has failed, this module no longer ends the process. The exit status then stays as it is.

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

/// The watch over a run; ends when dropped.
pub struct Watch {
    made_all: Arc<Mutex<bool>>,
    heartbeat: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Watch {
    /// Starts the heartbeats, if requested.
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

    /// Ends the process with success once stdout is a pipe or socket without a reader.
    /// Calls `clean_up` first.
    pub fn end_without_reader(
        &self,
        clean_up: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        // Files and devices have no reader, and a terminal sends signals.
        let kind = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if !matches!(kind, Ok(FileType::Fifo | FileType::Socket)) {
            return Ok(());
        }
        let made_all = self.made_all.clone();
        let wait = move || {
            if !wait_until_gone() {
                return;
            }
            // The lock is held until the process ends. A run that ends meanwhile waits for it, and
            // gets the same exit status.
            let made_all = made_all.lock().unwrap_or_else(PoisonError::into_inner);
            if !*made_all {
                clean_up();
                end_process();
            }
        };
        spawn("reader-watch", wait).map(drop)
    }

    /// Stops the watch over the reader: from now on, only a failed write ends the run. A reader
    /// that has all slices and closes the pipe must not cost the report.
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
            // The thread writes at most one more line, and has no result to lose.
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

/// Waits until stdout has lost its reader. `false` if the system cannot tell.
fn wait_until_gone() -> bool {
    let stdout = io::stdout();
    loop {
        // poll always reports these events: an error for a pipe without a reader, a hang-up for
        // a socket whose other end is closed.
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
