//! Defines hints: what to do about an error, as values that each interface spells in its own way.
//!
//! The library does not know how the command line or Python spells a setting. So a hint is a list
//! of texts and settings, and the interface that shows it spells the settings.

use std::borrow::Cow;
use std::fmt;

/// Declares the settings with their names.
macro_rules! settings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A setting of a request or run that a hint may name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Setting {
            $($(#[$doc])* $variant,)+
        }

        impl Setting {
            /// All settings.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in `snake_case`, as builder methods and Python arguments use it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

settings! {
    /// Request all symbols that have files.
    AllSymbols = "all_symbols",
    /// How to read local times that occur twice.
    Ambiguous = "ambiguous",
    /// The exclusive end of the window.
    Before = "before",
    /// The folder of the cache.
    Cache = "cache",
    /// The names of the input columns.
    Columns = "columns",
    /// The root folder.
    Data = "data",
    /// What the timestamps of daily and weekly candles mean.
    Days = "days",
    /// Which row to keep if several share a timestamp.
    Duplicates = "duplicates",
    /// What to do with rows without a price.
    EmptyRows = "empty_rows",
    /// The end of the window.
    End = "end",
    /// The fields of the candles.
    Fields = "fields",
    /// What to show where a series has no candle.
    Fill = "fill",
    /// Whether links may lead out of the root.
    FollowLinks = "follow_links",
    /// The path template of the indicator files.
    IndicatorTemplate = "indicator_template",
    /// The indicators.
    Indicators = "indicators",
    /// The list of input files.
    Inputs = "inputs",
    /// The layout of the files.
    Layout = "layout",
    /// The maximum age of a carried candle.
    MaxAge = "max_age",
    /// The memory that the run may use.
    Memory = "memory",
    /// Whether timestamps are floored.
    Normalize = "normalize",
    /// Whether a column of instruments may contain several values in one series.
    OneInstrument = "one_instrument",
    /// Whether the parts of another request are replaced.
    Overwrite = "overwrite",
    /// The factor of integer prices.
    PriceScale = "price_scale",
    /// The trading hours.
    Session = "session",
    /// The file of trading hours.
    SessionFile = "session_file",
    /// The start of the window.
    Start = "start",
    /// An option of the storage.
    StorageOption = "storage_option",
    /// Whether warnings are errors.
    Strict = "strict",
    /// The pattern that symbols in file names must match.
    SymbolPattern = "symbol_pattern",
    /// The symbols.
    Symbols = "symbols",
    /// The folder of temporary files.
    TempDir = "temp_dir",
    /// The temporary disk that the run may use.
    TempLimit = "temp_limit",
    /// The number of decoding threads.
    Threads = "threads",
    /// The primary timeframe.
    Timeframe = "timeframe",
    /// Which timestamps become slices.
    Timeline = "timeline",
    /// The unit of all timestamps in the output.
    TimestampOut = "timestamp_out",
    /// The unit of integer timestamps.
    TimestampUnit = "timestamp_unit",
    /// What to do with a series that is not in time order.
    Unsorted = "unsorted",
    /// The factor of integer volumes.
    VolumeScale = "volume_scale",
    /// A higher timeframe.
    WithTimeframe = "with_timeframe",
    /// The time zone of local times and days.
    Zone = "zone",
}

impl Setting {
    /// Whether the setting is a switch without a value.
    #[must_use]
    pub const fn is_switch(self) -> bool {
        matches!(
            self,
            Self::AllSymbols
                | Self::FollowLinks
                | Self::Normalize
                | Self::OneInstrument
                | Self::Overwrite
                | Self::Strict
        )
    }

    /// Combines the setting with a value.
    #[must_use]
    pub fn to(self, value: impl Into<Cow<'static, str>>) -> HintPart {
        HintPart::Setting {
            setting: self,
            value: Some(value.into()),
        }
    }
}

/// A part of a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HintPart {
    /// Plain text.
    Text(Cow<'static, str>),
    /// A setting, which each interface spells in its own way.
    Setting {
        /// The setting.
        setting: Setting,
        /// The value that the hint proposes, if any.
        value: Option<Cow<'static, str>>,
    },
}

impl From<&'static str> for HintPart {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for HintPart {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Setting> for HintPart {
    fn from(setting: Setting) -> Self {
        Self::Setting {
            setting,
            value: None,
        }
    }
}

/// What to do next. Its display text spells settings as builder methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint(Vec<HintPart>);

impl Hint {
    /// Creates a hint from these parts, in order.
    #[must_use]
    pub fn new(parts: Vec<HintPart>) -> Self {
        Self(parts)
    }

    /// The parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[HintPart] {
        &self.0
    }

    /// The whole text, with each setting spelled by `spell`.
    pub fn in_words(&self, spell: impl Fn(Setting, Option<&str>) -> String) -> String {
        let words = self.0.iter().map(|part| match part {
            HintPart::Text(text) => Cow::from(&**text),
            HintPart::Setting { setting, value } => spell(*setting, value.as_deref()).into(),
        });
        words.collect()
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(|setting, value| {
            format!("{}({})", setting.name(), value.unwrap_or_default())
        }))
    }
}

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self(vec![text.to_owned().into()])
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self(vec![text.into()])
    }
}

impl From<&Hint> for Hint {
    fn from(hint: &Hint) -> Self {
        hint.clone()
    }
}

/// Creates a [`Hint`] from texts and settings.
#[doc(hidden)]
#[macro_export]
macro_rules! __hint {
    ($($part:expr),+ $(,)?) => {
        $crate::hint::Hint::new(vec![$($crate::hint::HintPart::from($part)),+])
    };
}
pub use __hint as hint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_spells_settings_in_its_own_way() {
        let hint = hint![
            "sort the file, or choose ",
            Setting::Unsorted.to("sort"),
            " or ",
            Setting::Strict,
        ];
        assert_eq!(
            hint.to_string(),
            "sort the file, or choose unsorted(sort) or strict()"
        );
        let spelt = hint.in_words(|setting, value| match value {
            Some(value) => format!("--{} {value}", setting.name()),
            None => format!("--{}", setting.name()),
        });
        assert_eq!(
            spelt,
            "sort the file, or choose --unsorted sort or --strict"
        );
    }

    #[test]
    fn names_are_given_once() {
        let mut names: Vec<_> = Setting::ALL.iter().map(|setting| setting.name()).collect();
        assert!(names.is_sorted());
        names.dedup();
        assert_eq!(names.len(), Setting::ALL.len());
    }
}
