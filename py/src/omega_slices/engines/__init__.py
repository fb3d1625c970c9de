"""Feeds of backtest engines, one module each: `backtrader`, `backtesting`, `nautilus`.

Each module imports its engine, which is an extra of this package, and turns the slices of a
stream or table into what that engine takes.  Engines that take a table of prices need no module:
see `SliceTable.to_wide`.
"""
