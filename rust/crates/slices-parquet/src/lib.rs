//! Turns the bytes of Parquet files into columns, within limits. Reads the footer of a file, finds
//! its columns, and decodes them into nanoseconds and float64. Detects changes of the file while it
//! is read.
//!
//! Decoder errors and panics become [`slices_core::Code::CorruptInput`] with the file's name.
//! Nothing here knows windows, sessions or order.
//!
//! May import `slices-core` and `slices-store`. The only crate that names the Parquet library.

mod arrays;
#[doc(hidden)]
pub mod bench_support;
mod buffered_chunk_reader;
mod clock;
mod column_cursor;
mod columns;
mod fetching;
mod file;
mod fixed_width;
mod formats;
mod instruments;
mod limits;
mod numbers;
mod page_header;
mod page_index;
mod pages;
mod parquet_file;
mod ranges;
mod recent_files;
mod rle_bit_packed;
mod row_reader;
mod series_file;
mod sessions;
mod snappy;
mod text_time;
mod thrift;
mod time_column;
mod varint;

pub use self::clock::{Part, TimeRules};
pub use self::column_cursor::{ColumnCursor, FileColumn, FileRanges, LastRange};
pub use self::columns::{FileContents, ValueColumn};
pub use self::file::check_within;
pub use self::instruments::Instruments;
pub use self::parquet_file::{FileOptions, ParquetFile, RowRange, StaysOpen};
pub use self::ranges::DoubledRow;
pub use self::recent_files::RecentFiles;
pub use self::row_reader::{CandlePlaces, Projection, RawRows, RowReader};
pub use self::series_file::{EmptyFile, Opened, PageBounds, SeriesFile};
pub use self::sessions::read_sessions;
