//! The built-in layouts, each a file of the package.

macro_rules! built_in {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../py/src/omega_slices/layouts/",
                $name,
                ".toml"
            )),
        )
    };
}

/// Their names and texts, in the order in which they are listed.
pub(super) const BUILT_IN: [(&str, &str); 11] = [
    built_in!("default"),
    built_in!("freqtrade"),
    built_in!("binance"),
    built_in!("databento"),
    built_in!("massive"),
    built_in!("nautilus"),
    built_in!("yfinance"),
    built_in!("alpaca"),
    built_in!("hive"),
    built_in!("fxcm"),
    built_in!("dukascopy"),
];
