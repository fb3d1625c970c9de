//! Decodes one column of eight-byte values from its pages into the caller's memory. Prices and
//! timestamps are nearly always such values, plain or by a dictionary.
//!
//! The Parquet library reads the headers of pages, verifies checksums and decompresses. It also
//! decodes pages in any other encoding: see [`ColumnRead::unsupported_encoding`].
//!
//! A dictionary is decompressed when the first page needs it. If only a few rows are read now and
//! the others later, it is decompressed for these rows only. The later read finds damage in the
//! rest.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::buffered_chunk_reader::BufferedChunkReader;
use super::file::PositionedFile;
use super::page_header::DictionaryPage;
use super::page_index::Pages;
use super::rle_bit_packed::RleBitPacked;

/// Number of indexes or levels to unpack at a time. They stay in the first-level cache.
const UNPACKED: usize = 512;

/// A larger dictionary leaves no room in the first-level cache.
const WIDE_DICTIONARY_BYTES: usize = 32 << 10;

/// A value of eight bytes.
pub trait FixedWidth: Copy {
    /// The value in the place of a null.
    const NULL: Self;

    fn from_le_bytes(bytes: [u8; 8]) -> Self;
}

impl FixedWidth for f64 {
    const NULL: Self = Self::NAN;

    fn from_le_bytes(bytes: [u8; 8]) -> Self {
        Self::from_le_bytes(bytes)
    }
}

impl FixedWidth for i64 {
    const NULL: Self = 0;

    fn from_le_bytes(bytes: [u8; 8]) -> Self {
        Self::from_le_bytes(bytes)
    }
}

/// The result of one read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ColumnRead {
    /// Number of rows read. Fewer than requested at the end, and before a page of an unsupported
    /// encoding.
    pub rows: usize,
    /// The first of these rows that is null.
    pub first_null: Option<usize>,
    /// Whether the next rows are in a page that the library must decode.
    pub unsupported_encoding: bool,
}

impl ColumnRead {
    pub fn of_rows(rows: usize) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }
}

/// Reads the rows of one column chunk forward.
pub(super) struct FixedWidthColumn {
    /// `None` after the last page: it holds the state of a decompressor, 100 kB for Zstandard.
    pages: Option<SerializedPageReader<BufferedChunkReader>>,
    chunk_reader: Arc<BufferedChunkReader>,
    may_be_null: bool,
    /// The dictionary page, if a part of it may be enough.
    dictionary_beginning: Option<DictionaryPage>,
    dictionary: Bytes,
    page: DataPage,
    unsupported_encoding: bool,
}

/// The unread part of a page.
struct DataPage {
    rows: usize,
    /// For each row 1, or 0 for a null. `None` for a page without nulls.
    levels: Option<RleBitPacked>,
    values: Values,
}

/// The values of the rows that are not null.
enum Values {
    Plain(Bytes),
    Indexes(RleBitPacked),
}

impl FixedWidthColumn {
    /// Creates a reader of a column chunk of `rows` rows. If it will read only those before
    /// `first`, another reader must read the others before anything relies on these. If the places
    /// of the pages are known, it reads nothing of a page that it skips.
    pub fn new(
        file: PositionedFile,
        chunk: &ColumnChunkMetaData,
        rows: usize,
        first: Option<usize>,
        places: Pages,
    ) -> Result<Self, ParquetError> {
        let has_places = places.is_some();
        let chunk_reader = Arc::new(BufferedChunkReader::new(file, chunk, has_places)?);
        let wants_few = first.is_some_and(|first| first < rows / 2)
            && chunk.compression() == Compression::SNAPPY
            && !has_places;
        let places = places.map(|places| places.to_vec());
        let pages = SerializedPageReader::new(chunk_reader.clone(), chunk, rows, places)?;
        Ok(Self {
            pages: Some(pages),
            dictionary_beginning: wants_few.then(|| chunk_reader.first_page()).flatten(),
            chunk_reader,
            may_be_null: chunk.column_descr().max_def_level() > 0,
            dictionary: Bytes::new(),
            page: DataPage::empty(),
            unsupported_encoding: false,
        })
    }

