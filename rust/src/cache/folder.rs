//! Manages the cache folder: finds entries, decides which process builds one, and removes old ones.
//!
//! A process builds an entry under a partial name, in a file that it keeps locked. The lock belongs
//! to the open file, so the system releases it when the process ends in any way. A rename turns the
//! finished file into the entry.
//!
//! A heartbeat renews the modification time of the locked file. Waiting processes can thus tell a
//! slow writer from a stopped one. A process that locks a file whose name is gone came too late and
//! tries again.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;

use crate::cache::Entry;
use slices_core::error::{Error, ErrorKind, Result};
use slices_core::hint::{Setting, hint};

const ENTRY_EXTENSION: &str = "arrow";
const PARTIAL_EXTENSION: &str = "partial";

/// Number of hex digits in a key.
const KEY_DIGITS: usize = 64;

/// The interval at which a writer renews the modification time.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// The interval at which waiting processes try the lock.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct EntryFolder {
    path: PathBuf,
    unfinished: Arc<Mutex<Unfinished>>,
}

/// The entries that this process is building.
#[derive(Debug, Default)]
struct Unfinished {
    paths: Vec<PathBuf>,
    /// No entry is started or completed any more.
    given_up: bool,
}

/// The outcome of a claim on an entry.
pub(super) enum Claim {
    /// Another process has built the entry meanwhile.
    Found(Entry),
    Ours(EntryWriter),
}

/// The right to build an entry, until it is dropped.
#[derive(Debug)]
pub(super) struct EntryWriter {
    file: File,
    path: PathBuf,
    target: PathBuf,
    unfinished: Arc<Mutex<Unfinished>>,
    heartbeat: Option<Heartbeat>,
}

/// Renews the modification time of a file until it is dropped.
#[derive(Debug)]
struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The outcome of an attempt to start an entry.
enum Begun {
    Ours(EntryWriter),
    /// Another process holds the lock.
    Theirs(File),
    /// The opened file no longer has its name.
    TooLate,
}

