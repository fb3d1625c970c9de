//! Opens an input file, reads it at given offsets, and detects changes to it. Turns errors and
//! panics of the decoder into errors of the file.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Chain, Read};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::panic_guard::catch_panic;
use slices_core::request::remote_scheme;
use slices_store::{Step, Storage, StoredObject};

/// Identifies a file and its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// The time of the last change of any kind, even of permissions. A write whose modification
    /// time was set back shows only here.
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// How the file has changed since, if it has.
    fn change_to(&self, now: &Self) -> Option<&'static str> {
        if (self.device, self.inode) != (now.device, now.inode) {
            Some("it was replaced")
        } else if now.bytes < self.bytes {
            Some("it became shorter")
        } else if now.bytes > self.bytes {
            Some("it became longer")
        } else if self.modified != now.modified {
            Some("it was written to")
        } else if self.changed != now.changed {
            Some(
                "its permissions, owner or links changed, or it was written to and its time was set back",
            )
        } else {
            None
        }
    }
}

/// An input file as it was when first opened; later reads must find the same file.
#[derive(Debug)]
pub(super) struct InputFile {
    path: PathBuf,
    origin: Origin,
}

/// Where the bytes of an input are.
#[derive(Debug)]
enum Origin {
    /// In a file of this machine.
    Local(Identity),
    /// In an object, which stays open.
    Stored(Arc<StoredObject>),
}

impl InputFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file again. That it is the same file implies that it is a regular one, and lies in
    /// its folder.
    pub fn open_again(self: &Arc<Self>) -> Result<PositionedFile> {
        let identity = match &self.origin {
            Origin::Local(identity) => identity,
            Origin::Stored(object) => {
                let source = Source::Stored(object.clone());
                return Ok(PositionedFile::new(source, self.clone(), object.len()));
            }
        };
        let opened = open_without_blocking(&self.path)
            .and_then(|file| Ok((file.metadata()?, file)))
            .map_err(|error| self.gone_or(unreadable(&self.path, error)));
        let (metadata, file) = opened?;
        self.check(identity, &metadata)?;
        Ok(PositionedFile::new(
            Source::Local(file),
            self.clone(),
            metadata.len(),
        ))
    }

    /// Whether it is an object.
    pub fn is_stored(&self) -> bool {
        matches!(self.origin, Origin::Stored(_))
    }

    /// When it was last modified, in nanoseconds since 1970.
    pub fn modified_ns(&self) -> i64 {
        match &self.origin {
            Origin::Local(identity) => {
                let (seconds, nanoseconds) = identity.modified;
                seconds
                    .saturating_mul(1_000_000_000)
                    .saturating_add(nanoseconds)
            }
            Origin::Stored(object) => object.modified_ns(),
        }
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.origin {
            Origin::Local(identity) => identity.bytes,
            Origin::Stored(object) => object.len(),
        }
    }

    /// Checks that the path still names this file, unchanged.
    pub fn check_named(&self) -> Result<()> {
        let identity = match &self.origin {
            Origin::Local(identity) => identity,
            Origin::Stored(object) => return object.check_named(),
        };
        let metadata = fs::metadata(&self.path);
        let metadata = metadata.map_err(|error| self.gone_or(unreadable(&self.path, error)))?;
        self.check(identity, &metadata)
    }

    fn check(&self, identity: &Identity, metadata: &Metadata) -> Result<()> {
        match identity.change_to(&Identity::of(metadata)) {
            Some(what) => Err(self.changed(what)),
            None => Ok(()),
        }
    }

    fn gone_or(&self, error: Error) -> Error {
        let source = std::error::Error::source(&error);
        let source = source.and_then(|source| source.downcast_ref::<io::Error>());
        match source.map(io::Error::kind) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.changed("it was removed")
            }
            _ => error,
        }
    }

    fn changed(&self, what: &str) -> Error {
        let message = format!("the file changed while it was being read: {what}");
        Error::input(Code::CorruptInput, message)
            .at_file(&self.path)
            .with_hint(
                "run again when no process writes there; move new files into place before a run",
            )
    }
}

/// Some bytes of a file that were read, from `start` on.
pub(super) struct FilePart {
    pub start: u64,
    pub bytes: Bytes,
}

