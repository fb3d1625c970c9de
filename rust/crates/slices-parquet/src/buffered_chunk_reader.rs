//! Reads the bytes of one column chunk in few reads. Reads a small chunk at once, and a large one
//! page by page, each with the header of the next page.

use std::io::{BufReader, Chain, Read};
use std::sync::{Mutex, PoisonError};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};

use super::file::{FilePart, PositionedFile, PositionedRead};
use super::limits::ChunkLimits;
use super::page_header::DictionaryPage;
use super::snappy;

/// A chunk of at most this size is read at once.
const SMALL_CHUNK_BYTES: u64 = 32 << 10;

/// Number of bytes to read beyond a page, for the header of the next one. A header takes some 60
/// bytes; a longer one is read from the file.
const HEADER_BYTES: u64 = 256;

/// One column chunk of a file. The library asks for every page once, in order.
pub(super) struct BufferedChunkReader {
    file: PositionedFile,
    /// The byte range of the chunk in the file.
    start: u64,
    end: u64,
    limits: ChunkLimits,
    /// Whether the library asks for each page with its header, by its place.
    by_places: bool,
    window: Mutex<Window>,
}

/// Bytes of the file that were read ahead.
struct Window {
    part: FilePart,
    /// Whether the file was checked after they were read.
    checked: bool,
    /// Whether the last page of the chunk was handed out.
    ended: bool,
}

impl BufferedChunkReader {
    /// Creates a reader of a column chunk. With `by_places`, the library knows where its pages are.
    pub fn new(
        file: PositionedFile,
        chunk: &ColumnChunkMetaData,
        by_places: bool,
    ) -> Result<Self, ParquetError> {
        let limits = ChunkLimits::new(chunk)?;
        let start = limits.start();
        let bytes = limits.end() - start;
        let end = limits.end().min(file.len());
        let first = if bytes <= SMALL_CHUNK_BYTES {
            bytes
        } else {
            HEADER_BYTES
        };
        let first = if by_places {
            0
        } else {
            first.min(end.saturating_sub(start))
        };
        let window = Window {
            part: FilePart {
                start,
                bytes: file.get_bytes(start, first as usize)?,
            },
            checked: true,
            ended: false,
        };
        Ok(Self {
            file,
            start,
            end,
            limits,
            by_places,
            window: Mutex::new(window),
        })
    }

    /// Frees what was read ahead, if the last page was handed out. Returns whether it was.
    pub fn free_if_ended(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.ended {
            window.part.bytes = Bytes::new();
        }
        window.ended
    }

    /// The first page, if it is a dictionary that may be read in part.
    pub fn first_page(&self) -> Option<DictionaryPage> {
        let head = HEADER_BYTES.min(self.end.saturating_sub(self.start));
        DictionaryPage::read(&self.file.get_bytes(self.start, head as usize).ok()?)
    }

    /// The first `wanted` bytes of the values of the first page. `None` if that is most of them, or
    /// if anything is unexpected. Then the page must be read as a whole.
    pub fn beginning_of(&self, dictionary: &DictionaryPage, wanted: usize) -> Option<Bytes> {
        if wanted > dictionary.value_bytes / 2 {
            return None;
        }
        // Bytes that do not compress take a little more space than before.
        let read = (wanted + wanted / 6 + 64).min(dictionary.compressed_bytes);
        let start = self.start.checked_add(dictionary.start as u64)?;
        if start.checked_add(read as u64)? > self.end {
            return None;
        }
        let values = snappy::beginning(&self.file.get_bytes(start, read).ok()?, wanted)?;
        (values.len() == wanted).then(|| values.into())
    }
}