impl EntryFolder {
    pub fn new(folder: PathBuf) -> Self {
        Self {
            path: folder,
            unfinished: Arc::default(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds the entry of a key and marks it as used.
    pub fn find(&self, key: &str) -> Option<Entry> {
        let entry = Entry::open(&self.file_of(key, ENTRY_EXTENSION))?;
        entry.touch();
        Some(entry)
    }

    /// Waits until no other process builds the entry, calling `tell_waiting` first if one does.
    /// Fails if that process shows no heartbeat for `stall_timeout`.
    pub fn claim(
        &self,
        key: &str,
        stall_timeout: Duration,
        tell_waiting: impl FnOnce(),
    ) -> Result<Claim> {
        let path = self.file_of(key, PARTIAL_EXTENSION);
        let mut tell_waiting = Some(tell_waiting);
        loop {
            let entry_writer = match self.begin(&path, key)? {
                Begun::Ours(entry_writer) => entry_writer,
                Begun::TooLate => continue,
                Begun::Theirs(file) => {
                    if let Some(tell_waiting) = tell_waiting.take() {
                        tell_waiting();
                    }
                    wait(&file, &path, stall_timeout)?;
                    continue;
                }
            };
            if let Some(entry) = self.find(key) {
                return Ok(Claim::Found(entry));
            }
            return Ok(Claim::Ours(entry_writer.start_heartbeat()?));
        }
    }

    /// Takes the lock of a partial entry, if it is free.
    fn begin(&self, path: &Path, key: &str) -> Result<Begun> {
        // Hold the mutex, so that `give_up` cannot run between creating and noting the file.
        let mut unfinished = lock(&self.unfinished);
        unfinished.check(path)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file =
            open_regular(&mut options, path).map_err(|error| failed("write", path, error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(Begun::Theirs(file)),
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, error)),
            Ok(()) => {}
        }
        if !is_named(&file, path) {
            return Ok(Begun::TooLate);
        }
        unfinished.paths.push(path.to_owned());
        Ok(Begun::Ours(EntryWriter {
            file,
            path: path.to_owned(),
            target: self.file_of(key, ENTRY_EXTENSION),
            unfinished: self.unfinished.clone(),
            heartbeat: None,
        }))
    }

    /// Removes the partial entries of this process, and starts no new ones.
    pub fn give_up(&self) {
        let mut unfinished = lock(&self.unfinished);
        unfinished.given_up = true;
        for path in &unfinished.paths {
            // The lock is still held: no other process can have started to write to it.
            let _ = fs::remove_file(path);
        }
    }

    /// Removes the least recently used entries until the others fit, and files that killed
    /// processes left; never `kept`. Ignores files that it cannot remove: the requested entry
    /// exists.
    pub fn evict(&self, size_bytes: u64, kept: &Path) {
        let Ok(mut files) = self.files() else { return };
        files.sort_by_key(|file| file.last_used);
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files.iter().filter(|file| file.path != kept) {
            let goes = file.is_partial() || total > size_bytes;
            if goes && file.remove().is_ok_and(|removed| removed) {
                total -= file.bytes;
            }
        }
    }

    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut files = self.files()?;
        files.sort_by_key(|file| std::cmp::Reverse(file.last_used));
        let files = files.iter().filter(|file| !file.is_partial());
        Ok(files.filter_map(|file| Entry::open(&file.path)).collect())
    }

    pub fn clear(&self) -> Result<(usize, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for file in self.files()? {
            let removed = file.remove();
            if removed.map_err(|error| failed("remove", &file.path, error))? {
                count += usize::from(!file.is_partial());
                bytes += file.bytes;
            }
        }
        Ok((count, bytes))
    }

    fn file_of(&self, key: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{key}.{extension}"))
    }

    /// Lists all files with names of entries or partial entries.
    fn files(&self) -> Result<Vec<CacheFile>> {
        let unreadable = |error| failed("list", &self.path, error);
        let mut files = Vec::new();
        for found in fs::read_dir(&self.path).map_err(unreadable)? {
            let path = found.map_err(unreadable)?.path();
            // Another process may have removed it.
            if let (true, Ok(metadata)) = (is_ours(&path), fs::symlink_metadata(&path))
                && metadata.is_file()
            {
                files.push(CacheFile {
                    bytes: metadata.size(),
                    last_used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    path,
                });
            }
        }
        Ok(files)
    }
}

impl EntryWriter {
    pub fn writer(&self) -> &File {
        &self.file
    }

    /// Adds the file to an error of the output.
    pub fn name(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::System {
            let hint = "make room there or name another folder; no partial file remains";
            error.at_file(&self.path).with_hint(hint)
        } else {
            error
        }
    }

    /// Empties the file, which a killed process may have filled, and starts the heartbeat.
    fn start_heartbeat(mut self) -> Result<Self> {
        let mut begin = || {
            self.file.set_len(0)?;
            self.heartbeat = Some(Heartbeat::of(self.file.try_clone()?)?);
            Ok(())
        };
        begin().map_err(|error| failed("write", &self.path, error))?;
        Ok(self)
    }

