//! Caches slices: a folder of slice files, each built once, by the first process that asks for it.
//!
//! An entry is a complete, uncompressed Arrow IPC file. Its name is a hash of everything that
//! decides its contents. Guarantees:
//!
//! - Readers never see a partial entry.
//! - If several processes or threads ask for one entry, one builds it and the others wait.
//! - A killed process leaves nothing that blocks the next one.
//! - Files in the folder that are not entries stay untouched.

mod entry;
mod folder;
mod key;

use std::fs;
use std::path::Path;
use std::time::Duration;

pub use self::entry::Entry;
pub(crate) use self::entry::warning_in;
use self::folder::{Claim, EntryFolder, EntryWriter};
use self::key::EntryKey;
use slices_core::error::{Code, Error, Result};
use slices_core::request::Request;
use slices_engine::discovery;
use slices_engine::multi_symbol::{Inputs, Progress, ReadOptions, SliceBatches};
use slices_ipc::{Format, WriteOptions};

/// The default maximum size on disk: 20 GiB.
pub const DEFAULT_SIZE_BYTES: u64 = 20 << 30;

/// How long waiting processes accept a writer without a heartbeat.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The key of a request: what decides its slices, in 64 hex digits.
pub(crate) fn digits_of(request: &Request, inputs: &Inputs) -> Result<String> {
    Ok(key::key_of(request, inputs)?.digits)
}

/// Progress of an entry that is being built.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// Another process is building it.
    Waiting,
    /// One more batch is built: the progress, and the bytes written so far.
    Batch(Progress, u64),
    /// The entry is built: the bytes of the temporary file, or 0 without one.
    Built(u64),
}

/// A cache in a folder.
#[derive(Debug)]
pub struct SliceCache {
    folder: EntryFolder,
    size_bytes: u64,
    stall_timeout: Duration,
}

impl SliceCache {
    /// Opens a cache in a folder, which is created if missing, for entries of `size_bytes` in
    /// total.
    ///
    /// # Errors
    ///
    /// A system failure if the folder cannot be created or is not a folder.
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

    /// Sets how long to wait for another process without a heartbeat, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_stall_timeout(mut self, stall_timeout: Duration) -> Self {
        self.stall_timeout = stall_timeout;
        self
    }

    /// The entry that answers a request: found, awaited or built now.
    ///
    /// Then removes the least recently used entries until the rest fits; never the returned one.
    ///
    /// # Errors
    ///
    /// Fails as a run does. A system failure if the entry cannot be written, or if the process that
    /// builds it shows no heartbeat for a minute. [`Code::CorruptInput`] if an input changes
    /// meanwhile.
    pub fn entry(
        &self,
        request: &Request,
        options: &ReadOptions,
        mut tell: impl FnMut(Event),
    ) -> Result<Entry> {
        let inputs = Inputs::find(request, options)?;
        let key = key::key_of(request, &inputs)?;
        // The run that built the entry may not have been strict.
        let checked = |entry: Entry| match entry.first_warning().filter(|_| options.is_strict()) {
            Some(warning) => Err(warning),
            None => Ok(entry),
        };
        if let Some(entry) = self.folder.find(&key.digits) {
            return checked(entry);
        }
        let tell_waiting = || tell(Event::Waiting);
        let entry_writer = match self
            .folder
            .claim(&key.digits, self.stall_timeout, tell_waiting)?
        {
            Claim::Found(entry) => return checked(entry),
            Claim::Ours(entry_writer) => entry_writer,
        };
        let entry = self.make(request, inputs, options, entry_writer, &key, &mut tell)?;
        self.folder.evict(self.size_bytes, entry.path());
        Ok(entry)
    }

    fn make(
        &self,
        request: &Request,
        inputs: Inputs,
        options: &ReadOptions,
        entry_writer: EntryWriter,
        key: &EntryKey,
        tell: &mut impl FnMut(Event),
    ) -> Result<Entry> {
        let (hours, storage) = (inputs.hours.clone(), options.storage());
        let mut batches = SliceBatches::open_inputs(request, inputs, options)?;
        let follow_links = options.follows_links();
        let options = WriteOptions::new(Format::File);
        let written = slices_ipc::write(
            &mut batches,
            options,
            entry_writer.writer(),
            |batches, bytes| {
                if !batches.is_at_end() {
                    tell(Event::Batch(batches.progress(), bytes));
                }
            },
        );
        written.map_err(|error| entry_writer.name(error))?;
        // The files may be newer than those of the key.
        let resolved = discovery::resolve(request, follow_links, &storage)?;
        let inputs = Inputs {
            hours,
            resolved,
            storage,
        };
        let now = key::key_of(request, &inputs)?;
        if now != *key {
            let changed = Error::input(
                Code::CorruptInput,
                "an input changed while it was being read: the slices may mix old and new rows",
            )
            .at_file(request.data())
            .with_hint("run again when no other process writes there");
            return Err(key.name_change(&now, changed));
        }
        tell(Event::Built(batches.report().temporary_bytes));
        entry_writer.complete()
    }

    /// All entries, the last used first.
    ///
    /// # Errors
    ///
    /// A system failure if the folder cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        self.folder.entries()
    }

    /// Removes all entries, and partial ones that killed processes left. Partial entries that a
    /// process is building stay. Returns the number of entries, and the bytes of all removed files.
    ///
    /// # Errors
    ///
    /// A system failure if an entry cannot be removed.
    pub fn clear(&self) -> Result<(usize, u64)> {
        self.folder.clear()
    }

    /// Removes the partial entries of this cache and starts no new ones, for a process about to end
    /// without unwinding. A waiting process then builds the entry.
    pub fn give_up(&self) {
        self.folder.give_up();
    }

    /// The folder of the entries.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
