//! Finds the pages of a column: the rows of each page and the bounds of its timestamps, by the page
//! index or by the headers of pages; and the memory that they take. Decompresses nothing.
//!
//! If a field is missing, unknown or inconsistent, the answer is `None`, and the caller reads the
//! rows.

use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};

use super::file::PositionedFile;
use super::limits::chunk_bytes;
use super::page_header::{DeclaredPage, PageHeader, PageKind, StoredBounds};
use super::page_index::indexed_pages;
use super::thrift::CompactReader;
use super::{PageBounds, SeriesFile};
use slices_core::error::Result;

/// A header with its statistics takes some 60 bytes. One that does not fit here is skipped.
const HEADER_BYTES: u64 = 512;

impl SeriesFile {
    /// Rows and bounds of each page of a row group's timestamps, or of the whole group if the pages
    /// have no bounds. `None` if nothing states them for certain.
    pub fn timestamp_pages(&self, row_group: usize) -> Result<Option<Vec<PageBounds>>> {
        let Some((min, max)) = self.stored_bounds(row_group) else {
            return Ok(None);
        };
        let file = self.file();
        let open = file.opened()?;
        let group = file.metadata.metadata().row_group(row_group);
        let chunk = group.column(file.timestamp.leaf);
        // The bounds of all pages together must be those in the footer.
        let adds_up = |pages: &Vec<StoredBounds>| {
            pages.iter().map(|page| page.min).min() == Some(min)
                && pages.iter().map(|page| page.max).max() == Some(max)
        };
        let rows = file.row_group_rows().nth(row_group).unwrap_or_default();
        // An object is not asked for each header: without an index, its group is read as a whole.
        let declared = || match open.is_stored() {
            true => None,
            false => declared_pages(&open, chunk, rows).filter(adds_up),
        };
        let pages = indexed_pages(&open, chunk, rows).filter(adds_up);
        let pages = pages.or_else(declared);
        let whole = || StoredBounds { rows, min, max };
        let pages = pages.unwrap_or_else(|| vec![whole()]);
        let stamped = pages.into_iter().map(|page| {
            let (min_ns, max_ns) = self.timestamps_between(page.min, page.max);
            PageBounds {
                rows: page.rows,
                min_ns,
                max_ns,
            }
        });
        Ok(Some(stamped.collect()))
    }
}

/// Rows and bounds of each page of a column chunk of `rows` rows, by the headers of the pages.
pub(super) fn declared_pages(
    file: &PositionedFile,
    chunk: &ColumnChunkMetaData,
    rows: usize,
) -> Option<Vec<StoredBounds>> {
    let (mut at, end) = chunk_bytes(chunk).ok()?;
    let mut left = rows;
    let mut pages = Vec::new();
    while left > 0 {
        let len = HEADER_BYTES.min(end.checked_sub(at)?);
        let head = file.get_bytes(at, usize::try_from(len).ok()?).ok()?;
        let mut fields = CompactReader::new(&head);
        let page = PageHeader::read(&mut fields)?;
        let header_bytes = head.len() - fields.rest().len();
        let page_bytes = u64::try_from(page.compressed_bytes?).ok()?;
        at = at.checked_add(header_bytes as u64 + page_bytes)?;
        if let Some(data) = page.data {
            let bounds = data.bounds()?;
            left = left.checked_sub(bounds.rows)?;
            pages.push(bounds);
        }
    }
    Some(pages)
}

/// What the state of the Zstandard decompressor takes, in bytes. The others have none to speak of.
const ZSTD_STATE_BYTES: u64 = 96 << 10;

/// The most bytes that a reader of a column chunk holds, as the footer says.
pub(super) fn footer_chunk_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let pages = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
    pages + decompressor_bytes(chunk)
}

/// Number of bytes of the state of the decompressor of a column chunk.
fn decompressor_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    match chunk.compression() {
        Compression::ZSTD(_) => ZSTD_STATE_BYTES,
        _ => 0,
    }
}

/// Number of bytes that a reader of a column chunk holds while it reads page after page: those of
/// the dictionary and of the largest page, decompressed. `None` if the headers do not say so.
pub(super) fn open_chunk_bytes(file: &PositionedFile, chunk: &ColumnChunkMetaData) -> Option<u64> {
    if file.is_stored() {
        // All of it would be fetched for the headers.
        return None;
    }
    let (mut at, end) = chunk_bytes(chunk).ok()?;
    let end = end.min(file.len());
    let mut dictionary_bytes = 0;
    let mut page_bytes = 0;
    let mut pages = 0;
    while at < end {
        let len = HEADER_BYTES.min(end - at);
        let head = file.peek(at, usize::try_from(len).ok()?).ok()?;
        let page = DeclaredPage::read(&head)?;
        let bytes = u64::try_from(page.uncompressed_bytes).ok()?;
        match page.kind {
            PageKind::Dictionary { .. } => dictionary_bytes = bytes,
            PageKind::Data { .. } => {
                page_bytes = bytes.max(page_bytes);
                pages += 1;
            }
        }
        let compressed_bytes = u64::try_from(page.compressed_bytes).ok()?;
        at = at.checked_add(page.header_bytes as u64 + compressed_bytes)?;
    }
    // The last page takes none.
    let state_bytes = if pages > 1 {
        decompressor_bytes(chunk)
    } else {
        0
    };
    Some(dictionary_bytes + page_bytes + state_bytes)
}
