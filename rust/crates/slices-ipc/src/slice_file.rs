//! Opens a file of slices, of this machine or in storage, and reads it from start to end or at
//! given places.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use slices_core::error::{Code, Error, Result};
use slices_core::request::remote_scheme;
use slices_store::{Step, Storage, StoredObject};

/// An object is read in pieces of this size, each fetched while the one before is read.
const PIECE_BYTES: u64 = 16 << 20;

/// Bytes that are read at given places: of a file of this machine, or of an object.
pub trait BytesAt {
    /// Number of bytes.
    ///
    /// # Errors
    ///
    /// The failure of the system.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Fills `bytes` from `start` on.
    ///
    /// # Errors
    ///
    /// The failure of the file or storage; also if it ends before.
    fn fill_at(&self, bytes: &mut [u8], start: u64) -> io::Result<()>;
}

impl BytesAt for File {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn fill_at(&self, bytes: &mut [u8], start: u64) -> io::Result<()> {
        self.read_exact_at(bytes, start)
    }
}

impl BytesAt for SliceFile {
    fn len_bytes(&self) -> io::Result<u64> {
        match &self.source {
            Source::Local(file) => file.len_bytes(),
            Source::Stored(object) => Ok(object.len()),
        }
    }

    fn fill_at(&self, bytes: &mut [u8], start: u64) -> io::Result<()> {
        match &self.source {
            Source::Local(file) => file.fill_at(bytes, start),
            Source::Stored(object) => {
                let end = start.checked_add(bytes.len() as u64);
                if end.is_none_or(|end| end > object.len()) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                object.read_exact_at(bytes, start).map_err(io::Error::other)
            }
        }
    }
}

/// An open file of slices.
#[derive(Debug)]
pub struct SliceFile {
    source: Source,
    position: u64,
}

#[derive(Debug)]
enum Source {
    Local(File),
    Stored(Arc<StoredObject>),
}

impl SliceFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// [`Code::DeserializationError`] if it is missing or unreadable. A system error if the storage
    /// cannot be reached.
    pub fn open(path: &Path, storage: &Storage) -> Result<Self> {
        let source = if remote_scheme(path).is_some() {
            if !storage.exists(path)? {
                let error = io::Error::new(io::ErrorKind::NotFound, "the object does not exist");
                return Err(not_readable(path, &error));
            }
            Source::Stored(storage.open(path)?)
        } else {
            Source::Local(open_local(path)?)
        };
        Ok(Self {
            source,
            position: 0,
        })
    }

    /// Checks that an object is still the one that was opened.
    ///
    /// # Errors
    ///
    /// [`Code::CorruptInput`] if it was replaced or removed.
    pub fn check_named(&self) -> Result<()> {
        match &self.source {
            Source::Local(_) => Ok(()),
            Source::Stored(object) => object.check_named(),
        }
    }

    /// Whether it can be read at any place: a regular file or an object, but not a pipe.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        match &self.source {
            Source::Local(file) => file.metadata().is_ok_and(|metadata| metadata.is_file()),
            Source::Stored(_) => true,
        }
    }
}

impl Read for SliceFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Local(file) => file.read(buffer),
            Source::Stored(object) => read_on(object, &mut self.position, buffer),
        }
    }
}

/// Reads an object on from a position. Fetches a piece ahead, and frees those that were read.
fn read_on(object: &Arc<StoredObject>, position: &mut u64, buffer: &mut [u8]) -> io::Result<usize> {
    if *position >= object.len() || buffer.is_empty() {
        return Ok(0);
    }
    let piece = |at: u64| {
        let start = at / PIECE_BYTES * PIECE_BYTES;
        start..object.len().min(start + PIECE_BYTES)
    };
    if *position == 0 {
        let starts = (0..object.len()).step_by(PIECE_BYTES as usize);
        let step = |start| Step {
            once: vec![piece(start)],
            shared: Vec::new(),
        };
        object
            .plan(starts.map(step).collect(), true)
            .map_err(io::Error::other)?;
    }
    let current: Range<u64> = piece(*position);
    if *position == current.start {
        object
            .want(std::slice::from_ref(&current))
            .map_err(io::Error::other)?;
    }
    let left = usize::try_from(current.end - *position).unwrap_or(usize::MAX);
    let part = object.readable(*position, buffer.len().min(left));
    let part = part.map_err(io::Error::other)?;
    let (file, at) = part.file();
    file.read_exact_at(&mut buffer[..part.bytes], at)?;
    *position += part.bytes as u64;
    if *position == current.end {
        object.done(&current);
    }
    Ok(part.bytes)
}

fn open_local(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| not_readable(path, &error).with_source(error))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            Err(not_readable(path, &error))
        }
        _ => Ok(file),
    }
}

pub(super) fn not_readable(name: &Path, error: &io::Error) -> Error {
    // A failure of the storage says itself what to do.
    if let Some(own) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>())
    {
        let own_kind = match own.kind() {
            slices_core::ErrorKind::System => Error::system(own.message()),
            _ => Error::input(Code::DeserializationError, own.message()),
        };
        let hint = own.hint().cloned();
        return own_kind
            .at_file(name)
            .with_hint(hint.unwrap_or_else(|| "run again".into()));
    }
    let what = format!("cannot read the slices: {error}");
    Error::input(Code::DeserializationError, what)
        .at_file(name)
        .with_hint("check that it exists and is readable")
}
