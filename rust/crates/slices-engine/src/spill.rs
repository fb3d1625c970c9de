//! Keeps columns of values in a temporary file, brought into the order of time.
//!
//! Series are read side by side, but each column chunk of a file has to be decoded from its start.
//! So a decoder of each column stays in memory, with the page that it is at. If these are too many,
//! each column is decoded once, alone, and written here in pieces: first the first piece of every
//! column, then the second ones, and so on. Reading them side by side then goes through the file
//! from start to end, and takes the memory of a piece per column.
//!
//! The file has no name, so it ends with the process. Its whole size is taken before it is written,
//! so that a full disk shows at once.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use arrow::buffer::MutableBuffer;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::memory::size_up;
use bytesize::ByteSize;
use slices_core::error::{Error, Result};
use slices_core::hint::{Setting, hint};
use slices_store::FreeDisk;

/// The size of a value.
const VALUE_BYTES: u64 = size_of::<f64>() as u64;

/// The places of columns in the file.
#[derive(Debug)]
struct Layout {
    /// Number of rows of a piece; the last one of a column may be shorter.
    piece_rows: usize,
    /// For each column its number of rows, and where each of its pieces begins, in bytes.
    columns: Vec<(u64, Vec<u64>)>,
    bytes: u64,
}

impl Layout {
    fn new(rows: &[u64], piece_rows: usize) -> Self {
        let mut columns: Vec<_> = rows.iter().map(|&rows| (rows, Vec::new())).collect();
        let mut at = 0;
        let pieces = rows.iter().map(|rows| rows.div_ceil(piece_rows as u64));
        for piece in 0..pieces.max().unwrap_or(0) {
            for (rows, pieces) in &mut columns {
                let left = rows.saturating_sub(piece * piece_rows as u64);
                if left > 0 {
                    pieces.push(at);
                    at += left.min(piece_rows as u64) * VALUE_BYTES;
                }
            }
        }
        Self {
            piece_rows,
            columns,
            bytes: at,
        }
    }
}

/// A temporary file of columns.
#[derive(Debug)]
pub struct SpillFile {
    file: File,
    layout: Layout,
}

impl SpillFile {
    /// Number of bytes in memory that a column of `rows` rows takes while it is read: those of a
    /// piece, and the places of all pieces.
    pub fn column_bytes(rows: u64, piece_rows: usize) -> u64 {
        let piece_rows = piece_rows as u64;
        (rows.min(piece_rows) + rows.div_ceil(piece_rows)) * VALUE_BYTES
    }

    /// Creates the file in a folder, for columns with these numbers of rows, and takes its whole
    /// size there.
    ///
    /// # Errors
    ///
    /// A system error: the folder cannot be written, its disk is full, or the file would be larger
    /// than `limit` bytes, by default nine tenths of what is free.
    pub fn create(
        folder: &Path,
        rows: &[u64],
        piece_rows: usize,
        limit: Option<u64>,
    ) -> Result<Self> {
        let layout = Layout::new(rows, piece_rows);
        let unusable = |error: io::Error| {
            Error::system(format!("cannot write a temporary file: {error}"))
                .at_file(folder)
                .with_source(error)
                .with_hint(hint!["choose another folder with ", Setting::TempDir])
        };
        let file = tempfile::tempfile_in(folder).map_err(unusable)?;
        let free = FreeDisk::below(&file);
        let too_large = |why: String| {
            let needed = size_up(layout.bytes);
            let message = format!("the run needs {needed} of temporary disk: {why}");
            Error::system(message).at_file(folder).with_hint(hint![
                "free space, choose another folder with ",
                Setting::TempDir,
                ", or allow more with ",
                Setting::TempLimit,
                " or ",
                Setting::Memory
            ])
        };
        if let Some(limit) = limit.filter(|&limit| layout.bytes > limit) {
            let limit = ByteSize(limit).display().si();
            return Err(too_large(format!("it may take {limit}")));
        }
        if limit.is_none() && layout.bytes > free.usable() {
            let free = ByteSize(free.bytes).display().si();
            return Err(too_large(format!("only {free} are free")));
        }
        if layout.bytes == 0 {
            return Ok(Self { file, layout });
        }
        match fallocate(&file, FallocateFlags::empty(), 0, layout.bytes) {
            Ok(()) => {}
            // Not all file systems can reserve space.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(layout.bytes).map_err(unusable)?,
            Err(error) => {
                return Err(too_large(error.to_string()).with_source(io::Error::from(error)));
            }
        }
        Ok(Self { file, layout })
    }