    /// Fills `into` with the next rows, or with fewer at the end.
    pub fn read<T: FixedWidth>(&mut self, into: &mut [T]) -> Result<ColumnRead, ParquetError> {
        let mut read = ColumnRead::default();
        while read.rows < into.len() && (self.page.rows > 0 || self.next_page()?) {
            let rest = &mut into[read.rows..];
            let rows = rest.len().min(self.page.rows);
            let first_null = self.page.read(&self.dictionary, &mut rest[..rows])?;
            read.first_null = read.first_null.or(first_null.map(|row| read.rows + row));
            read.rows += rows;
        }
        read.unsupported_encoding = self.unsupported_encoding;
        Ok(read)
    }

    /// Skips the next rows, or fewer at the end. Does not decompress pages that are skipped as a
    /// whole. In other pages, it unpacks levels and indexes, and looks up no value.
    pub fn skip(&mut self, rows: usize) -> Result<ColumnRead, ParquetError> {
        let mut read = ColumnRead::default();
        while read.rows < rows {
            let left = rows - read.rows;
            if self.page.rows == 0 {
                if !self.unsupported_encoding
                    && let Some(pages) = &mut self.pages
                    && let Some(next) = pages.peek_next_page()?
                    && let Some(levels) = next
                        .num_levels
                        .or(next.num_rows)
                        .or(next.is_dict.then_some(0))
                    && levels <= left
                {
                    // The dictionary is kept for the page that needs it.
                    pages.skip_next_page()?;
                    read.rows += levels;
                    continue;
                }
                if !self.next_page()? {
                    break;
                }
            }
            let step = left.min(self.page.rows);
            self.page.skip(step)?;
            read.rows += step;
        }
        read.unsupported_encoding = self.unsupported_encoding;
        Ok(read)
    }

    /// Whether the dictionary is so large that many rows should be read while it is in the cache.
    pub fn has_wide_dictionary(&self) -> bool {
        self.dictionary.len() > WIDE_DICTIONARY_BYTES
            && matches!(self.page.values, Values::Indexes(_))
    }

    /// Loads the next page with rows. `false` at the end, and before an unsupported encoding.
    fn next_page(&mut self) -> Result<bool, ParquetError> {
        while !self.unsupported_encoding && self.page.rows == 0 {
            let Some(pages) = &mut self.pages else {
                return Ok(false);
            };
            let next = pages.peek_next_page()?;
            if next.as_ref().is_some_and(|next| next.is_dict) {
                // The first page that needs the dictionary loads it.
                pages.skip_next_page()?;
                continue;
            }
            // Free the memory for the next page.
            self.page = DataPage::empty();
            let Some(page) = pages.get_next_page()? else {
                return Ok(false);
            };
            let declared = next.and_then(|next| next.num_levels.or(next.num_rows));
            if declared.is_some_and(|rows| rows != page.num_values() as usize) {
                let message = "the page index contradicts the number of rows of a page";
                return Err(ParquetError::General(message.to_owned()));
            }
            match DataPage::new(&page, self.may_be_null)? {
                Some(page) if self.load_dictionary(&page)? => {
                    self.page = page;
                    if self.chunk_reader.free_if_ended() {
                        self.pages = None;
                    }
                }
                _ => self.unsupported_encoding = true,
            }
        }
        Ok(self.page.rows > 0)
    }