impl FilePart {
    /// `length` bytes from `start` on, if all of them were read.
    pub fn get(&self, start: u64, length: usize) -> Option<Bytes> {
        let offset = usize::try_from(start.checked_sub(self.start)?).ok()?;
        let end = offset.checked_add(length)?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(offset..end))
    }

    /// The bytes from `start` on; empty if `start` lies outside.
    pub fn rest_from(&self, start: u64) -> Bytes {
        let end = self.start + self.bytes.len() as u64;
        self.get(start, end.saturating_sub(start) as usize)
            .unwrap_or_default()
    }
}

/// The end of a file, read at once, so that its footer is not read in several parts.
pub(super) struct FileEnd {
    file: PositionedFile,
    part: FilePart,
}

impl FileEnd {
    /// Most footers are shorter: a column chunk takes some 200 bytes.
    const BYTES: u64 = 8 << 10;

    pub fn read(file: &PositionedFile) -> Result<Self, ParquetError> {
        let length = file.len().min(Self::BYTES);
        let start = file.len() - length;
        Ok(Self {
            part: FilePart {
                start,
                bytes: file.get_bytes(start, length as usize)?,
            },
            file: file.clone(),
        })
    }
}

impl Length for FileEnd {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for FileEnd {
    type T = Chain<Reader<Bytes>, BufReader<PositionedRead>>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let known = self.part.rest_from(start);
        let after = self.file.read_from(start + known.len() as u64);
        Ok(known.reader().chain(BufReader::new(after)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self.part.get(start, length) {
            Some(bytes) => Ok(bytes),
            None => self.file.get_bytes(start, length),
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    source: Source,
    /// All its bytes, if it is small and they were read at once.
    contents: Option<Bytes>,
}

/// The bytes of an open file.
#[derive(Debug)]
enum Source {
    Local(File),
    /// An object. Its bytes arrive before they are needed, if they were announced.
    Stored(Arc<StoredObject>),
}

impl Source {
    /// Appends some of the next bytes, at most until the length is `length`. Appends none at the
    /// end.
    fn read(&self, bytes: &mut Vec<u8>, length: usize, offset: u64) -> Result<usize, ParquetError> {
        match self {
            // Read into uninitialised capacity, without writing zeros first.
            Self::Local(file) => loop {
                match pread(file, spare_capacity(bytes), offset) {
                    Err(Errno::INTR) => {}
                    outcome => return Ok(outcome.map_err(io::Error::from)?),
                }
            },
            Self::Stored(object) => {
                let from = bytes.len();
                let part = object.readable(offset, length - from).map_err(failed)?;
                bytes.resize(from + part.bytes, 0);
                let (file, at) = part.file();
                file.read_exact_at(&mut bytes[from..], at)?;
                Ok(part.bytes)
            }
        }
    }
}

/// An error of the storage within a call of the library. [`PositionedFile::guarded`] finds the
/// original.
fn failed(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// A file of at most this size is small.
pub(super) const SMALL_FILE_BYTES: u64 = 64 << 10;

/// A file read at given offsets, so that columns do not share a cursor.
#[derive(Debug, Clone)]
pub(super) struct PositionedFile {
    file: Arc<OpenFile>,
    input: Arc<InputFile>,
    /// The length when it was opened.
    bytes: u64,
}

impl PositionedFile {
    fn new(source: Source, input: Arc<InputFile>, bytes: u64) -> Self {
        Self {
            file: Arc::new(OpenFile {
                source,
                contents: None,
            }),
            input,
            bytes,
        }
    }

    /// Reads a small file at once, so that all later reads come from memory.
    pub fn with_contents(mut self) -> Result<Self> {
        if self.bytes <= SMALL_FILE_BYTES {
            let contents = self.guarded(|| self.get_bytes(0, self.bytes as usize))?;
            if let Some(open) = Arc::get_mut(&mut self.file) {
                open.contents = Some(contents);
            }
        }
        Ok(self)
    }

    pub fn input(&self) -> &Arc<InputFile> {
        &self.input
    }

    /// Reads from `offset` on.
    pub fn read_from(&self, offset: u64) -> PositionedRead {
        PositionedRead {
            file: self.file.clone(),
            offset,
        }
    }

    /// Reads bytes without the check that the file is unchanged. [`Self::check_unchanged`] has to
    /// come before anything relies on them.
    pub fn peek(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.len()) {
            // Check before reserving memory: a damaged length must not cost gigabytes.
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} lie beyond the end of the file"
            )));
        }
        if let Some(contents) = &self.file.contents {
            let start = start as usize;
            return Ok(contents.slice(start..start + length));
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let offset = start + bytes.len() as u64;
            if self.file.source.read(&mut bytes, length, offset)? == 0 {
                return Err(ParquetError::EOF("the file became shorter".to_owned()));
            }
        }
        // The capacity may be larger than requested.
        bytes.truncate(length);
        Ok(bytes.into())
    }

