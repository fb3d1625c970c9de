//! Layouts: files that give names to what a lake looks like, and the built-in ones.
//!
//! A layout sets options of a request that differ from the usual ones. Options of the caller come
//! before it.

mod built_in;
mod document;

use std::path::{Path, PathBuf};

use self::built_in::BUILT_IN;
use self::document::{At, Document};
use slices_core::error::{Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::{
    Ambiguous, ColumnNames, DEFAULT_TEMPLATES, Days, EmptyRows, Naming, PathTemplate, PriceType,
    Scales, StampedSides, SymbolPattern, SymbolZones, TimestampUnit, Zone, remote_scheme,
};
use slices_store::Storage;

/// Maximum size of a layout: rules for ten thousand symbols.
const LAYOUT_BYTES_MAX: u64 = 1 << 20;

/// A layout as its file spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The name of a built-in layout, or the path of the file.
    name: PathBuf,
    /// TOML.
    text: String,
}

/// What a layout says about a request. `None` where it says nothing.
#[derive(Debug, Clone, Default)]
pub struct LayoutOptions {
    /// Where the files are.
    pub path_template: Option<PathTemplate>,
    /// The price types that the files hold.
    pub price_types: Option<Vec<PriceType>>,
    /// What symbols look like in names.
    pub symbol_pattern: Option<SymbolPattern>,
    /// How names spell symbols and timeframes.
    pub naming: Naming,
    /// The columns of the files.
    pub columns: ColumnNames,
    /// The unit of integer timestamps.
    pub timestamp_unit: Option<TimestampUnit>,
    /// The zone of wall clocks and days.
    pub zone: Option<Zone>,
    /// How to read local times that occur twice.
    pub ambiguous: Option<Ambiguous>,
    /// What the timestamps of days mean. Only for requests of days.
    pub days: Option<Days>,
    /// Which side of a candle its timestamp marks.
    pub stamped: StampedSides,
    /// The zones of some symbols.
    pub zones: SymbolZones,
    /// The factors of integer prices.
    pub price_scales: Scales,
    /// The factors of integer volumes.
    pub volume_scales: Scales,
    /// What to do with rows without a price.
    pub empty_rows: EmptyRows,
    /// Whether a column of instruments may contain several values in one series.
    pub one_instrument: bool,
    /// The column of symbols, if files hold several.
    pub symbol_column: Option<String>,
}

impl Layout {
    /// The names and descriptions of the built-in layouts.
    #[must_use]
    pub fn built_in() -> Vec<(&'static str, String)> {
        let described = |&(name, text): &(&'static str, &str)| {
            let description = Document::parse(text).ok().and_then(Document::description);
            (name, description.unwrap_or_default())
        };
        BUILT_IN.iter().map(described).collect()
    }

    /// The built-in layout of a name, else the one in a file.
    ///
    /// # Errors
    ///
    /// A usage error if there is none, or the file cannot be read.
    pub fn open(name: &Path, storage: &Storage) -> Result<Self> {
        let built_in = name.to_str().and_then(|name| {
            let found = BUILT_IN.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        });
        let text = match built_in {
            Some(text) => text,
            None => read(name, storage)?,
        };
        Ok(Self {
            name: name.to_owned(),
            text,
        })
    }

    /// The TOML of the layout.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says about a request.
    ///
    /// # Errors
    ///
    /// A usage error that names the key and its line.
    pub fn options(&self) -> Result<LayoutOptions> {
        let wrong = |At { key, place, error }: At| {
            let before = &self.text[..place.min(self.text.len())];
            let line = before.matches('\n').count();
            // Faults of types are known by their place alone.
            let key = if key.is_empty() {
                let text = self.text.lines().nth(line).unwrap_or_default();
                text.split('=').next().unwrap_or_default().trim().to_owned()
            } else {
                key
            };
            let about = format!("{key} in line {}", line + 1);
            let message = format!("invalid layout, {about}: {}", error.message());
            let wrong = Error::usage(message).at_file(&self.name);
            match error.hint() {
                Some(hint) => wrong.with_hint(hint.clone()),
                None => wrong.with_hint("omega-slices layout show hive prints a valid one"),
            }
        };
        let document = Document::parse(&self.text).map_err(wrong)?;
        let mut options = document.options().map_err(wrong)?;
        self.check_template(&options)?;
        let is_default = |template: &PathTemplate| template.as_str() == DEFAULT_TEMPLATES[0];
        // Without a template, the other spelling of price types is found too.
        options.path_template = options.path_template.filter(|one| !is_default(one));
        Ok(options)
    }

    /// A layout from elsewhere must not choose what is read on this machine.
    fn check_template(&self, options: &LayoutOptions) -> Result<()> {
        let Some(template) = &options.path_template else {
            return Ok(());
        };
        let text = template.as_str();
        let is_below = text.starts_with("{root}/") && text.split('/').all(|name| name != "..");
        if remote_scheme(&self.name).is_none() || is_below {
            return Ok(());
        }
        let message = format!("the layout names files outside of the root: {text:?}");
        Err(Error::usage(message)
            .at_file(&self.name)
            .with_hint("download the layout and check it, or let its path begin with {root}/"))
    }
}

