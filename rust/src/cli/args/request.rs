//! Owns the arguments of a whole request: its series, and how slices are made of them.

use clap::Args;
use omega_slices::{Error, HigherTimeframe, PathTemplate, Request};

use crate::cli::args::SeriesArguments;

#[derive(Debug, Args)]
pub struct RequestArguments {
    #[command(flatten)]
    pub series: SeriesArguments,

    /// Which timestamps become slices: those of every series (intersection), of any (union), those at
    /// which one symbol has all its price types (leader:SYMBOL), or at least K symbols have (quorum:K).
    #[arg(
        long,
        value_name = "intersection|union|leader:SYMBOL|quorum:K",
        default_value = "intersection"
    )]
    timeline: String,

    /// Where a series has no candle: nothing (none), or its latest earlier candle (forward), with its own
    /// timestamp in a column of its own. It may come from before --start.
    #[arg(long, value_name = "none|forward", default_value = "none")]
    fill: String,

    /// How old a carried candle may be, counted from its timestamp: 15m, 2h, 3d, 5bars (units s, m, h, d,
    /// w, bars). Required with --fill forward.
    #[arg(long, value_name = "AGE")]
    max_age: Option<String>,

    /// A higher timeframe: each slice also shows its latest COMPLETE candles, those that have
    /// ended by the slice's timestamp. Give it once for each of several timeframes.
    #[arg(long, value_name = "TIMEFRAME[:max-age=AGE]")]
    with_timeframe: Vec<String>,

    /// When decisions are made, which says what is complete: as the slice's own candles open (its
    /// timestamp), or as they close (one timeframe later).
    #[arg(long, value_name = "open|close", default_value = "open")]
    known_at: String,

    /// Columns of numbers to read from files with indicators, joined on the exact timestamp (in a column
    /// named as in the files of candles). They never shape the timeline.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    indicators: Vec<String>,

    /// Where the files with indicators lie: fields {root} {symbol} {timeframe}, and `*`.
    /// [default: {root}/{symbol}/{symbol}_{timeframe}_IND.parquet]
    #[arg(long, value_name = "TEMPLATE")]
    indicator_template: Option<String>,
}

impl RequestArguments {
    /// The checked request. Opens nothing but a file of symbols.
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
