//! Defines the price types, which are the sides of the market.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The price type of a candle. Readers derive `mid`; no file stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceType {
    /// The bid side.
    Bid,
    /// The ask side.
    Ask,
    /// Trade prices.
    Trade,
}

impl PriceType {
    /// All price types, in the order of their columns.
    pub const ALL: [Self; 3] = [Self::Bid, Self::Ask, Self::Trade];

    /// The lower-case name, as in column names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bid => "bid",
            Self::Ask => "ask",
            Self::Trade => "trade",
        }
    }

    /// The upper-case name, as in file names.
    #[must_use]
    pub const fn as_upper(self) -> &'static str {
        match self {
            Self::Bid => "BID",
            Self::Ask => "ASK",
            Self::Trade => "TRADE",
        }
    }
}

impl fmt::Display for PriceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
