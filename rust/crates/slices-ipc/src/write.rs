//! Writes Arrow IPC output to stdout, streams and files.
//!
//! Writes the seal, the end marker and the footer only after all slices.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use serde::Serialize;

use crate::footer::{self, BatchIndex};
use slices_core::error::{Error, Result};
use slices_engine::multi_symbol::SliceBatches;

/// Buffers small writes (headers, padding); the values of a batch bypass it.
const BUFFER_BYTES: usize = 1 << 16;

/// Batches that wait for the writer: it writes one while the next one is built.
const BATCHES_AHEAD: usize = 1;

/// The two forms of Arrow IPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A sequence of messages, for pipes (`.arrows`).
    Stream,
    /// With a footer, for random access (`.arrow`).
    File,
}

/// How the buffers of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// LZ4 frames: fast.
    Lz4,
    /// Zstandard at its default level: smaller.
    Zstd,
}

/// The output format of slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Stream or file.
    pub format: Format,
    /// `None` by default: only uncompressed buffers can be used in place.
    pub compression: Option<Compression>,
}

impl WriteOptions {
    /// This format without compression.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self {
            format,
            compression: None,
        }
    }

    /// Sets or removes the compression.
    #[must_use]
    pub const fn with_compression(mut self, compression: Option<Compression>) -> Self {
        self.compression = compression;
        self
    }

    fn of_arrow(self) -> Result<IpcWriteOptions, ArrowError> {
        let compression = self.compression.map(|compression| match compression {
            Compression::Lz4 => CompressionType::LZ4_FRAME,
            Compression::Zstd => CompressionType::ZSTD,
        });
        IpcWriteOptions::default().try_with_compression(compression)
    }
}

/// Encodes batches as messages of a stream or file.
pub enum Encoder<W: Write> {
    /// Writes a stream.
    Stream(Box<StreamWriter<BufWriter<W>>>),
    /// Writes a file.
    File(Box<FileWriter<BufWriter<W>>>),
}

impl<W: Write> Encoder<W> {
    /// Writes the schema.
    ///
    /// # Errors
    ///
    /// Fails if the output fails, as the other methods do.
    pub fn new(options: WriteOptions, output: W, schema: &Schema) -> Result<Self, ArrowError> {
        let output = BufWriter::with_capacity(BUFFER_BYTES, output);
        let of_arrow = options.of_arrow()?;
        Ok(match options.format {
            Format::Stream => {
                let writer = StreamWriter::try_new_with_options(output, schema, of_arrow)?;
                Self::Stream(Box::new(writer))
            }
            Format::File => {
                let writer = FileWriter::try_new_with_options(output, schema, of_arrow)?;
                Self::File(Box::new(writer))
            }
        })
    }

    /// Adds an entry to the footer, if the format has one.
    fn add_to_footer(&mut self, key: &str, value: String) {
        if let Self::File(writer) = self {
            writer.write_metadata(key, value);
        }
    }

    /// Writes one batch.
    ///
    /// # Errors
    ///
    /// Fails if the output fails.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Stream(writer) => writer.write(batch),
            Self::File(writer) => writer.write(batch),
        }
    }

    fn flush(&mut self) -> Result<(), ArrowError> {
        match self {
            Self::Stream(writer) => writer.flush(),
            Self::File(writer) => writer.flush(),
        }
    }

    /// Writes the end marker, and the footer of a file.
    ///
    /// # Errors
    ///
    /// Fails if the output fails.
    pub fn finish(&mut self) -> Result<(), ArrowError> {
        match self {
            Self::Stream(writer) => writer.finish(),
            Self::File(writer) => writer.finish(),
        }
    }
}

/// A message to the writing thread.
enum Message {
    /// A batch with rows.
    Batch(RecordBatch),
    /// The end of the slices: the empty batch, and the document of the run.
    Seal(RecordBatch, String),
}

