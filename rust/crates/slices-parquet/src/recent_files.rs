//! Keeps the files that were opened last open for a while. The columns of a series read its files
//! soon after each other, and to open a small file takes longer than to read it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::file::PositionedFile;

/// Number of files to keep open at most: some of each of a hundred series.
const RECENT_FILES: usize = 256;

/// The files of a run that were opened last.
#[derive(Debug)]
pub struct RecentFiles(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    /// Oldest first.
    files: VecDeque<PositionedFile>,
    capacity: usize,
}

impl RecentFiles {
    /// Keeps at most half of `spare` descriptors, which nothing else in the run needs.
    pub fn new(spare: usize) -> Self {
        Self(Mutex::new(Kept {
            files: VecDeque::new(),
            capacity: RECENT_FILES.min(spare / 2),
        }))
    }

    /// Keeps a file open until enough others were opened.
    pub(super) fn keep(&self, file: PositionedFile) {
        let mut kept = self.lock();
        kept.files.push_back(file);
        let oldest = (kept.files.len() > kept.capacity).then(|| kept.files.pop_front());
        drop(kept);
        // Closed without the lock.
        drop(oldest);
    }

    /// Closes the files that no reader uses, and keeps none from now on. Returns whether any were
    /// kept.
    pub(super) fn close(&self) -> bool {
        let mut kept = self.lock();
        kept.capacity = 0;
        let files = std::mem::take(&mut kept.files);
        !files.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