fn read(name: &Path, storage: &Storage) -> Result<String> {
    let unknown = |why: String| {
        let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let near = name.to_str().and_then(|name| {
            let distance = |known: &&&str| strsim::osa_distance(known, name);
            names
                .iter()
                .min_by_key(distance)
                .filter(|known| distance(known) <= 2)
        });
        let about = match near {
            Some(near) => format!("did you mean {near}? The built-in layouts are "),
            None => "name a file, or one of the built-in layouts ".to_owned(),
        };
        Error::usage(format!("cannot read the layout: {why}"))
            .at_file(name)
            .with_hint(hint![about, names.join(", "), " with ", Setting::Layout])
    };
    let bytes = if remote_scheme(name).is_some() {
        let read = storage.read(name, LAYOUT_BYTES_MAX)?;
        read.ok_or_else(|| unknown("it does not exist".to_owned()))?
            .to_vec()
    } else {
        let metadata = std::fs::metadata(name).map_err(|error| unknown(error.to_string()))?;
        if !metadata.is_file() || metadata.len() > LAYOUT_BYTES_MAX {
            return Err(unknown("it is no file of at most 1 MiB".to_owned()));
        }
        std::fs::read(name).map_err(|error| unknown(error.to_string()))?
    };
    String::from_utf8(bytes).map_err(|_| unknown("it is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<LayoutOptions> {
        let layout = Layout {
            name: "own.toml".into(),
            text: text.to_owned(),
        };
        layout.options()
    }

    #[test]
    fn built_in_layouts_are_valid_and_described() {
        for (name, description) in Layout::built_in() {
            assert!(!description.is_empty(), "{name}");
            let layout = Layout::open(Path::new(name), &Storage::default()).expect(name);
            layout.options().expect(name);
        }
    }

    #[test]
    fn a_fault_is_named_by_its_key_and_line() {
        for (text, key, line) in [
            ("path = 1", "", 1),
            ("\npat = \"x\"", "", 2),
            ("path = \"{root}/{nothing}\"", "path", 1),
            ("\n[time]\nunit = \"hours\"", "time.unit", 3),
            ("[time]\nzone = \"Europe/Nowhere\"", "time.zone", 2),
            ("[time]\nstamped = { D1 = \"shut\" }", "time.stamped", 2),
            ("[columns]\nopen = \"\"", "columns.open", 2),
            ("[columns.bid]\nclose = []", "columns.bid.close", 2),
            ("[columns]\ntime = \"x\"", "", 2),
            ("[price]\nscale = 0", "price.scale", 2),
            ("[price]\nscale = { 4 = 1e-9 }", "price.scale", 2),
            ("[timeframes]\nM1 = \"a/b\"", "timeframes.M1", 2),
            ("[timeframes]\n1M = \"x\"", "timeframes.1M", 2),
            ("[zones]\n\"*.PA\" = \"x\"", "zones.*.PA", 2),
            ("rewrite = [\"{a}{b} = {a}\"]", "rewrite", 1),
            ("symbol_separator = \"/\"", "symbol_separator", 1),
            ("symbol_pattern = \"(\"", "symbol_pattern", 1),
            ("price_types = [\"mid\"]", "price_types", 1),
            ("[rows]\nempty = \"maybe\"", "rows.empty", 2),
            ("path = \"", "", 1),
        ] {
            let error = options(text).expect_err(text);
            let message = error.message();
            assert!(
                message.contains(&format!("line {line}")),
                "{text:?}: {message}"
            );
            assert!(message.contains(key), "{text:?}: {message}");
        }
    }

    #[test]
    fn each_key_becomes_an_option() {
        let text = r#"
            description = "all of it"
            path = "{root}/{symbol}-{timeframe}.parquet"
            price_types = ["bid", "ask"]
            rewrite = ["{a}_{b} = {a}/{b}"]
            symbol_pattern = "[A-Z_]+"
            [columns]
            timestamp = ["date", "timestamp"]
            volume = ""
            [columns.bid]
            open = "('Open', '{symbol}')"
            [time]
            unit = "ms"
            zone = "Europe/Paris"
            ambiguous = "infer"
            days = "local"
            stamped = { D1 = "close" }
            [zones]
            "*.PA" = "Europe/Paris"
            [price]
            scale = { 8 = 1e-9, 16 = "1e-16" }
            [volume]
            scale = 0.01
            [rows]
            empty = "drop"
            one_instrument = true
            [timeframes]
            M1 = "1m"
        "#;
        let options = options(text).expect("a layout");
        assert_eq!(options.naming.symbol("BTC_USDT"), "BTC/USDT");
        assert_eq!(options.naming.timeframe("M1"), "1m");
        assert!(options.columns.has_no_volume(PriceType::Bid));
        let open = options.columns.value(PriceType::Bid, 0).of_symbol("A");
        assert_eq!(open.first(), "('Open', 'A')");
        assert_eq!(options.timestamp_unit, Some(TimestampUnit::Milliseconds));
        assert_eq!(options.zone.expect("a zone").name(), "Europe/Paris");
        assert_eq!(options.ambiguous, Some(Ambiguous::Infer));
        assert_eq!(options.days, Some(Days::Local));
        assert!(options.zones.of("MC.PA").is_some());
        let scale = |text: &str| text.parse().expect(text);
        assert_eq!(options.price_scales.bytes_8, Some(scale("1e-9")));
        assert_eq!(options.price_scales.bytes_16, Some(scale("1e-16")));
        assert_eq!(options.price_scales.integers, None);
        assert_eq!(options.volume_scales.integers, Some(scale("0.01")));
        assert_eq!(options.empty_rows, EmptyRows::Drop);
        assert!(options.one_instrument);
    }
}
