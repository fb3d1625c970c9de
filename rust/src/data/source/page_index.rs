//! Owns the page index of a column: rows and bounds of each page, as the writer listed them behind the
//! data. The Parquet library decodes it; what it declares is checked first.

use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::index_reader::{decode_column_index, decode_offset_index};
use parquet::file::reader::ChunkReader;

use super::file::PositionedFile;
use super::limits::{check_index, check_index_lists};
use super::pages::StoredBounds;

/// Rows and bounds of each page of a column chunk of `rows` rows, as its page index lists them.
///
/// `None` where there is no index, or where it does not say for certain: a page may hold nulls, or the
/// lists do not agree.
pub(super) fn indexed_pages(
    file: &PositionedFile,
    chunk: &ColumnChunkMetaData,
    rows: usize,
) -> Option<Vec<StoredBounds>> {
    let columns = index_bytes(chunk.column_index_offset(), chunk.column_index_length())?;
    let offsets = index_bytes(chunk.offset_index_offset(), chunk.offset_index_length())?;
    // A damaged index is no reason to fail: the pages themselves are read with less knowledge.
    let (bounds, locations) = file
        .guarded(|| {
            let columns = read_index(file, columns)?;
            let offsets = read_index(file, offsets)?;
            let bounds = decode_column_index(&columns, chunk.column_type())?;
            Ok((bounds, decode_offset_index(&offsets)?))
        })
        .ok()?;
    let bounds = stored_bounds(&bounds)?;
    let starts = locations.page_locations().iter();
    let starts: Vec<_> = starts
        .map(|page| usize::try_from(page.first_row_index).ok())
        .collect::<Option<_>>()?;
    if starts.len() != bounds.len() || starts.first() != Some(&0) {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([rows]);
    let pages = starts.iter().zip(ends).zip(bounds);
    pages
        .map(|((&start, end), (min, max))| {
            let rows = end.checked_sub(start).filter(|rows| *rows > 0)?;
            (min <= max).then_some(StoredBounds { rows, min, max })
        })
        .collect()
}

/// Where an index lies: its first byte, and how many bytes it takes.
fn index_bytes(offset: Option<i64>, length: Option<i32>) -> Option<(u64, usize)> {
    let offset = u64::try_from(offset?).ok()?;
    let length = usize::try_from(length?).ok()?;
    Some((offset, length))
}

fn read_index(
    file: &PositionedFile,
    (offset, length): (u64, usize),
) -> Result<bytes::Bytes, ParquetError> {
    check_index(length)?;
    let bytes = file.get_bytes(offset, length)?;
    check_index_lists(&bytes)?;
    Ok(bytes)
}

/// The smallest and largest value of each page, as they are stored.
fn stored_bounds(index: &ColumnIndexMetaData) -> Option<Vec<(i64, i64)>> {
    let pages = usize::try_from(index.num_pages()).ok()?;
    let is_certain = |page| index.null_count(page) == Some(0) && !index.is_null_page(page);
    if !(0..pages).all(is_certain) {
        return None;
    }
    let bounds = match index {
        ColumnIndexMetaData::INT64(index) => {
            let (min, max) = (index.min_values().iter(), index.max_values().iter());
            min.copied().zip(max.copied()).collect()
        }
        ColumnIndexMetaData::INT32(index) => {
            let (min, max) = (index.min_values().iter(), index.max_values().iter());
            let wide = |value: &i32| i64::from(*value);
            min.map(wide).zip(max.map(wide)).collect()
        }
        _ => return None,
    };
    Some(bounds)
}