    /// Number of bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.layout.bytes
    }

    /// Number of rows of a column.
    pub fn rows(&self, column: usize) -> u64 {
        self.layout.columns[column].0
    }

    /// Memory for a piece.
    pub fn piece(&self) -> MutableBuffer {
        MutableBuffer::from_len_zeroed(self.layout.piece_rows * VALUE_BYTES as usize)
    }

    /// The rows of a piece of a column; none after the last one.
    pub fn rows_of_piece(&self, column: usize, piece: usize) -> usize {
        let before = piece as u64 * self.layout.piece_rows as u64;
        let left = self.rows(column).saturating_sub(before);
        left.min(self.layout.piece_rows as u64) as usize
    }

    /// Writes the first values of a piece.
    ///
    /// # Errors
    ///
    /// A system error, such as a full disk.
    pub fn write(&self, column: usize, piece: usize, values: &[u8]) -> Result<()> {
        let at = self.layout.columns[column].1[piece];
        self.file.write_all_at(values, at).map_err(|error| {
            Error::system(format!("cannot write the temporary file: {error}"))
                .with_source(error)
                .with_hint(hint![
                    "free space, or choose another folder with ",
                    Setting::TempDir
                ])
        })
    }

    /// Reads values of a column, all in one piece.
    fn read(&self, column: usize, row: u64, into: &mut [u8]) -> Result<()> {
        let piece_rows = self.layout.piece_rows as u64;
        let piece = self.layout.columns[column].1[(row / piece_rows) as usize];
        let at = piece + row % piece_rows * VALUE_BYTES;
        self.file.read_exact_at(into, at).map_err(|error| {
            Error::system(format!("cannot read the temporary file: {error}"))
                .with_source(error)
                .with_hint(hint![
                    "check the disk, or choose another folder with ",
                    Setting::TempDir
                ])
        })
    }
}

/// Reads a column of a temporary file forward.
pub struct SpilledColumn {
    file: Arc<SpillFile>,
    column: usize,
    /// The next row to return.
    position: u64,
    /// The current piece, with the rows that it holds.
    piece: MutableBuffer,
    held: std::ops::Range<u64>,
    /// The first row that could not be decoded, and why.
    failure: Option<(u64, Error)>,
}

impl SpilledColumn {
    /// Creates a reader at the first row. A `failure` is returned as soon as its row is read.
    pub fn new(file: Arc<SpillFile>, column: usize, failure: Option<(u64, Error)>) -> Self {
        Self {
            file,
            column,
            position: 0,
            piece: MutableBuffer::new(0),
            held: 0..0,
            failure,
        }
    }

    /// Fills `into` with the next values. That many must remain.
    pub fn read(&mut self, into: &mut [f64]) -> Result<()> {
        let mut left = into;
        self.check(self.position + left.len() as u64)?;
        while !left.is_empty() {
            if !self.held.contains(&self.position) {
                self.load()?;
            }
            let used = (self.position - self.held.start) as usize;
            let held = &self.piece.typed_data::<f64>()[used..];
            let rows = left.len().min((self.held.end - self.position) as usize);
            let (now, later) = left.split_at_mut(rows);
            now.copy_from_slice(&held[..rows]);
            left = later;
            self.position += rows as u64;
        }
        Ok(())
    }

