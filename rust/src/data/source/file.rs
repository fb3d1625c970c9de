//! Owns access to one input file: opening it, reading it at stated offsets, knowing whether it is still
//! the same one, and the place where the decoder's errors and panics become errors of the file.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::error::{Code, Error, Result};
use crate::guard::catch_panic;

/// What tells whether a path still names the very same, unchanged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// A file read at stated offsets, so that no cursor is shared between columns.
#[derive(Debug, Clone)]
pub(super) struct PositionedFile {
    file: Arc<File>,
    /// The length when it was opened.
    bytes: u64,
}

impl PositionedFile {
    pub fn identity(&self) -> io::Result<Identity> {
        let metadata = self.file.metadata()?;
        Ok(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }

    /// Everything from `offset` on.
    pub fn read_from(&self, offset: u64) -> PositionedRead {
        PositionedRead {
            file: self.file.clone(),
            offset,
        }
    }

    /// The same open file, for as long as somebody reads from it.
    pub fn downgrade(&self) -> WeakFile {
        WeakFile {
            file: Arc::downgrade(&self.file),
            bytes: self.bytes,
        }
    }
}

/// A [`PositionedFile`] that may have been closed since.
#[derive(Debug, Clone)]
pub(super) struct WeakFile {
    file: Weak<File>,
    bytes: u64,
}

impl WeakFile {
    pub fn upgrade(&self) -> Option<PositionedFile> {
        Some(PositionedFile {
            file: self.file.upgrade()?,
            bytes: self.bytes,
        })
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
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.len()) {
            // Before any memory is set aside: a damaged length must not cost gigabytes.
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} lie beyond the end of the file"
            )));
        }
        // Straight into memory that nobody has written zeros to before.
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let offset = start + bytes.len() as u64;
            let read = match pread(&self.file, spare_capacity(&mut bytes), offset) {
                Err(Errno::INTR) => continue,
                outcome => outcome.map_err(io::Error::from)?,
            };
            if read == 0 {
                return Err(ParquetError::EOF("the file became shorter".to_owned()));
            }
        }
        // The capacity may be a little larger than what was asked for.
        bytes.truncate(length);
        Ok(bytes.into())
    }
}

#[derive(Debug)]
pub(super) struct PositionedRead {
    file: Arc<File>,
    offset: u64,
}

impl Read for PositionedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        if read == 0 && !buffer.is_empty() {
            // No page ends with the file: a damaged length in a header leads here. Without an error
            // the library would go on for as long as that length says.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        Ok(read)
    }
}

pub(super) fn open_file(path: &Path) -> Result<(PositionedFile, Identity)> {
    // Looked at before it is opened: opening a pipe would wait for somebody to write to it.
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if !metadata.is_file() {
        return Err(
            Error::input(Code::CorruptInput, "the input is no regular file")
                .at_file(path)
                .with_hint("put a regular file in its place"),
        );
    }
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let mut file = PositionedFile {
        file: Arc::new(file),
        bytes: 0,
    };
    let identity = file.identity().map_err(|error| unreadable(path, error))?;
    file.bytes = identity.bytes;
    Ok((file, identity))
}

/// An error of the operating system while an input file was opened or asked about.
pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    // Unix numbers of "too many open files", for the process and for the system.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    let error_of_system = matches!(error.raw_os_error(), Some(EMFILE | ENFILE));
    let described = if error_of_system {
        Error::system("too few file descriptors: every series holds one file open")
            .with_hint("raise the limit (ulimit -n) or request fewer symbols at a time")
    } else {
        Error::input(
            Code::CorruptInput,
            format!("the file cannot be read: {error}"),
        )
        .with_hint("check that it exists and may be read")
    };
    described.at_file(path).with_source(error)
}

/// Runs the decoder: its errors and panics are the file's fault.
pub(super) fn guarded<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T> {
    let corrupt = |message: String| {
        Error::input(Code::CorruptInput, message)
            .at_file(path)
            .with_hint("the file is damaged or no Parquet file; write or fetch it again")
    };
    match catch_panic(decode) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            Err(corrupt(format!("the Parquet file cannot be read: {error}")).with_source(error))
        }
        Err(why) => Err(corrupt(format!(
            "the Parquet file cannot be decoded: {why}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A damaged header may claim a length of exabytes; the library reads on while nothing fails.
    #[test]
    fn reading_beyond_the_end_is_an_error_and_not_nothing() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"four").expect("room for four bytes");
        let (opened, _) = open_file(file.path()).expect("the file");
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