    /// Loads the part of the dictionary that a page needs. `false` if it has another encoding.
    fn load_dictionary(&mut self, page: &DataPage) -> Result<bool, ParquetError> {
        let Values::Indexes(indexes) = &page.values else {
            return Ok(true);
        };
        if let Some(dictionary) = &self.dictionary_beginning {
            let entries = indexes.largest().map(|largest| largest as usize + 1);
            if let Ok(entries) = entries
                && let Some(beginning) = self.chunk_reader.beginning_of(dictionary, entries * 8)
            {
                self.dictionary = beginning;
                return Ok(true);
            }
            self.dictionary_beginning = None;
        }
        let Some(pages) = &mut self.pages else {
            return Ok(true);
        };
        match pages.take_deferred_dictionary()? {
            None => {}
            Some(Page::DictionaryPage {
                buf,
                num_values,
                encoding: Encoding::PLAIN | Encoding::PLAIN_DICTIONARY,
                ..
            }) => self.dictionary = values_of(&buf, num_values)?,
            Some(_) => return Ok(false),
        }
        Ok(true)
    }
}

impl DataPage {
    fn empty() -> Self {
        Self {
            rows: 0,
            levels: None,
            values: Values::Plain(Bytes::new()),
        }
    }

    /// `None` for an unsupported encoding.
    fn new(page: &Page, may_be_null: bool) -> Result<Option<Self>, ParquetError> {
        let (levels, values) = match page {
            Page::DataPage {
                buf,
                def_level_encoding,
                ..
            } => match (may_be_null, def_level_encoding) {
                (false, _) => (None, buf.clone()),
                (true, Encoding::RLE) => {
                    let len = buf.first_chunk().copied().map(u32::from_le_bytes);
                    let (_, levels, values) = three_parts(buf, 4, len.unwrap_or(u32::MAX))?;
                    (Some(levels), values)
                }
                _ => return Ok(None),
            },
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let (_, levels, values) =
                    three_parts(buf, *rep_levels_byte_len, *def_levels_byte_len)?;
                (may_be_null.then_some(levels), values)
            }
            Page::DictionaryPage { .. } => return Ok(None),
        };
        let rows = page.num_values() as usize;
        let mut levels = levels
            .map(|bytes| RleBitPacked::new(bytes, 1))
            .transpose()?;
        if let Some(all) = &mut levels
            && all.begins_with(1, rows)?
        {
            levels = None;
        }
        let values = match page.encoding() {
            Encoding::PLAIN => Values::Plain(values),
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                // A page that has only nulls may be empty.
                let width = values.first().copied().unwrap_or_default();
                let indexes = values.slice(values.len().min(1)..);
                Values::Indexes(RleBitPacked::new(indexes, width)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            rows,
            levels,
            values,
        }))
    }

    /// Fills `into` with the next rows; the page must have that many. Returns the first null.
    fn read<T: FixedWidth>(
        &mut self,
        dictionary: &[u8],
        into: &mut [T],
    ) -> Result<Option<usize>, ParquetError> {
        self.rows -= into.len();
        let Some(levels) = &mut self.levels else {
            self.values.read(dictionary, into)?;
            return Ok(None);
        };
        let mut first_null = None;
        for (part, into) in into.chunks_mut(UNPACKED).enumerate() {
            let mut unpacked = [0; UNPACKED];
            let unpacked = &mut unpacked[..into.len()];
            levels.read(unpacked)?;
            if unpacked.iter().any(|&level| level > 1) {
                return Err(ParquetError::General(
                    "definition level is above 1".to_owned(),
                ));
            }
            let present = unpacked.iter().filter(|&&level| level == 1).count();
            self.values.read(dictionary, &mut into[..present])?;
            if present < into.len() {
                spread(into, present, unpacked);
                let null = unpacked.iter().position(|&level| level != 1);
                first_null = first_null.or(null.map(|row| part * UNPACKED + row));
            }
        }
        Ok(first_null)
    }
}

impl DataPage {
    /// Skips the next rows; the page must have that many.
    fn skip(&mut self, rows: usize) -> Result<(), ParquetError> {
        self.rows -= rows;
        let Some(levels) = &mut self.levels else {
            return self.values.skip(rows);
        };
        let mut left = rows;
        while left > 0 {
            let mut unpacked = [0; UNPACKED];
            let unpacked = &mut unpacked[..left.min(UNPACKED)];
            levels.read(unpacked)?;
            let present = unpacked.iter().filter(|&&level| level == 1).count();
            self.values.skip(present)?;
            left -= unpacked.len();
        }
        Ok(())
    }
}

