//! Parquet bytes to columns, safely: the footer of a file, its columns and their types, decoding them into
//! nanoseconds and float64, and the promise that the file stays the same while it is read.
//!
//! Decoder errors and panics become [`crate::Code::CorruptInput`] with the file's name. Nothing here knows
//! windows, sessions or order.

mod arrays;
mod buffered_chunk_reader;
mod clock;
mod column_cursor;
mod columns;
mod file;
mod fixed_width;
mod formats;
mod instruments;
mod limits;
mod page_index;
mod pages;
mod parquet_file;
mod ranges;
mod rle_bit_packed;
mod row_reader;
mod series_file;
mod sessions;
mod snappy;
mod text_time;
mod thrift;
mod time_column;

pub(crate) use self::clock::{Part, TimeRules};
pub(crate) use self::column_cursor::{ColumnCursor, FileColumn, FileRanges, LastRange};
pub(crate) use self::columns::FileContents;
pub(crate) use self::file::check_within;
pub(crate) use self::instruments::Instruments;
pub(crate) use self::parquet_file::{ParquetFile, RowRange};
pub(crate) use self::ranges::DoubledRow;
pub(crate) use self::row_reader::{Projection, RawRows, RowReader};
pub(crate) use self::series_file::{EmptyFile, FileOptions, Opened, PageBounds, SeriesFile};
pub(crate) use self::sessions::read_sessions;

const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;