impl Length for BufferedChunkReader {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for BufferedChunkReader {
    type T = Chain<Reader<Bytes>, BufReader<PositionedRead>>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = window.part.rest_from(start);
        if known.is_empty() {
            // A page was skipped. The next page that is read checks the file, and so the headers
            // that were read before it.
            let length = HEADER_BYTES.min(self.end.saturating_sub(start));
            known = self.file.peek(start, length as usize)?;
            *window = Window {
                part: FilePart {
                    start,
                    bytes: known.clone(),
                },
                checked: false,
                ended: false,
            };
        }
        self.limits.check_header(&self.file, start, &known)?;
        let after = self.file.read_from(start + known.len() as u64);
        let after = BufReader::with_capacity(HEADER_BYTES as usize, after);
        Ok(known.reader().chain(after))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let page_end = start.saturating_add(length as u64);
        if self.by_places {
            window.ended |= page_end >= self.end;
            let bytes = self.file.get_bytes(start, length)?;
            return self.limits.check_whole_page(&self.file, start, &bytes);
        }
        if let Some(bytes) = window.part.get(start, length) {
            window.ended |= page_end >= self.end;
            if !window.checked {
                self.file.check_unchanged()?;
                window.checked = true;
            }
            self.limits.check_page(start, &bytes)?;
            return Ok(bytes);
        }
        let header = HEADER_BYTES.min(self.end.saturating_sub(page_end)) as usize;
        let bytes = self.file.get_bytes(start, length.saturating_add(header))?;
        // Copy the header, so that it does not keep the memory of the page.
        *window = Window {
            part: FilePart {
                start: page_end,
                bytes: Bytes::copy_from_slice(&bytes[length..]),
            },
            checked: true,
            ended: page_end >= self.end,
        };
        let page = bytes.slice(..length);
        self.limits.check_page(start, &page)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{Seek, SeekFrom, Write};
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use slices_store::Storage;

    use super::super::file::open_file;
    use super::super::page_header::DeclaredPage;
    use super::*;

    /// Writes a chunk of small pages that is read page by page. Returns it and the starts of its
    /// pages.
    fn write_small_pages(path: &Path) -> (ColumnChunkMetaData, Vec<u64>) {
        let numbers = Arc::new(Int64Array::from_iter_values(0..20_000)) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("n", numbers)]).expect("one column");
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_data_page_row_count_limit(8)
            .set_write_batch_size(8)
            .build();
        let file = File::create(path).expect("a new file");
        let mut writer =
            ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("room for the batch");
        writer.close().expect("a footer");
        let opened = File::open(path).expect("the file");
        let read = SerializedFileReader::new(opened).expect("a Parquet file");
        let chunk = read.metadata().row_group(0).column(0).clone();
        let all = fs::read(path).expect("the file");
        let mut start = ChunkLimits::new(&chunk).expect("a sound chunk").start();
        let mut starts = Vec::new();
        while starts.len() < 20_000 / 8 {
            let page = DeclaredPage::read(&all[start as usize..]).expect("a page header");
            starts.push(start);
            start += page.header_bytes as u64 + page.compressed_bytes as u64;
        }
        (chunk, starts)
    }

    /// The header of a page behind skipped ones is read without a check, and a small page comes
    /// with it: the bytes of the page must not pass unchecked.
    #[test]
    fn a_small_page_behind_skipped_ones_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("n.parquet");
        let (chunk, starts) = write_small_pages(&path);
        let file = open_file(&path, None, &Storage::default()).expect("the file");
        let reader = BufferedChunkReader::new(file, &chunk, false).expect("a reader");
        let page_after = |reader: &BufferedChunkReader, start: u64| {
            let mut header = Vec::new();
            let read = reader.get_read(start).expect("a header");
            let page = read.take(HEADER_BYTES).read_to_end(&mut header);
            page.expect("the bytes of a header");
            let page = DeclaredPage::read(&header).expect("a page header");
            let (start, bytes) = (start + page.header_bytes as u64, page.compressed_bytes);
            reader.get_bytes(start, bytes as usize)
        };
        page_after(&reader, starts[100]).expect("a page of an unchanged file");

        let mut other = File::options().write(true).open(&path).expect("the file");
        let last = starts[1_001] - 8;
        other
            .seek(SeekFrom::Start(last))
            .expect("a place in the file");
        other.write_all(&[7; 8]).expect("room for eight bytes");
        other.seek(SeekFrom::End(0)).expect("the end of the file");
        other.write_all(b"more").expect("room for four bytes");
        let error = page_after(&reader, starts[1_000]).expect_err("a changed file");
        assert!(error.to_string().contains("it became longer"), "{error}");
    }
}
