//! Reads the page index of a column: the rows and bounds of each page, which the writer stored
//! behind the data. Checks what the index declares before the Parquet library decodes it.

use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::index_reader::{decode_column_index, decode_offset_index};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;

use super::file::PositionedFile;
use super::limits::{check_index, check_index_lists};
use super::page_header::StoredBounds;

/// Where the pages of a column chunk are, if an index says so without contradicting itself.
pub(super) type Pages = Option<Arc<[PageLocation]>>;

/// Rows and bounds of each page of a column chunk of `rows` rows, by its page index.
///
/// `None` if the index is missing or uncertain: a page may hold nulls, or the lists contradict each
/// other.
pub(super) fn indexed_pages(
    file: &PositionedFile,
    chunk: &ColumnChunkMetaData,
    rows: usize,
) -> Option<Vec<StoredBounds>> {
    let columns = index_bytes(chunk.column_index_offset(), chunk.column_index_length())?;
    let offsets = index_bytes(chunk.offset_index_offset(), chunk.offset_index_length())?;
    // A damaged index does not fail the run: the reader falls back to the pages.
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

/// The position of an index in the file: its first byte and its length.
pub(super) fn index_bytes(offset: Option<i64>, length: Option<i32>) -> Option<(u64, usize)> {
    let offset = u64::try_from(offset?).ok()?;
    let length = usize::try_from(length?).ok()?;
    Some((offset, length))
}

pub(super) fn read_index(
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

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use slices_store::Storage;

    use super::super::file::open_file;
    use super::super::pages::declared_pages;
    use super::*;

    fn write(path: &Path) -> ColumnChunkMetaData {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1_000).map(|at| at ^ 5)));
        let batch = RecordBatch::try_from_iter([("value", values)]).expect("one column");
        let properties = WriterProperties::builder()
            .set_data_page_row_count_limit(64)
            .set_write_batch_size(64)
            .set_write_page_header_statistics(true)
            .build();
        let file = File::create(path).expect("a file");
        let mut writer =
            ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("rows are written");
        writer.close().expect("a footer is written");
        let reader = SerializedFileReader::new(File::open(path).expect("the file"));
        let footer = reader.expect("a footer").metadata().clone();
        footer.row_group(0).column(0).clone()
    }

    #[test]
    fn the_index_says_what_the_headers_of_pages_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one.parquet");
        let chunk = write(&path);
        let file = open_file(&path, None, &Storage::default()).expect("the file");
        let indexed = indexed_pages(&file, &chunk, 1_000).expect("an index");
        assert_eq!(indexed.len(), 16);
        assert_eq!(
            Some(&indexed),
            declared_pages(&file, &chunk, 1_000).as_ref()
        );
        // With another number of rows, the last page differs.
        assert_ne!(Some(indexed), indexed_pages(&file, &chunk, 1_001));
        assert_eq!(indexed_pages(&file, &chunk, 960), None);
    }

    #[test]
    fn a_damaged_index_is_none_and_no_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("one.parquet");
        let chunk = write(&path);
        let honest = fs::read(&path).expect("the file");
        let start = chunk.column_index_offset().expect("an index") as usize;
        for at in start..honest.len() {
            let mut bytes = honest.clone();
            bytes[at] ^= 0xa5;
            fs::write(&path, bytes).expect("the damaged file");
            let file = open_file(&path, None, &Storage::default()).expect("the file");
            if let Some(pages) = indexed_pages(&file, &chunk, 1_000) {
                let rows: usize = pages.iter().map(|page| page.rows).sum();
                assert_eq!(rows, 1_000, "byte {at}");
            }
        }
    }

    #[test]
    fn an_index_of_implausible_length_is_not_read() {
        assert!(check_index(1 << 20).is_ok());
        assert!(check_index(1 << 30).is_err());
        // A struct whose first field is a list of 2^28 elements that are not there.
        assert!(check_index_lists(&[0x19, 0xf6, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00]).is_err());
    }
}