    /// A weak handle, which ends with the last reader of the file.
    pub fn downgrade(&self) -> Weak<OpenFile> {
        Arc::downgrade(&self.file)
    }

    /// The open file of this input, if a reader still holds it.
    pub fn upgrade(file: &Weak<OpenFile>, input: &Arc<InputFile>) -> Option<Self> {
        let bytes = input.bytes();
        Some(Self {
            file: file.upgrade()?,
            input: input.clone(),
            bytes,
        })
    }

    /// Checks that the file is unchanged since it was opened, so that all reads are consistent.
    pub fn check(&self) -> Result<()> {
        match (&self.file.source, &self.input.origin) {
            (Source::Local(file), Origin::Local(identity)) => {
                let metadata = file.metadata();
                let path = &self.input.path;
                let metadata = metadata.map_err(|error| unreadable(path, error))?;
                self.input.check(identity, &metadata)
            }
            // Each answer is of the version that was opened.
            (Source::Stored(object), _) | (_, Origin::Stored(object)) => object.check_read(),
        }
    }

    /// Whether it is an object, of which every byte has to be fetched.
    pub fn is_stored(&self) -> bool {
        matches!(self.file.source, Source::Stored(_))
    }

    /// Announces what will be read of an object, step by step; `all` of it, or some.
    pub fn plan(&self, steps: Vec<Step>, all: bool) -> Result<()> {
        match &self.file.source {
            Source::Local(_) => Ok(()),
            Source::Stored(object) => object.plan(steps, all),
        }
    }

    /// Says that some ranges are about to be read, so that an object is asked for them at once.
    pub fn want(&self, ranges: &[Range<u64>]) -> Result<(), ParquetError> {
        match &self.file.source {
            Source::Local(_) => Ok(()),
            Source::Stored(object) => object.want(ranges).map_err(failed),
        }
    }

    /// Says that the one reader of announced ranges is done with them.
    pub fn done(&self, ranges: &[Range<u64>]) {
        if let Source::Stored(object) = &self.file.source {
            ranges.iter().for_each(|range| object.done(range));
        }
    }

    /// [`Self::check`] within a call of the library.
    pub fn check_unchanged(&self) -> Result<(), ParquetError> {
        let checked = self.check();
        checked.map_err(|changed| ParquetError::General(changed.message().to_owned()))
    }

    /// Runs the decoder; its errors and panics become errors of the file, or of a change to it.
    pub fn guarded<T>(&self, decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
        let damaged = |message| damaged(&self.input.path, message);
        let damaged = match catch_panic(decode) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(ParquetError::External(error))) if error.is::<Error>() => {
                return Err(*error.downcast().expect("it is an error of ours"));
            }
            Ok(Err(error)) => {
                damaged(format!("cannot read the Parquet file: {error}")).with_source(error)
            }
            Err(why) => damaged(format!("cannot decode the Parquet file: {why}")),
        };
        self.check()?;
        Err(damaged)
    }
}

impl Length for PositionedFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for PositionedFile {
    type T = BufReader<PositionedRead>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(self.read_from(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.peek(start, length)?;
        if self.file.contents.is_some() {
            // Checked when all were read.
            return Ok(bytes);
        }
        // Check before returning the bytes: changed bytes must not reach a slice. The headers read
        // earlier are then consistent too.
        self.check_unchanged()?;
        Ok(bytes)
    }
}

#[derive(Debug)]
pub(super) struct PositionedRead {
    file: Arc<OpenFile>,
    offset: u64,
}

impl Read for PositionedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &self.file.source {
            Source::Local(file) => file.read_at(buffer, self.offset)?,
            Source::Stored(object) if self.offset < object.len() => {
                let left = usize::try_from(object.len() - self.offset).unwrap_or(usize::MAX);
                let part = object.readable(self.offset, buffer.len().min(left));
                let part = part.map_err(io::Error::other)?;
                let (file, at) = part.file();
                file.read_at(&mut buffer[..part.bytes], at)?
            }
            Source::Stored(_) => 0,
        };
        if read == 0 && !buffer.is_empty() {
            // No page ends with the file, so a damaged length leads here. Without an error, the
            // library would read on for the declared length.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        Ok(read)
    }
}

