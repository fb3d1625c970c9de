//! Writes slices as Arrow IPC streams or files, and reads them back.
//!
//! Both formats contain the same messages: the schema, the dictionary, the batches, the seal and an
//! end marker. A file adds a short header and a footer, so that its batches can be read in any
//! order.
//!
//! The seal is a record batch without rows, written after the last slice. Without it, readers
//! accept a stream that is cut between two messages as complete.

mod footer;
mod messages;
mod parts;
mod plain_types;
mod read;
mod slice_file;
mod write;

pub use self::footer::Seal;
pub use self::parts::{Part, PartList, read_parts};
pub use self::read::{SliceContent, SliceReader, StoredSlices};
pub use self::read::{folder_of_parts, read_footer, read_part_footer, stream_in_file};
pub use self::slice_file::{BytesAt, SliceFile};
pub use self::write::Encoder;
pub use self::write::{Compression, Format, WriteOptions, write};
