//! Defines the options that take one of a few texts: their values, parsing and errors.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::price_type::PriceType;

impl FromStr for PriceType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|price_type| price_type.as_str() == text)
            .ok_or_else(|| {
                let hint = if text == "mid" {
                    "request bid,ask: readers derive mid from them"
                } else {
                    "choose from bid, ask and trade"
                };
                Error::bad_request(
                    Code::InvalidPriceType,
                    format!("invalid price type {text:?}: expected bid, ask or trade"),
                )
                .with_hint(hint)
            })
    }
}

/// Declares an enum of option values, with its texts, parsing, printing and list.
macro_rules! request_options {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All values, the default first.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The text of the value in a request.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.as_str() == text)
                    .ok_or_else(|| {
                        let words: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                        Error::usage(format!("invalid {} {text:?}", $what))
                            .with_hint(format!("choose one of: {}", words.join(", ")))
                    })
            }
        }
    };
}

request_options! {
    /// Which rows lie in trading hours.
    Session, "session" {
        /// Keep all rows.
        #[default]
        None = "none",
        /// The FX week in Sydney local time. For timeframes of a day or more, drops weekends (UTC)
        /// and placeholder candles (volume 0 and open = high = low = close).
        Fx = "fx",
    }
}

request_options! {
    /// What to show where a series has no candle.
    Fill, "fill" {
        /// Show nothing.
        #[default]
        None = "none",
        /// Show its latest earlier candle up to the maximum age.
        Forward = "forward",
    }
}

request_options! {
    /// The time at which candles of higher timeframes must be complete.
    DecisionTime, "decision time" {
        /// The timestamp of the slice, when its own candles open.
        #[default]
        Open = "open",
        /// The end of the slice's own candles.
        Close = "close",
    }
}

request_options! {
    /// What to do with a series that is not in time order.
    UnsortedPolicy, "policy for unsorted series" {
        /// Sort the series stably, with a warning.
        #[default]
        Sort = "sort",
        /// Fail.
        Error = "error",
    }
}

request_options! {
    /// Which row to keep if several rows of a series share a timestamp.
    DuplicatePolicy, "policy for duplicates" {
        /// Keep the last row in file order.
        #[default]
        Last = "last",
        /// Keep the first row in file order.
        First = "first",
        /// Keep the last row in file order if all rows are equal; fail otherwise.
        Identical = "identical",
        /// Fail.
        Error = "error",
    }
}

request_options! {
    /// What to do with rows of which all prices are null or NaN.
    EmptyRows, "policy for empty rows" {
        /// They are candles, with prices that are NaN.
        #[default]
        Keep = "keep",
        /// They are no candles.
        Drop = "drop",
    }
}

request_options! {
    /// The unit of timestamps that are stored as integers since 1970.
    TimestampUnit, "timestamp unit" {
        /// Seconds.
        #[default]
        Seconds = "s",
        /// Milliseconds.
        Milliseconds = "ms",
        /// Microseconds.
        Microseconds = "us",
        /// Nanoseconds.
        Nanoseconds = "ns",
        /// The unit under which all values of a file lie from 1990 to 2100.
        Magnitude = "magnitude",
    }
}

request_options! {
    /// How to read local times that occur twice.
    Ambiguous, "policy for ambiguous times" {
        /// Fail.
        #[default]
        Error = "error",
        /// Use the order of the rows: a backward step starts the second pass.
        Infer = "infer",
        /// Use the earlier instant.
        Earlier = "earlier",
        /// Use the later instant.
        Later = "later",
    }
}

request_options! {
    /// Which side of a candle its timestamp marks.
    Stamped, "stamped side of a candle" {
        /// Its open.
        #[default]
        Open = "open",
        /// Its close.
        Close = "close",
    }
}

request_options! {
    /// What the timestamps of daily and weekly candles mean.
    Days, "meaning of days" {
        /// Instants.
        #[default]
        Utc = "utc",
        /// Dates in the zone of the column.
        Local = "local",
    }
}

request_options! {
    /// The unit of all timestamps in the output.
    TimestampOut, "unit of output timestamps" {
        /// Nanoseconds.
        #[default]
        Nanoseconds = "ns",
        /// Microseconds, for tools that know no nanoseconds.
        Microseconds = "us",
    }
}

request_options! {
    /// The type of the column of symbols in the output.
    SymbolsOut, "type of output symbols" {
        /// A dictionary of texts, with 16-bit keys.
        #[default]
        Dictionary = "dictionary",
        /// Texts, for tools that know no dictionaries.
        Text = "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_name_the_choices() {
        let error = "nyse".parse::<Session>().expect_err("no session");
        assert_eq!(error.hint(), Some(&"choose one of: none, fx".into()));
        assert_eq!(
            "mid".parse::<PriceType>().expect_err("derived").code(),
            Code::InvalidPriceType
        );
    }
}
