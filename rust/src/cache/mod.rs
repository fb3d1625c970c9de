//! Owns the cache: a folder of files of slices, each made once, by whoever asks first.
//!
//! An entry is a complete, uncompressed Arrow IPC file named after a hash of everything that decides what
//! is in it. Guarantees that no reader ever sees a part of one; that of several processes (or threads)
//! which ask for the same entry at once, one makes it and the others wait for it; that a killed one leaves
//! nothing that stops the next; and that of what lies in the folder nothing is touched but entries.

mod entry;
mod folder;
mod key;

use std::fs;
use std::path::Path;
use std::time::Duration;

pub use self::entry::Entry;
use self::folder::{Claim, EntryFolder, EntryWriter};
use self::key::EntryKey;
use crate::data::discovery;
use crate::data::multi_symbol::{Inputs, Progress, ReadOptions, SliceBatches};
use crate::error::{Code, Error, Result};
use crate::ipc::{self, Format, WriteOptions};
use crate::request::Request;

/// What a cache may take on disk unless told otherwise: 20 GiB.
pub const DEFAULT_SIZE_BYTES: u64 = 20 << 30;

/// How long a maker may show no sign of life before those who wait for it give up.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What is told of the making of an entry.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// Another process is making it.
    Waiting,
    /// A batch more was made: how far it has come, and the bytes written so far.
    Batch(Progress, u64),
}

/// A cache in a folder.
#[derive(Debug)]
pub struct SliceCache {
    folder: EntryFolder,
    size_bytes: u64,
    stall_timeout: Duration,
}

impl SliceCache {
    /// Uses a folder, which is made where it is missing, for entries of so many bytes altogether.
    ///
    /// # Errors
    ///
    /// A system failure where the folder cannot be made or is none.
    pub fn open(folder: &Path, size_bytes: u64) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::system(format!("cannot use the cache folder: {error}"))
                .at_file(folder)
                .with_hint("name a writable folder")
                .with_source(error)
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let folder = fs::canonicalize(folder).map_err(failed)?;
        Ok(Self {
            folder: EntryFolder::new(folder),
            size_bytes,
            stall_timeout: STALL_TIMEOUT,
        })
    }

    /// How long it waits for another process that shows no sign of life, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_stall_timeout(mut self, stall_timeout: Duration) -> Self {
        self.stall_timeout = stall_timeout;
        self
    }

    /// The entry that answers a request: found, waited for, or made now.
    ///
    /// Afterwards the entries that were not used for longest are removed until the rest fits; never the
    /// one that is returned.
    ///
    /// # Errors
    ///
    /// Those of a run; a system failure where the entry cannot be written, or where whoever is making it
    /// shows no sign of life for a minute;
    /// [`Code::CorruptInput`] where an input changed meanwhile.
    pub fn entry(
        &self,
        request: &Request,
        options: &ReadOptions,
        mut tell: impl FnMut(Event),
    ) -> Result<Entry> {
        let inputs = Inputs::find(request, options)?;
        let key = key::key_of(request, &inputs)?;
        // Whoever made an entry may have been content with its warnings.
        let checked = |entry: Entry| match entry.first_warning().filter(|_| options.is_strict()) {
            Some(warning) => Err(warning),
            None => Ok(entry),
        };
        if let Some(entry) = self.folder.find(&key.digits) {
            return checked(entry);
        }
        let tell_waiting = || tell(Event::Waiting);
        let making = match self
            .folder
            .claim(&key.digits, self.stall_timeout, tell_waiting)?
        {
            Claim::Found(entry) => return checked(entry),
            Claim::Ours(making) => making,
        };
        let entry = self.make(request, inputs, options, making, &key, &mut tell)?;
        self.folder.evict(self.size_bytes, entry.path());
        Ok(entry)
    }

    fn make(
        &self,
        request: &Request,
        inputs: Inputs,
        options: &ReadOptions,
        making: EntryWriter,
        key: &EntryKey,
        tell: &mut impl FnMut(Event),
    ) -> Result<Entry> {
        let hours = inputs.hours.clone();
        let mut batches = SliceBatches::open_inputs(request, inputs, options)?;
        let follow_links = options.follows_links();
        let options = WriteOptions::new(Format::File);
        let written = ipc::write(&mut batches, options, making.writer(), |batches, bytes| {
            if !batches.is_at_end() {
                tell(Event::Batch(batches.progress(), bytes));
            }
        });
        written.map_err(|error| making.name(error))?;
        // What was read may be newer than what the key was made of.
        let resolved = discovery::resolve(request, follow_links)?;
        let now = key::key_of(request, &Inputs { hours, resolved })?;
        if now != *key {
            let changed = Error::input(
                Code::CorruptInput,
                "an input changed while it was being read: the slices may mix old and new rows",
            )
            .at_file(request.data())
            .with_hint("run again when no other process writes there");
            return Err(key.name_change(&now, changed));
        }
        making.complete()
    }

    /// All entries, the one that was used last first.
    ///
    /// # Errors
    ///
    /// A system failure where the folder cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        self.folder.entries()
    }

    /// Removes all entries, and what killed processes left of others. An entry that is being made stays.
    /// How many entries, and how many bytes.
    ///
    /// # Errors
    ///
    /// A system failure where an entry cannot be removed.
    pub fn clear(&self) -> Result<(usize, u64)> {
        self.folder.clear()
    }

    /// Removes what is being made by this cache, and makes nothing more: for a process that is about to
    /// end without unwinding. Whoever waits for it becomes the maker then.
    pub fn give_up(&self) {
        self.folder.give_up();
    }

    /// Where the entries lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