impl Values {
    /// Skips the next values; that many must remain.
    fn skip(&mut self, count: usize) -> Result<(), ParquetError> {
        match self {
            Self::Plain(bytes) => {
                let len = count * 8;
                if len > bytes.len() {
                    return Err(too_few_values());
                }
                bytes.advance(len);
            }
            Self::Indexes(indexes) => {
                let mut left = count;
                while left > 0 {
                    let mut unpacked = [0; UNPACKED];
                    let step = left.min(UNPACKED);
                    indexes.read(&mut unpacked[..step])?;
                    left -= step;
                }
            }
        }
        Ok(())
    }

    /// Fills `into` with the next values; that many must remain.
    fn read<T: FixedWidth>(
        &mut self,
        dictionary: &[u8],
        into: &mut [T],
    ) -> Result<(), ParquetError> {
        match self {
            Self::Plain(bytes) => {
                let (values, _) = bytes.as_chunks::<8>();
                let values = values.get(..into.len()).ok_or_else(too_few_values)?;
                for (value, bytes) in into.iter_mut().zip(values) {
                    *value = T::from_le_bytes(*bytes);
                }
                bytes.advance(into.len() * 8);
            }
            Self::Indexes(indexes) => {
                let (dictionary, _) = dictionary.as_chunks::<8>();
                for into in into.chunks_mut(UNPACKED) {
                    let mut unpacked = [0; UNPACKED];
                    let unpacked = &mut unpacked[..into.len()];
                    indexes.read(unpacked)?;
                    for (value, &index) in into.iter_mut().zip(&*unpacked) {
                        let entry = dictionary.get(index as usize);
                        *value = T::from_le_bytes(*entry.ok_or_else(beyond_dictionary)?);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The first `count` values of a page that holds only values.
fn values_of(page: &Bytes, count: u32) -> Result<Bytes, ParquetError> {
    let len = (count as usize).saturating_mul(8);
    if len > page.len() {
        return Err(too_few_values());
    }
    Ok(page.slice(..len))
}

/// Splits a page into its first `first` bytes, the next `second` bytes, and the rest.
fn three_parts(
    page: &Bytes,
    first: u32,
    second: u32,
) -> Result<(Bytes, Bytes, Bytes), ParquetError> {
    let (first, second) = (first as usize, second as usize);
    let end = first.saturating_add(second);
    if end > page.len() {
        return Err(ParquetError::EOF(
            "levels of a page are longer than the page".to_owned(),
        ));
    }
    Ok((
        page.slice(..first),
        page.slice(first..end),
        page.slice(end..),
    ))
}

fn too_few_values() -> ParquetError {
    ParquetError::EOF("page holds fewer values than its header declares".to_owned())
}

fn beyond_dictionary() -> ParquetError {
    ParquetError::General("index is beyond the end of the dictionary".to_owned())
}

/// Moves the first `present` values to their rows, and writes nulls to the others.
fn spread<T: FixedWidth>(rows: &mut [T], present: usize, levels: &[u32]) {
    let mut from = present;
    // Starts at the end, so that each value moves before its place is overwritten.
    for (row, &level) in levels.iter().enumerate().rev() {
        rows[row] = if level == 1 {
            from -= 1;
            rows[from]
        } else {
            T::NULL
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_to_the_rows_that_are_not_null() {
        let mut values = [1.0, 2.0, 3.0, 7.0, 7.0, 7.0, 7.0];
        spread(&mut values, 3, &[0, 1, 0, 0, 1, 1, 0]);
        let rows: Vec<_> = values.iter().map(ToString::to_string).collect();
        assert_eq!(rows, ["NaN", "1", "NaN", "NaN", "2", "3", "NaN"]);
    }
}
