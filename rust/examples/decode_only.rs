//! Measures the limit of `sync`: decodes the same six columns of the same files with the same
//! reader and number of threads. Reads one file after the other, and drops the values.
//!
//! ```text
//! decode_only --data ROOT --symbols A,B --timeframe M1 --price-types bid,ask --threads 2
//! ```

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Parser;
use omega_slices::{PriceType, ReadOptions, Request, Timeframe};

/// The allocator of the executable, for a fair comparison.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    timeframe: Timeframe,
    /// Price types.
    #[arg(long, value_delimiter = ',', default_value = "bid,ask")]
    price_types: Vec<PriceType>,
    /// Decoding threads.
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,
}

fn main() -> Result<(), omega_slices::Error> {
    let arguments = Arguments::parse();
    let request = Request::builder(arguments.data)
        .symbols(arguments.symbols)
        .timeframe(arguments.timeframe)
        .price_types(arguments.price_types)
        .build()?;
    let options = ReadOptions::new().with_threads(arguments.threads);
    std::hint::black_box(omega_slices::bench_support::decode(&request, &options)?);
    Ok(())
}
