//! Limits what a Parquet file may declare. Checks it against the file before the library reserves
//! memory for it.
//!
//! The library reserves the size that a page header declares for a page or its dictionary. Some of
//! its decompressors write as much as the bytes give, whatever the header declares. So this module
//! checks every page header before the library uses it, and every page before the library
//! decompresses it.

use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use parquet::basic::{Compression, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};

use super::file::PositionedFile;
use super::page_header::{DeclaredPage, PageKind};
use super::thrift::{CompactReader, Kind};

/// The most bytes of one page, compressed or not: 16 million numbers. Writers make pages of a
/// megabyte; a few make one page of a whole column.
const PAGE_BYTES_MAX: usize = 128 << 20;

/// The most bytes of a footer.
const FOOTER_BYTES_MAX: usize = 64 << 20;

/// The deepest nesting of groups of columns.
const SCHEMA_DEPTH_MAX: usize = 64;

/// The most rows for each byte of a file. A file of equal steps and equal prices has some thousand.
/// Beyond that, a small file would only take time.
pub(super) const ROWS_PER_BYTE_MAX: u64 = 16_384;

/// The most bytes of a page header. One with its statistics takes some 60.
const HEADER_BYTES_MAX: u64 = 16 << 10;

/// Number of bytes that a first read of a header takes.
const HEADER_BYTES: u64 = 512;

/// The limits of the pages of one column chunk.
#[derive(Debug)]
pub(super) struct ChunkLimits {
    /// The byte range of the chunk in the file.
    start: u64,
    end: u64,
    compression: Compression,
    /// The fewest bytes of a value.
    value_bytes: usize,
    seen: Mutex<Seen>,
}

/// The last pages whose headers were checked.
#[derive(Debug, Default)]
struct Seen {
    dictionary: Option<SeenPage>,
    data: Option<SeenPage>,
}

/// A page whose header was checked.
#[derive(Debug, Clone, Copy)]
struct SeenPage {
    /// Where its bytes begin in the file.
    start: u64,
    bytes: usize,
    /// Number of bytes after decompression, as the header declares.
    uncompressed_bytes: usize,
    /// Number of bytes before the compressed part; all of them if the page is not compressed.
    plain_bytes: usize,
}

impl ChunkLimits {
    pub fn new(chunk: &ColumnChunkMetaData) -> Result<Self, ParquetError> {
        let (start, end) = chunk_bytes(chunk)?;
        Ok(Self {
            start,
            end,
            compression: chunk.compression(),
            value_bytes: match chunk.column_type() {
                PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
                PhysicalType::INT96 => 12,
                PhysicalType::INT32 | PhysicalType::FLOAT | PhysicalType::BYTE_ARRAY => 4,
                PhysicalType::BOOLEAN | PhysicalType::FIXED_LEN_BYTE_ARRAY => 1,
            },
            seen: Mutex::default(),
        })
    }

    /// Where the chunk begins in the file.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Where the chunk ends as the footer declares, which may lie behind the end of the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Checks what the library is about to read at `start`: a page header, or a page whose header
    /// was checked. `known` are the bytes there that are already in memory.
    pub fn check_header(
        &self,
        file: &PositionedFile,
        start: u64,
        known: &[u8],
    ) -> Result<(), ParquetError> {
        // If a page has no bytes, the header of the next one may start here.
        let is_page = match self.lock().page_at(start) {
            Some(page) if page.bytes > 0 || start >= self.end => return Ok(()),
            page => page.is_some(),
        };
        let mut page = DeclaredPage::read(known);
        for most in [HEADER_BYTES, HEADER_BYTES_MAX] {
            if page.is_none() {
                let left = file.len().saturating_sub(start).min(most);
                page = DeclaredPage::read(&file.get_bytes(start, left as usize)?);
            }
        }
        let Some(page) = page else {
            if is_page {
                return Ok(());
            }
            return Err(implausible("page header is invalid"));
        };
        let uncompressed_bytes = declared_bytes(page.uncompressed_bytes)?;
        let bytes = declared_bytes(page.compressed_bytes)?;
        let mut seen = SeenPage {
            start: start + page.header_bytes as u64,
            bytes,
            uncompressed_bytes,
            plain_bytes: 0,
        };
        match page.kind {
            PageKind::Dictionary { values } => {
                let most = (uncompressed_bytes / self.value_bytes) as u64;
                if !u64::try_from(values).is_ok_and(|values| values <= most) {
                    return Err(implausible(&format!(
                        "dictionary page declares {values} values in {uncompressed_bytes} bytes"
                    )));
                }
                self.lock().dictionary = Some(seen);
            }
            PageKind::Data {
                plain_bytes,
                is_compressed,
            } => {
                seen.plain_bytes = if is_compressed {
                    declared_bytes(plain_bytes)?
                } else {
                    bytes
                };
                self.lock().data = Some(seen);
            }
        }
        Ok(())
    }

