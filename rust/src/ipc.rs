//! Owns the Arrow IPC output: one writer for stdout, streams and files, and the seal.
//!
//! The seal is a record batch without rows, written after the last slice. It exists because readers
//! take a stream that is cut between two messages for a complete one. Nothing here writes it, or
//! the end-of-stream marker, unless every slice was written before.

use std::io::{self, BufWriter, Write};
use std::sync::mpsc;
use std::thread;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, StreamWriter};

use crate::data::multi_symbol::SliceBatches;
use crate::error::{Error, Result};

/// Small writes (headers, padding) are gathered; the values of a batch go out in one write each.
const BUFFER_BYTES: usize = 1 << 16;

/// Batches that wait for the writer: one is written while the next one is built.
const BATCHES_AHEAD: usize = 1;

/// The two forms of Arrow IPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One message after the other, for pipes (`.arrows`).
    Stream,
    /// With a footer, for random access (`.arrow`).
    File,
}

pub(crate) enum Encoder<W: Write> {
    Stream(Box<StreamWriter<BufWriter<W>>>),
    File(Box<FileWriter<BufWriter<W>>>),
}

impl<W: Write> Encoder<W> {
    pub fn new(format: Format, output: W, schema: &Schema) -> Result<Self, ArrowError> {
        let output = BufWriter::with_capacity(BUFFER_BYTES, output);
        Ok(match format {
            Format::Stream => Self::Stream(Box::new(StreamWriter::try_new(output, schema)?)),
            Format::File => Self::File(Box::new(FileWriter::try_new(output, schema)?)),
        })
    }

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

    pub fn finish(&mut self) -> Result<(), ArrowError> {
        match self {
            Self::Stream(writer) => writer.finish(),
            Self::File(writer) => writer.finish(),
        }
    }
}

/// Writes all slices, the seal and the end of the stream (or the footer), and flushes.
///
/// The batches are written by a thread of its own while the next ones are made. `after_batch` is
/// called on the caller's thread after each batch was handed to it.
///
/// # Errors
///
/// An error of the input ends the output where it is, without seal and end marker. An error of the
/// output is a system failure; [`Error::is_broken_pipe`] tells the closed pipe from the rest.
pub fn write<W: Write + Send>(
    batches: &mut SliceBatches,
    format: Format,
    output: W,
    mut after_batch: impl FnMut(&SliceBatches),
) -> Result<()> {
    let schema = batches.schema();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(BATCHES_AHEAD);
        let (written_sender, written) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("write".to_owned())
            .spawn_scoped(scope, move || {
                write_received(&receiver, &written_sender, format, output, &schema)
            })
            .map_err(|error| {
                Error::system("the writing thread cannot be started").with_source(error)
            })?;
        let read = send_all(batches, &sender, &written, &mut after_batch);
        // Without this the writer would wait for more.
        drop(sender);
        let wrote = writer
            .join()
            .unwrap_or_else(|_| Err(Error::system("the writing thread failed")));
        read.and(wrote)
    })
}

/// Hands every batch and then the seal to the writer. Stops early, and successfully, where the
/// writer has hung up: it did so because it failed, and its own result says why.
fn send_all(
    batches: &mut SliceBatches,
    sender: &mpsc::SyncSender<RecordBatch>,
    written: &mpsc::Receiver<RecordBatch>,
    after_batch: &mut impl FnMut(&SliceBatches),
) -> Result<()> {
    while let Some(batch) = batches.next() {
        if sender.send(batch?.into_record_batch()).is_err() {
            return Ok(());
        }
        for batch in written.try_iter() {
            batches.recycle(batch);
        }
        after_batch(batches);
    }
    let _ = sender.send(batches.seal());
    Ok(())
}

/// Writes what it receives. The batch without rows is the seal: only it completes the output.
fn write_received<W: Write>(
    batches: &mpsc::Receiver<RecordBatch>,
    written: &mpsc::Sender<RecordBatch>,
    format: Format,
    output: W,
    schema: &Schema,
) -> Result<()> {
    let mut encoder = Encoder::new(format, output, schema).map_err(output_failed)?;
    // The schema at once: a reader can tell a run that begins from one that failed to.
    encoder.flush().map_err(output_failed)?;
    for batch in batches {
        encoder.write(&batch).map_err(output_failed)?;
        if batch.num_rows() == 0 {
            return encoder.finish().map_err(output_failed);
        }
        encoder.flush().map_err(output_failed)?;
        // Its memory serves again, unless nobody wants it any more.
        let _ = written.send(batch);
    }
    Ok(())
}

fn output_failed(error: ArrowError) -> Error {
    let error = match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    };
    Error::system(format!("the output cannot be written: {error}")).with_source(error)
}
