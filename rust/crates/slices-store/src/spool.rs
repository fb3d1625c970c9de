//! Keeps what was read from objects in one temporary file, without a name, until it is used up.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytesize::ByteSize;
use rustix::fs::{FallocateFlags, fallocate};

use super::disk::FreeDisk;
use slices_core::error::{Error, Result};
use slices_core::hint::{Setting, hint};

/// Places begin at a block of the file system, so that they can be given back.
const BLOCK_BYTES: u64 = 4 << 10;

/// A temporary file of places. Each is taken once, and given back as a hole.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    folder: PathBuf,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    end: u64,
    held: u64,
}

/// A place in the file, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    spool: std::sync::Arc<Spool>,
    start: u64,
    bytes: u64,
}

impl Spool {
    pub fn create(folder: &Path, limit: Option<u64>) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| unusable(folder, error))?;
        let usable = FreeDisk::below(&file).usable();
        Ok(Self {
            file,
            folder: folder.to_owned(),
            limit: limit.unwrap_or(usable),
            state: Mutex::default(),
        })
    }

    /// Takes a place of this size.
    ///
    /// # Errors
    ///
    /// A system error if the file would be larger than it may be.
    pub fn take(self: &std::sync::Arc<Self>, bytes: u64) -> Result<Place> {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.held.saturating_add(bytes) > self.limit {
            let limit = ByteSize(self.limit).display().si();
            let message = format!(
                "what was read from storage and is not used up yet needs more than {limit} of \
                 temporary disk"
            );
            return Err(Error::system(message)
                .at_file(&self.folder)
                .with_hint(hint![
                    "free space, choose another folder with ",
                    Setting::TempDir,
                    ", allow more with ",
                    Setting::TempLimit,
                    ", or read a shorter window at a time"
                ]));
        }
        state.held += bytes;
        let start = state.end;
        state.end += bytes;
        drop(state);
        Ok(Place {
            spool: self.clone(),
            start,
            bytes,
        })
    }
}

impl Place {
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        debug_assert!(offset + bytes.len() as u64 <= self.bytes);
        let written = self.spool.file.write_all_at(bytes, self.start + offset);
        written.map_err(|error| unusable(&self.spool.folder, error))
    }

    /// The file, and where in it the place begins.
    pub fn file(&self) -> (&File, u64) {
        (&self.spool.file, self.start)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // A file system without holes keeps the space until the run ends.
        let _ = fallocate(&self.spool.file, flags, self.start, self.bytes);
        let mut state = self
            .spool
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.held -= self.bytes;
    }
}

fn unusable(folder: &Path, error: io::Error) -> Error {
    Error::system(format!("cannot write a temporary file: {error}"))
        .at_file(folder)
        .with_source(error)
        .with_hint(hint!["choose another folder with ", Setting::TempDir])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn places_are_given_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Arc::new(Spool::create(folder.path(), Some(1 << 20)).expect("a spool"));
        let bytes = vec![7; 512 << 10];
        for _ in 0..20 {
            let place = spool.take(bytes.len() as u64).expect("room");
            place.write(&bytes, 0).expect("room");
            let error = spool.take(600 << 10).expect_err("no room for more");
            assert!(error.to_string().contains("1.0 MB"), "{error}");
        }
        let blocks = spool.file.metadata().expect("metadata").blocks();
        assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    }
}
