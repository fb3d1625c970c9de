//! Owns Arrow IPC: writing slices as a stream or a file, and reading them back.
//!
//! Both forms hold the same messages. A stream is the schema, the dictionary, the batches, the seal and an
//! end marker; a file puts a few bytes before that and a footer behind it, so that its batches can be
//! reached in any order.
//!
//! The seal is a record batch without rows, written after the last slice. It exists because readers
//! take a stream that is cut between two messages for a complete one.

mod footer;
mod messages;
mod read;
mod write;

pub use self::footer::Seal;
pub use self::read::{SliceContent, SliceReader, StoredSlices};
pub(crate) use self::read::{open_file, read_footer, stream_in_file};
pub(crate) use self::write::Encoder;
pub use self::write::{Compression, Format, WriteOptions, write};
