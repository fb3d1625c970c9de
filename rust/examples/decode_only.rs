//! The limit that `sync` is measured against: decodes the same six columns of the same files with
//! the same decoder on as many threads, and drops the values.
//!
//! ```text
//! decode_only --data ROOT --symbols A,B --timeframe M1 --price-types bid,ask --threads 2
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use clap::Parser;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Decodes the columns of candle files in the default layout and drops them.
#[derive(Parser)]
struct Arguments {
    /// Root folder of the candle files.
    #[arg(long)]
    data: PathBuf,
    /// Symbols.
    #[arg(long, value_delimiter = ',', required = true)]
    symbols: Vec<String>,
    /// Length of the candles.
    #[arg(long, default_value = "M1")]
    timeframe: String,
    /// Price types.
    #[arg(long, value_delimiter = ',', default_value = "bid,ask")]
    price_types: Vec<String>,
    /// Decoding threads.
    #[arg(long, default_value = "2")]
    threads: usize,
    /// Rows per decoded batch.
    #[arg(long, default_value = "8192")]
    batch_rows: usize,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let mut files = Vec::new();
    for symbol in &arguments.symbols {
        for side in &arguments.price_types {
            let name = format!(
                "{symbol}_{}_{}.parquet",
                arguments.timeframe,
                side.to_uppercase()
            );
            files.push(arguments.data.join(symbol).join(name));
        }
    }
    let left = Mutex::new(files.into_iter());
    let next = || left.lock().ok()?.next();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(file) = next() {
                        decode(&file, arguments.batch_rows)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        })
    })
}

fn decode(path: &Path, batch_rows: usize) -> Result<(), Failure> {
    const COLUMNS: [&str; 6] = ["UTC time", "Open", "High", "Low", "Close", "Volume"];
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path)?, options)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    for batch in builder
        .with_projection(mask)
        .with_batch_size(batch_rows)
        .build()?
    {
        std::hint::black_box(batch?);
    }
    Ok(())
}
