//! Reads the messages of a stream one by one, and checks the lengths in them.
//!
//! A length may be wrong. Memory is reserved as bytes arrive. The declared size of a compressed
//! buffer is checked against the rows of its batch: the Arrow library would reserve it, and the
//! process would die if that fails.

use std::io::{self, Read};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::{
    Block, MessageHeader, MetadataVersion, RecordBatch as BatchHeader, root_as_message,
};

/// The start of every message; before the first message, a file contains only zeros.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];

/// The continuation and the length of the header.
const PREFIX_BYTES: usize = 8;

/// Maximum header size: far more than the schema of any slices.
const HEADER_BYTES_MAX: usize = 1 << 26;

/// Maximum memory to reserve for a body before it arrives.
const RESERVED_BYTES_MAX: usize = 1 << 26;

/// Maximum rows of a batch: hundreds of times more than we write.
const BATCH_ROWS_MAX: u64 = 1 << 24;

/// Maximum size of the buffers of a batch, decompressed.
const BATCH_BYTES_MAX: u64 = 1 << 30;

/// Maximum size of the symbols, decompressed.
const DICTIONARY_BYTES_MAX: u64 = 1 << 26;

/// Size of the widest value, and the padding of a buffer.
const VALUE_BYTES: u64 = 8;
const PADDING_BYTES: u64 = 64;

/// The messages of a stream after its schema.
pub(super) struct Messages<R> {
    input: R,
    decoder: FileDecoder,
    schema: SchemaRef,
}

/// A message: its header, then its body at offset `body`.
struct Message {
    bytes: Vec<u8>,
    body: usize,
}

impl<R: Read> Messages<R> {
    /// Reads the schema.
    pub fn new(mut input: R) -> Result<Self, ArrowError> {
        let message = Message::read(&mut input)?.ok_or_else(|| wrong("it has no schema"))?;
        let (schema, version) = message.schema()?;
        Ok(Self {
            input,
            decoder: FileDecoder::new(schema.clone(), version),
            schema,
        })
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The input after the end marker.
    pub fn into_rest(self) -> R {
        self.input
    }

    /// The next batch; `None` at the end marker. A stream that ends without one is an error.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while let Some(message) = Message::read(&mut self.input)? {
            let kind = message.check()?;
            let block = message.block()?;
            let bytes = Buffer::from_vec(message.bytes);
            match kind {
                MessageHeader::DictionaryBatch => self.decoder.read_dictionary(&block, &bytes)?,
                MessageHeader::RecordBatch => {
                    let batch = self.decoder.read_record_batch(&block, &bytes)?;
                    return batch
                        .map(Some)
                        .ok_or_else(|| wrong("a record batch message contains no batch"));
                }
                _ => return Err(wrong("expected a batch, found a message of another kind")),
            }
        }
        Ok(None)
    }
}

impl Message {
    /// Reads a message; `None` at the end marker.
    fn read(input: &mut impl Read) -> Result<Option<Self>, ArrowError> {
        let mut bytes = Vec::new();
        read_exactly(input, PREFIX_BYTES, &mut bytes)?;
        let (continuation, length) = bytes.split_at(CONTINUATION.len());
        if continuation != CONTINUATION {
            return Err(wrong("expected the start of a message"));
        }
        let length = length
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        if length == 0 {
            return Ok(None);
        }
        if length > HEADER_BYTES_MAX {
            return Err(wrong("message header declares more bytes than the limit"));
        }
        read_exactly(input, length, &mut bytes)?;
        let body = bytes.len();
        let body_bytes = header(&bytes[PREFIX_BYTES..])?.bodyLength();
        let body_bytes = usize::try_from(body_bytes)
            .map_err(|_| wrong("message declares a body of negative length"))?;
        read_exactly(input, body_bytes, &mut bytes)?;
        Ok(Some(Self { bytes, body }))
    }

    fn schema(&self) -> Result<(SchemaRef, MetadataVersion), ArrowError> {
        let header = header(&self.bytes[PREFIX_BYTES..self.body])?;
        let schema = header.header_as_schema();
        let schema = schema.ok_or_else(|| wrong("its first message is not a schema"))?;
        Ok((try_fb_to_schema(schema)?.into(), header.version()))
    }

    /// The kind of the message, after a check of the sizes that its buffers declare.
    fn check(&self) -> Result<MessageHeader, ArrowError> {
        let header = header(&self.bytes[PREFIX_BYTES..self.body])?;
        let body = &self.bytes[self.body..];
        if let Some(batch) = header.header_as_record_batch() {
            let rows = u64::try_from(batch.length()).unwrap_or(u64::MAX);
            if rows > BATCH_ROWS_MAX {
                return Err(wrong("batch declares more rows than the limit"));
            }
            let most = rows * VALUE_BYTES + PADDING_BYTES;
            check_sizes(batch, body, most, BATCH_BYTES_MAX)?;
        } else if let Some(batch) = header
            .header_as_dictionary_batch()
            .and_then(|one| one.data())
        {
            // Texts have any length, so the limit is absolute.
            check_sizes(batch, body, DICTIONARY_BYTES_MAX, DICTIONARY_BYTES_MAX)?;
        }
        Ok(header.header_type())
    }

    fn block(&self) -> Result<Block, ArrowError> {
        let length = i32::try_from(self.body).map_err(|_| wrong("a header is too long"))?;
        Ok(Block::new(0, length, (self.bytes.len() - self.body) as i64))
    }
}

fn header(bytes: &[u8]) -> Result<arrow::ipc::Message<'_>, ArrowError> {
    root_as_message(bytes).map_err(|error| wrong(&format!("cannot read a header: {error}")))
}

/// Checks the declared sizes of compressed buffers against a limit for each and for all.
fn check_sizes(
    batch: BatchHeader<'_>,
    body: &[u8],
    most: u64,
    most_together: u64,
) -> Result<(), ArrowError> {
    if batch.compression().is_none() {
        return Ok(());
    }
    let mut together = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let place = usize::try_from(buffer.offset()).ok();
        let bytes = place.and_then(|place| body.get(place..)?.first_chunk());
        // Shorter buffers are empty. -1 marks an uncompressed buffer.
        let declared = bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes));
        if buffer.length() <= 0 || declared == -1 {
            continue;
        }
        let declared = u64::try_from(declared).unwrap_or(u64::MAX);
        together = together.saturating_add(declared);
        if declared > most || together > most_together {
            return Err(wrong(
                "compressed buffer declares more bytes than the limit",
            ));
        }
    }
    Ok(())
}

/// Appends exactly `count` bytes; fails if there are fewer.
fn read_exactly(
    input: &mut impl Read,
    count: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    bytes
        .try_reserve(count.min(RESERVED_BYTES_MAX))
        .map_err(|error| ArrowError::MemoryError(error.to_string()))?;
    let read = input.by_ref().take(count as u64).read_to_end(bytes)?;
    if read < count {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

/// An error of the bytes, in Arrow's error type.
pub(super) fn wrong(what: &str) -> ArrowError {
    ArrowError::ParseError(what.to_owned())
}
