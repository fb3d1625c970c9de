//! Owns the folder: which names are entries, whose turn it is to make one, and what is removed.
//!
//! An entry in the making lies under a name of its own and is locked by whoever makes it. The lock is the
//! system's and belongs to the open file, so it ends with the process, however that ends; it becomes the
//! entry by a renaming. Whoever gets the lock of a file that is no longer under its name came too late, and
//! looks again.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;

use crate::cache::Entry;
use crate::error::{Class, Error, Result};

const ENTRY_EXTENSION: &str = "arrow";
const MAKING_EXTENSION: &str = "partial";

/// Digits of a key.
const KEY_DIGITS: usize = 64;

#[derive(Debug)]
pub(super) struct EntryFolder(PathBuf);

/// Whose turn it is.
pub(super) enum Turn {
    /// Another one has made the entry meanwhile.
    Made(Entry),
    Ours(Making),
}

/// The right to make an entry, until this is dropped.
#[derive(Debug)]
pub(super) struct Making {
    file: File,
    path: PathBuf,
    target: PathBuf,
    completed: bool,
}

impl EntryFolder {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The entry of a key, which is used now.
    pub fn find(&self, key: &str) -> Option<Entry> {
        let entry = Entry::open(&self.file_of(key, ENTRY_EXTENSION))?;
        entry.touch();
        Some(entry)
    }

    /// Waits until nobody else makes the entry; `tell_waiting` is called before, if somebody does.
    pub fn take_turn(&self, key: &str, tell_waiting: impl FnOnce()) -> Result<Turn> {
        let path = self.file_of(key, MAKING_EXTENSION);
        let mut tell_waiting = Some(tell_waiting);
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let file = open_regular(&mut options, &path)
                .map_err(|error| failed("written", &path, error))?;
            let lock = match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    if let Some(tell_waiting) = tell_waiting.take() {
                        tell_waiting();
                    }
                    file.lock()
                }
                Err(TryLockError::Error(error)) => Err(error),
                Ok(()) => Ok(()),
            };
            lock.map_err(|error| failed("locked", &path, error))?;
            if !is_named(&file, &path) {
                continue;
            }
            let making = Making {
                file,
                path,
                target: self.file_of(key, ENTRY_EXTENSION),
                completed: false,
            };
            if let Some(entry) = self.find(key) {
                return Ok(Turn::Made(entry));
            }
            // What a killed process may have left.
            let emptied = making.file.set_len(0);
            emptied.map_err(|error| failed("written", &making.path, error))?;
            return Ok(Turn::Ours(making));
        }
    }

    /// Removes the entries that were not used for longest until the others fit, and what killed processes
    /// left; never `kept`. What cannot be removed stays: the entry that was asked for is there.
    pub fn evict(&self, size_bytes: u64, kept: &Path) {
        let Ok(mut files) = self.files() else { return };
        files.sort_by_key(|file| file.last_used);
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        for file in files.iter().filter(|file| file.path != kept) {
            let goes = file.is_making() || total > size_bytes;
            if goes && file.remove().is_ok_and(|removed| removed) {
                total -= file.bytes;
            }
        }
    }

    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut files = self.files()?;
        files.sort_by_key(|file| std::cmp::Reverse(file.last_used));
        let files = files.iter().filter(|file| !file.is_making());
        Ok(files.filter_map(|file| Entry::open(&file.path)).collect())
    }

    pub fn clear(&self) -> Result<(usize, u64)> {
        let (mut count, mut bytes) = (0, 0);
        for file in self.files()? {
            let removed = file.remove();
            if removed.map_err(|error| failed("removed", &file.path, error))? {
                count += usize::from(!file.is_making());
                bytes += file.bytes;
            }
        }
        Ok((count, bytes))
    }

    fn file_of(&self, key: &str, extension: &str) -> PathBuf {
        self.0.join(format!("{key}.{extension}"))
    }

    /// Everything that is ours by its name.
    fn files(&self) -> Result<Vec<CacheFile>> {
        let unreadable = |error| failed("listed", &self.0, error);
        let mut files = Vec::new();
        for found in fs::read_dir(&self.0).map_err(unreadable)? {
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

impl Making {
    pub fn writer(&self) -> &File {
        &self.file
    }

    /// Adds to an error of the output which file it is.
    pub fn name(&self, error: Error) -> Error {
        if error.class() == Class::System {
            let hint = "make room there, or name another folder; nothing was left behind";
            error.at_file(&self.path).with_hint(hint)
        } else {
            error
        }
    }

    /// Makes it the entry, durably.
    pub fn complete(mut self) -> Result<Entry> {
        let complete = || {
            self.file.sync_all()?;
            fs::rename(&self.path, &self.target)?;
            let folder = self.target.parent().unwrap_or(Path::new("."));
            // A folder that may be written to but not read cannot be synced; the file is there.
            File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
        };
        complete().map_err(|error| failed("completed", &self.target, error))?;
        self.completed = true;
        // Not by its name: another process may have removed it by now.
        let file = self.file.try_clone();
        let file = file.map_err(|error| failed("read", &self.target, error))?;
        Entry::of(file, &self.target).ok_or_else(|| {
            Error::system("what was written cannot be read back")
                .at_file(&self.target)
                .with_hint("look at the disk; nothing of it was used")
        })
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Still under lock: nobody can have begun to write to it.
        if !self.completed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file of the cache: an entry, or one in the making.
struct CacheFile {
    path: PathBuf,
    bytes: u64,
    last_used: SystemTime,
}

impl CacheFile {
    fn is_making(&self) -> bool {
        self.path.extension() == Some(OsStr::new(MAKING_EXTENSION))
    }

    /// Removes it. `false` where somebody is making it, or it is gone. Whoever has it open goes on reading.
    fn remove(&self) -> io::Result<bool> {
        if self.is_making() {
            let Ok(file) = open_regular(File::options().write(true), &self.path) else {
                return Ok(false);
            };
            if file.try_lock().is_err() || !is_named(&file, &self.path) {
                return Ok(false);
            }
            // The lock is held until it is gone.
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

/// Whether a name is that of an entry or of one in the making: nothing else in the folder is ours.
fn is_ours(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    let key = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    matches!(extension, Some(ENTRY_EXTENSION | MAKING_EXTENSION))
        && key.len() == KEY_DIGITS
        && key
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Opens a regular file, and nothing else: whoever may write to the folder could put a link to another file
/// there, or a pipe that waits for ever.
pub(super) fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    // With a second name it would be a file of somebody else, too.
    if metadata.nlink() > 1 {
        return Err(io::Error::other("it has another name"));
    }
    Ok(file)
}

/// Whether an open file is the one under a name.
fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::system(format!("the cache cannot be {what}: {error}"))
        .at_file(path)
        .with_hint("name a folder that may be written to, on a file system with locks")
        .with_source(error)
}