    /// Moves to a row, which must not lie before the position.
    pub fn skip_to(&mut self, row: u64) -> Result<()> {
        self.check(row)?;
        self.position = self.position.max(row);
        Ok(())
    }

    /// Fails if a row before `end` could not be decoded.
    fn check(&mut self, end: u64) -> Result<()> {
        match self.failure.take_if(|(row, _)| *row < end) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Reads the rest of the piece of the next row.
    fn load(&mut self) -> Result<()> {
        let piece_rows = self.file.layout.piece_rows as u64;
        let first = self.position - self.position % piece_rows;
        let end = (first + piece_rows).min(self.file.rows(self.column));
        if self.piece.is_empty() {
            let longest = self.file.rows_of_piece(self.column, 0);
            self.piece = MutableBuffer::from_len_zeroed(longest * VALUE_BYTES as usize);
        }
        self.held = self.position..end;
        let bytes = ((end - self.position) * VALUE_BYTES) as usize;
        let piece = &mut self.piece.as_slice_mut()[..bytes];
        self.file.read(self.column, self.position, piece)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slices_core::error::ErrorKind;

    use super::*;

    proptest! {
        #[test]
        fn columns_come_back_as_they_were_written(
            rows in prop::collection::vec(0..40_u64, 0..6),
            piece_rows in 1..12_usize,
            steps in prop::collection::vec((0..9_u64, 0..9_usize), 1..20),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let file = SpillFile::create(folder.path(), &rows, piece_rows, None).expect("a file");
            prop_assert_eq!(file.bytes(), rows.iter().sum::<u64>() * VALUE_BYTES);
            let value = |column: usize, row: u64| (column * 1_000) as f64 + row as f64;
            for (column, &rows) in rows.iter().enumerate() {
                let mut row = 0;
                for piece in 0.. {
                    let len = file.rows_of_piece(column, piece);
                    if len == 0 {
                        break;
                    }
                    let values = (row..row + len as u64).flat_map(|row| value(column, row).to_ne_bytes());
                    file.write(column, piece, &values.collect::<Vec<_>>()).expect("room");
                    row += len as u64;
                }
                prop_assert_eq!(row, rows);
            }
            let file = Arc::new(file);
            for (column, &rows) in rows.iter().enumerate() {
                let mut reader = SpilledColumn::new(file.clone(), column, None);
                let mut row = 0;
                for &(skipped, read) in &steps {
                    row = (row + skipped).min(rows);
                    reader.skip_to(row).expect("no failure");
                    let len = (read as u64).min(rows - row);
                    let mut values = vec![0.0; len as usize];
                    reader.read(&mut values).expect("no failure");
                    let expected: Vec<_> = (row..row + len).map(|row| value(column, row)).collect();
                    prop_assert_eq!(values, expected);
                    row += len;
                }
            }
        }
    }

    #[test]
    fn a_failure_shows_when_its_row_is_read_and_no_earlier() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Arc::new(SpillFile::create(folder.path(), &[10], 4, None).expect("a file"));
        let failure = || Some((7, Error::system("damaged")));
        let mut reader = SpilledColumn::new(file.clone(), 0, failure());
        reader.read(&mut [0.0; 7]).expect("sound rows");
        assert!(reader.read(&mut [0.0]).is_err());
        let mut skipping = SpilledColumn::new(file, 0, failure());
        skipping.skip_to(7).expect("sound rows");
        assert!(skipping.skip_to(8).is_err());
    }

    #[test]
    fn more_than_is_allowed_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = SpillFile::create(folder.path(), &[1_000_000; 3], 512, Some(20_000_000));
        let refused = refused.expect_err("24 MB");
        assert_eq!(refused.kind(), ErrorKind::System);
        let message = "the run needs 24.0 MB of temporary disk: it may take 20.0 MB";
        assert_eq!(refused.message(), message);
        assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
    }
}