    /// Turns the partial file into the entry, durably.
    pub fn complete(mut self) -> Result<Entry> {
        let synced = self.file.sync_all();
        let complete = || {
            synced?;
            fs::rename(&self.path, &self.target)?;
            let folder = self.target.parent().unwrap_or(Path::new("."));
            // A writable folder without read permission cannot be synced; the file exists all the
            // same.
            File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
        };
        let mut unfinished = lock(&self.unfinished);
        unfinished.check(&self.path)?;
        complete().map_err(|error| failed("complete", &self.target, error))?;
        unfinished.paths.retain(|path| *path != self.path);
        drop(unfinished);
        self.heartbeat = None;
        // Use the open file: another process may have removed the name by now.
        let file = self.file.try_clone();
        let file = file.map_err(|error| failed("read", &self.target, error))?;
        Entry::of(file, &self.target).ok_or_else(|| {
            Error::system("cannot read back the cache entry that was just written")
                .at_file(&self.target)
                .with_hint("check the disk; the entry was not used")
        })
    }
}

impl Drop for EntryWriter {
    fn drop(&mut self) {
        let mut unfinished = lock(&self.unfinished);
        if let Some(place) = unfinished.paths.iter().position(|path| *path == self.path) {
            unfinished.paths.swap_remove(place);
            // The lock is still held: no other process can have started to write to it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Unfinished {
    fn check(&self, path: &Path) -> Result<()> {
        if self.given_up {
            return Err(Error::system("building the cache entry was cancelled")
                .at_file(path)
                .with_hint("run it again"));
        }
        Ok(())
    }
}

fn lock(unfinished: &Mutex<Unfinished>) -> MutexGuard<'_, Unfinished> {
    // No code panics while it holds the mutex.
    unfinished.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heartbeat {
    fn of(file: File) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let renew = move || {
            while stopped.recv_timeout(HEARTBEAT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // If this fails, waiting processes still see the file grow.
                let _ = file.set_modified(SystemTime::now());
            }
        };
        let thread = thread::Builder::new().name("heartbeat".to_owned());
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.spawn(renew)?),
        })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread holds the file, and with it the lock.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until the file is unlocked, or fails if it shows no heartbeat for `stall_timeout`.
fn wait(file: &File, path: &Path, stall_timeout: Duration) -> Result<()> {
    let state = || {
        let metadata = file.metadata();
        metadata.map(|now| (now.len(), now.mtime(), now.mtime_nsec()))
    };
    let state = || state().map_err(|error| failed("read", path, error));
    let (mut seen, mut since) = (state()?, Instant::now());
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, error)),
            Err(TryLockError::WouldBlock) => thread::sleep(POLL_INTERVAL),
        }
        let now = state()?;
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() >= stall_timeout {
            let seconds = stall_timeout.as_secs();
            let message = format!(
                "timed out after {seconds} s: another process is building this cache entry and has stopped"
            );
            return Err(Error::system(message).at_file(path).with_hint(hint![
                "find the process that holds the file (fuser FILE) and resume or end it, \
                 or run without ",
                Setting::Cache,
            ]));
        }
    }
}

/// A file of the cache: an entry or a partial entry.
struct CacheFile {
    path: PathBuf,
    bytes: u64,
    last_used: SystemTime,
}

impl CacheFile {
    fn is_partial(&self) -> bool {
        self.path.extension() == Some(OsStr::new(PARTIAL_EXTENSION))
    }

    /// Removes it. `false` if a process is building it, or if it is gone. Processes that have it
    /// open keep reading.
    fn remove(&self) -> io::Result<bool> {
        if self.is_partial() {
            let Ok(file) = open_regular(File::options().write(true), &self.path) else {
                return Ok(false);
            };
            if file.try_lock().is_err() || !is_named(&file, &self.path) {
                return Ok(false);
            }
            // The lock is held until the file is gone.
            return remove_if_there(&self.path);
        }
        remove_if_there(&self.path)
    }
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a name is that of an entry or partial entry; the cache touches no other file.
fn is_ours(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    let key = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    matches!(extension, Some(ENTRY_EXTENSION | PARTIAL_EXTENSION))
        && key.len() == KEY_DIGITS
        && key
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Opens a regular file only. Others who can write to the folder could put a link or a blocking
/// pipe there.
pub(super) fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // A hard link could make it a file of another user too.
    if metadata.nlink() > 1 {
        return Err(io::Error::other("it has a second name (a hard link)"));
    }
    Ok(file)
}

/// Whether an open file is the one that a path names.
fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::system(format!("cannot {what} the cache: {error}"))
        .at_file(path)
        .with_hint("name a writable folder on a file system that supports locks")
        .with_source(error)
}
