//! Parses the arguments of a whole request: its series, and the slices to make of them.

use clap::Args;
use omega_slices::{Error, HigherTimeframe, PathTemplate, Request};

use crate::cli::args::SeriesArguments;

#[derive(Debug, Args)]
pub struct RequestArguments {
    #[command(flatten)]
    pub series: SeriesArguments,

    /// Which timestamps become slices.
    ///
    /// intersection: those of every series. union: those of any series. leader:SYMBOL: those at
    /// which SYMBOL has all its price types. quorum:K: those at which at least K symbols have all
    /// their price types.
    #[arg(
        long,
        value_name = "intersection|union|leader:SYMBOL|quorum:K",
        default_value = "intersection"
    )]
    timeline: String,

    /// What to show where a series has no candle: nothing (none) or its latest earlier candle
    /// (forward).
    ///
    /// A separate column holds the timestamp of the carried candle. It may be earlier than --start.
    #[arg(long, value_name = "none|forward", default_value = "none")]
    fill: String,

    /// Maximum age of a carried candle: 15m, 2h, 3d, 5bars. Required with --fill forward.
    ///
    /// The age counts from the timestamp of the candle. The units are s, m, h, d, w and bars.
    #[arg(long, value_name = "AGE")]
    max_age: Option<String>,

    /// Also show the latest complete candles of a higher timeframe.
    ///
    /// A candle is complete when it has ended by the time that --known-at names. Repeat the option
    /// for several timeframes.
    #[arg(long, value_name = "TIMEFRAME[:max-age=AGE]")]
    with_timeframe: Vec<String>,

    /// Decision time: when the slice's own candles open or close.
    ///
    /// Candles of higher timeframes are complete if they have ended by then. open is the timestamp
    /// of the slice; close is one timeframe later.
    #[arg(long, value_name = "open|close", default_value = "open")]
    known_at: String,

    /// Numeric columns to read from indicator files.
    ///
    /// They are joined on the exact timestamp and never shape the timeline. The timestamp column
    /// has the same name as in the candle files.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    indicators: Vec<String>,

    /// Path template of the indicator files. [default:
    /// {root}/{symbol}/{symbol}_{timeframe}_IND.parquet]
    ///
    /// Its fields are {root} {symbol} {timeframe}. `*` stands for any text within a name.
    #[arg(long, value_name = "TEMPLATE")]
    indicator_template: Option<String>,

    /// Unit of all timestamps in the output: ns or us.
    ///
    /// us is for tools that know no nanoseconds. A timestamp that is no whole microsecond is then
    /// an error.
    #[arg(long, value_name = "ns|us", default_value = "ns")]
    timestamp_out: String,

    /// Type of the symbols in the output: dictionary or string.
    ///
    /// string is for tools that know no dictionaries.
    #[arg(long, value_name = "dictionary|string", default_value = "dictionary")]
    symbols_out: String,
}

impl RequestArguments {
    /// Builds the checked request. Opens no file but that of the symbols.
    pub fn request(&self) -> Result<Request, Error> {
        let higher = self
            .with_timeframe
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<HigherTimeframe>, Error>>()?;
        self.series
            .builder()?
            .timeline(self.timeline.parse()?)
            .fill(self.fill.parse()?)
            .max_age(self.max_age.as_deref().map(str::parse).transpose()?)
            .higher_timeframes(higher)
            .timestamp_out(self.timestamp_out.parse()?)
            .symbols_out(self.symbols_out.parse()?)
            .known_at(self.known_at.parse()?)
            .indicators(&self.indicators)
            .indicator_template(
                self.indicator_template
                    .as_deref()
                    .map(PathTemplate::parse)
                    .transpose()?,
            )
            .build()
    }
}