    /// Checks a page that the library is about to decompress, with the header before it. Leaves out
    /// bytes behind the page.
    pub fn check_whole_page(
        &self,
        file: &PositionedFile,
        start: u64,
        bytes: &Bytes,
    ) -> Result<Bytes, ParquetError> {
        let page = DeclaredPage::read(bytes);
        let page = page.ok_or_else(|| implausible("page header is invalid"))?;
        self.check_header(file, start, bytes)?;
        let end = page.header_bytes + declared_bytes(page.compressed_bytes)?;
        if end > bytes.len() {
            return Err(implausible("the page index contradicts the size of a page"));
        }
        let first = start + page.header_bytes as u64;
        self.check_page(first, &bytes.slice(page.header_bytes..end))?;
        Ok(bytes.slice(..end))
    }

    /// Checks a page that the library is about to decompress.
    pub fn check_page(&self, start: u64, page: &Bytes) -> Result<(), ParquetError> {
        let Some(seen) = self.lock().page_at(start) else {
            return Ok(());
        };
        // If levels are longer than the page, the library reports it.
        let (Some(most), Some(page)) = (
            seen.uncompressed_bytes.checked_sub(seen.plain_bytes),
            (seen.plain_bytes < page.len()).then(|| page.slice(seen.plain_bytes..)),
        ) else {
            return Ok(());
        };
        let left = match self.compression {
            Compression::GZIP(_) if may_grow_beyond_a_page(&page, GZIP_EXPANSION_MAX) => {
                left_beyond(flate2::bufread::MultiGzDecoder::new(page.reader()), most)
            }
            Compression::LZ4 if may_grow_beyond_a_page(&page, LZ4_EXPANSION_MAX) => {
                left_beyond(lz4_flex::frame::FrameDecoder::new(page.reader()), most)
            }
            Compression::BROTLI(_) => {
                left_beyond(brotli::Decompressor::new(page.reader(), 1 << 12), most)
            }
            // The others write no more than the caller's buffer holds.
            _ => false,
        };
        if left {
            return Err(implausible(&format!(
                "page decompresses to more than the {most} bytes that its header declares"
            )));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // No code panics while it holds the lock.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The byte range of a column chunk in its file. The library's own method panics if a damaged
/// footer makes a bound negative.
pub(super) fn chunk_bytes(chunk: &ColumnChunkMetaData) -> Result<(u64, u64), ParquetError> {
    let start = chunk.dictionary_page_offset();
    let start = start.unwrap_or_else(|| chunk.data_page_offset());
    let start =
        u64::try_from(start).map_err(|_| implausible("column chunk begins before the file"))?;
    let bytes = u64::try_from(chunk.compressed_size());
    let bytes = bytes.map_err(|_| implausible("column chunk has a negative compressed size"))?;
    Ok((start, start.saturating_add(bytes)))
}

/// The most bytes that one byte of gzip can decompress to.
const GZIP_EXPANSION_MAX: usize = 1_032;
/// The most bytes that one byte of LZ4 can decompress to.
const LZ4_EXPANSION_MAX: usize = 255;

fn may_grow_beyond_a_page(page: &Bytes, expansion_max: usize) -> bool {
    page.len() > PAGE_BYTES_MAX / expansion_max
}

impl Seen {
    fn page_at(&self, start: u64) -> Option<SeenPage> {
        let mut pages = [self.data, self.dictionary].into_iter().flatten();
        pages.find(|page| page.start == start)
    }
}

/// Whether a decompressor gives more than `most` bytes. Keeps none of them. Leaves errors of the
/// data to the library.
fn left_beyond(decompressor: impl Read, most: usize) -> bool {
    let mut counted = decompressor.take(most as u64 + 1);
    io::copy(&mut counted, &mut io::sink()).is_ok_and(|bytes| bytes > most as u64)
}

fn declared_bytes(declared: i64) -> Result<usize, ParquetError> {
    let bytes = usize::try_from(declared).ok();
    bytes
        .filter(|bytes| *bytes <= PAGE_BYTES_MAX)
        .ok_or_else(|| {
            implausible(&format!(
                "page header declares {declared} bytes: at most {PAGE_BYTES_MAX} are read"
            ))
        })
}

fn implausible(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Checks the footer before the library reserves memory for its lists, or follows its schema by
/// recursion. Returns whether its columns are encrypted.
pub(super) fn check_footer(file: &impl ChunkReader) -> Result<bool, ParquetError> {
    /// The end of the footer: its length and the magic bytes.
    const TRAILER_BYTES: u64 = 8;
    // The library reports a file that is too short.
    let Some(end) = file.len().checked_sub(TRAILER_BYTES) else {
        return Ok(false);
    };
    let trailer = file.get_bytes(end, TRAILER_BYTES as usize)?;
    let length = trailer
        .first_chunk()
        .map_or(0, |length| u32::from_le_bytes(*length)) as usize;
    if length > FOOTER_BYTES_MAX {
        return Err(implausible(&format!(
            "footer declares {length} bytes: at most {FOOTER_BYTES_MAX} are read"
        )));
    }
    let Some(start) = end
        .checked_sub(length as u64)
        .filter(|_| trailer.ends_with(b"PAR1"))
    else {
        return Ok(false);
    };
    let footer = file.get_bytes(start, length)?;
    read_footer(&mut CompactReader::new(&footer))
        .ok_or_else(|| implausible("footer is invalid, or its schema is nested too deeply"))
}

/// The most bytes of a page index of one column. A page takes some 40 bytes there.
const INDEX_BYTES_MAX: usize = 16 << 20;

/// Checks the length that an index declares, before it is read.
pub(super) fn check_index(length: usize) -> Result<(), ParquetError> {
    if length > INDEX_BYTES_MAX {
        return Err(implausible(&format!(
            "page index declares {length} bytes: at most {INDEX_BYTES_MAX} are read"
        )));
    }
    Ok(())
}

/// Checks that every list of an index is complete, before the library reserves memory for it.
pub(super) fn check_index_lists(index: &[u8]) -> Result<(), ParquetError> {
    let whole = CompactReader::new(index).skip(Kind::Struct);
    whole.ok_or_else(|| implausible("page index is invalid"))
}

/// Reads a whole footer. Returns whether it names an encryption of columns.
fn read_footer(fields: &mut CompactReader<'_>) -> Option<bool> {
    const SCHEMA: i16 = 2;
    const ENCRYPTION: i16 = 8;
    let mut is_encrypted = false;
    fields.each(|fields, id, kind| match (id, kind) {
        (SCHEMA, Kind::List) => read_schema(fields),
        _ => {
            is_encrypted |= (id, kind) == (ENCRYPTION, Kind::Struct);
            fields.skip(kind)
        }
    })?;
    Some(is_encrypted)
}

/// Checks the nodes of a schema, which are stored one after the other, each before its children.
fn read_schema(fields: &mut CompactReader<'_>) -> Option<()> {
    const CHILDREN: i16 = 5;
    // The number of children left in each open node.
    let mut open: Vec<u64> = Vec::new();
    fields.elements(|fields, kind, after| {
        let mut children = 0;
        if kind != Kind::Struct {
            return None;
        }
        fields.each(|fields, id, kind| {
            match (id, kind) {
                (CHILDREN, Kind::Integer) => children = u64::try_from(fields.integer()?).ok()?,
                _ => fields.skip(kind)?,
            }
            Some(())
        })?;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(children);
        while open.last() == Some(&0) {
            open.pop();
        }
        (children <= after && open.len() <= SCHEMA_DEPTH_MAX).then_some(())
    })
}

/// A file that checks each page of some columns before the library reads it.
pub(super) struct LimitedFile {
    file: PositionedFile,
    /// Sorted by their start.
    chunks: Vec<ChunkLimits>,
}

impl LimitedFile {
    pub fn new<'a>(
        file: PositionedFile,
        chunks: impl Iterator<Item = &'a ColumnChunkMetaData>,
    ) -> Result<Self, ParquetError> {
        let mut chunks = chunks
            .map(ChunkLimits::new)
            .collect::<Result<Vec<_>, _>>()?;
        chunks.sort_by_key(|chunk| chunk.start);
        Ok(Self { file, chunks })
    }

    /// The chunk that holds an offset of the file. Some writers leave out the length of the first
    /// header, so the last page may reach beyond the end. The library reads nothing else.
    fn chunk_at(&self, start: u64) -> Option<&ChunkLimits> {
        let after = self.chunks.partition_point(|chunk| chunk.start <= start);
        self.chunks[..after].last()
    }
}

impl Length for LimitedFile {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for LimitedFile {
    type T = <PositionedFile as ChunkReader>::T;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        if let Some(chunk) = self.chunk_at(start) {
            let known = chunk
                .end
                .min(self.len())
                .saturating_sub(start)
                .min(HEADER_BYTES);
            let known = self.file.get_bytes(start, known as usize)?;
            chunk.check_header(&self.file, start, &known)?;
        }
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let page = self.file.get_bytes(start, length)?;
        if let Some(chunk) = self.chunk_at(start) {
            chunk.check_page(start, &page)?;
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::{CompactReader, read_footer};

    #[test]
    fn a_footer_that_names_a_way_of_encryption_is_told_from_a_damaged_one() {
        // Thrift's compact protocol: the step to the next field and its kind, a struct (12) or a
        // list (9).
        for (footer, expected) in [
            (&[0x8c, 0x00, 0x00][..], Some(true)),
            (&[0x7c, 0x00, 0x1c, 0x00, 0x00], Some(true)),
            (&[0x7c, 0x00, 0x00], Some(false)),
            (&[0x89, 0x0c, 0x00], Some(false)),
            (&[0x8c, 0x00], None),
        ] {
            let found = read_footer(&mut CompactReader::new(footer));
            assert_eq!(found, expected, "{footer:?}");
        }
    }
}