/// Writes all slices, the seal and the end of the stream (or the footer), and flushes.
///
/// A separate thread writes the batches while the next ones are built. `after_batch` runs on the
/// caller's thread after each batch is handed over, with the bytes written so far. It runs once
/// more after the last slice and before the seal ([`SliceBatches::is_at_end`]).
///
/// # Errors
///
/// An input error ends the output at once, without seal and end marker. An output error is a system
/// failure; [`Error::is_broken_pipe`] identifies a closed pipe.
pub fn write<W: Write + Send>(
    batches: &mut SliceBatches,
    options: WriteOptions,
    output: W,
    mut after_batch: impl FnMut(&SliceBatches, u64),
) -> Result<()> {
    let schema = batches.schema();
    let symbols = batches.symbols().len();
    let bytes = AtomicU64::new(0);
    let output = Counted {
        output,
        bytes: &bytes,
    };
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(BATCHES_AHEAD);
        let (written_sender, written) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("write".to_owned())
            .spawn_scoped(scope, move || {
                let encoder = Encoder::new(options, output, &schema).map_err(output_failed)?;
                write_received(&receiver, &written_sender, encoder, symbols)
            })
            .map_err(|error| {
                Error::system("cannot start the writing thread")
                    .with_source(error)
                    .with_hint("raise the limit of threads (ulimit -u)")
            })?;
        let mut after_batch = |batches: &SliceBatches| {
            after_batch(batches, bytes.load(Ordering::Relaxed));
        };
        let read = send_all(batches, &sender, &written, &mut after_batch);
        // Otherwise the writer would wait for more.
        drop(sender);
        let wrote = writer.join().unwrap_or_else(|_| {
            Err(Error::system("the writing thread failed")
                .with_hint("report it as a defect, with the request"))
        });
        read.and(wrote)
    })
}

/// Sends every batch and then the seal to the writer. Returns `Ok` early if the writer has stopped:
/// its own result holds the error.
fn send_all(
    batches: &mut SliceBatches,
    sender: &mpsc::SyncSender<Message>,
    written: &mpsc::Receiver<RecordBatch>,
    after_batch: &mut impl FnMut(&SliceBatches),
) -> Result<()> {
    while let Some(batch) = batches.next() {
        let batch = batch?.into_record_batch();
        if sender.send(Message::Batch(batch)).is_err() {
            return Ok(());
        }
        for batch in written.try_iter() {
            batches.recycle(batch);
        }
        after_batch(batches);
    }
    after_batch(batches);
    let run = footer::run_document(&batches.report(), batches.warnings());
    let _ = sender.send(Message::Seal(batches.seal(), run));
    Ok(())
}

/// Writes the received messages. Only the seal completes the output.
fn write_received<W: Write>(
    messages: &mpsc::Receiver<Message>,
    written: &mpsc::Sender<RecordBatch>,
    mut encoder: Encoder<W>,
    symbols: usize,
) -> Result<()> {
    // Write the schema at once: it tells the reader that the run has started.
    encoder.flush().map_err(output_failed)?;
    let mut index = BatchIndex::default();
    for message in messages {
        match message {
            Message::Batch(batch) => {
                encoder.write(&batch).map_err(output_failed)?;
                encoder.flush().map_err(output_failed)?;
                index.add(&batch, symbols);
                // Return the batch for reuse; the receiver may be gone.
                let _ = written.send(batch);
            }
            Message::Seal(seal, run) => {
                encoder.write(&seal).map_err(output_failed)?;
                for (key, value) in footer::entries(&index, run) {
                    encoder.add_to_footer(key, value);
                }
                return encoder.finish().map_err(output_failed);
            }
        }
    }
    Ok(())
}

/// Counts the written bytes.
struct Counted<'a, W> {
    output: W,
    bytes: &'a AtomicU64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.output.write(buffer)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn output_failed(error: ArrowError) -> Error {
    let error = match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    };
    Error::system(format!("cannot write the output: {error}"))
        .with_source(error)
        .with_hint("make room there, or name another output")
}