/// Opens an input file for the first time.
pub(super) fn open_file(
    path: &Path,
    within: Option<&Path>,
    storage: &Storage,
) -> Result<PositionedFile> {
    let (source, origin, bytes) = if remote_scheme(path).is_some() {
        let object = storage.open(path)?;
        let bytes = object.len();
        (
            Source::Stored(object.clone()),
            Origin::Stored(object),
            bytes,
        )
    } else {
        let (file, metadata) = open_regular(path, within)?;
        let identity = Identity::of(&metadata);
        (Source::Local(file), Origin::Local(identity), metadata.len())
    };
    let input = InputFile {
        path: path.to_owned(),
        origin,
    };
    Ok(PositionedFile::new(source, Arc::new(input), bytes))
}

fn open_regular(path: &Path, within: Option<&Path>) -> Result<(File, Metadata)> {
    let unreadable = |error| unreadable(path, error);
    // Check the type before opening: opening a pipe would block until a writer comes.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Error::input(
            Code::CorruptInput,
            "cannot read the input: expected a regular file",
        )
        .at_file(path)
        .with_hint("replace it with a regular file"));
    }
    let file = open_without_blocking(path).map_err(unreadable)?;
    check_within(&file, path, within)?;
    let metadata = file.metadata().map_err(unreadable)?;
    Ok((file, metadata))
}

/// Opens a file, also if the path has become a pipe meanwhile.
fn open_without_blocking(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

/// Checks that an open file lies in the folder `within`, if set, with links resolved.
///
/// Asks the system for the path of the open file, so that a link placed meanwhile has no effect.
///
/// # Errors
///
/// [`Code::SymbolNotFound`] if it lies elsewhere.
pub fn check_within(file: &File, path: &Path, within: Option<&Path>) -> Result<()> {
    let Some(folder) = within else { return Ok(()) };
    let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
        // Without /proc, resolve the path as it is now.
        .or_else(|_| fs::canonicalize(path))
        .map_err(|error| unreadable(path, error))?;
    if real.starts_with(folder) {
        return Ok(());
    }
    let (real, folder) = (real.display(), folder.display());
    let message = format!("the file lies outside {folder}: a link leads to {real}");
    Err(Error::input(Code::SymbolNotFound, message)
        .at_file(path)
        .with_hint(hint![
            "allow links with ",
            Setting::FollowLinks,
            ", or copy the file there"
        ]))
}

/// The error for a file whose parts contradict each other, or cannot be decoded.
pub(super) fn damaged(path: &Path, message: impl Into<String>) -> Error {
    Error::input(Code::CorruptInput, message)
        .at_file(path)
        .with_hint("write or download the file again: it is damaged or not a Parquet file")
}

/// Whether a file could not be opened since too many are open.
pub(super) fn is_out_of_descriptors(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(lacks_descriptors)
}

fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// Describes a system error of opening or checking an input file.
fn unreadable(path: &Path, error: io::Error) -> Error {
    let described = if lacks_descriptors(&error) {
        Error::system("too few file descriptors: every series keeps one file open")
            .with_hint("raise the limit (ulimit -n) or request fewer symbols")
    } else {
        Error::input(Code::CorruptInput, format!("cannot read the file: {error}"))
            .with_hint("check that it exists and is readable")
    };
    described.at_file(path).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A damaged header may declare exabytes; the library reads on until an error.
    #[test]
    fn reading_beyond_the_end_is_an_error_and_not_nothing() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"four").expect("room for four bytes");
        let opened = open_file(file.path(), None, &Storage::default()).expect("the file");
        let mut read = String::new();
        let outcome = opened
            .get_read(1)
            .expect("a place inside")
            .read_to_string(&mut read);
        assert_eq!(
            outcome.map_err(|error| error.kind()),
            Err(io::ErrorKind::UnexpectedEof)
        );
        assert_eq!(&opened.get_bytes(1, 3).expect("three bytes")[..], b"our");
        assert!(opened.get_bytes(1, 4).is_err());
    }
}
