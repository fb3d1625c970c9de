"""Walk through synchronised slices in Python: the loop that a backtest is made of.

Prints the first slices as they come, then what the whole run was. The options are those of
`omega-slices sync`.
"""

from __future__ import annotations

import argparse
import logging
import time

from omega_slices import MultiSymbolSlice, open_slices

SHOWN_SLICES = 3
SHOWN_SYMBOLS = 8


def show(current: MultiSymbolSlice, price_types: list[str]) -> None:
    """Print one slice: timestamp, then symbol and close of each price type."""
    cells = []
    for symbol in current.symbols[:SHOWN_SYMBOLS]:
        closes = (current.get_price(symbol, side) for side in price_types)
        cells.append(f"{symbol} {'/'.join('-' if close is None else f'{close:g}' for close in closes)}")
    more = " ..." if len(current) > SHOWN_SYMBOLS else ""
    print(f"{current.timestamp:%Y-%m-%d %H:%M:%S}  {'  '.join(cells)}{more}")


def main() -> None:
    """Parse the command line, walk through the slices, print the sum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the root folder of the input")
    parser.add_argument("--symbols", type=lambda text: text.split(","), help="separated by commas")
    parser.add_argument("--all-symbols", action="store_true", help="the default")
    parser.add_argument("--timeframe", default="M1")
    parser.add_argument("--price-types", type=lambda text: text.split(","), default=["bid", "ask"])
    parser.add_argument("--start")
    parser.add_argument("--end")
    parser.add_argument("--timeline", default="intersection")
    parser.add_argument("--session", default="none")
    parser.add_argument("--normalize", action="store_true")
    options = vars(parser.parse_args())
    options.pop("all_symbols")

    logging.basicConfig(format="%(levelname)s: %(message)s")
    price_types = options["price_types"]
    started = time.perf_counter()
    complete = 0
    with open_slices(**options) as slices:
        for current in slices.peek(SHOWN_SLICES):
            show(current, price_types)
        for current in slices:
            # The work of a strategy: look at every symbol's latest close.
            closes = [current.get_price(symbol, price_types[0]) for symbol in current]
            complete += None not in closes
    seconds = time.perf_counter() - started
    report = slices.report
    print(
        f"... {report.slices:,} slices of {len(slices.symbols)} symbols, {complete:,} of them complete, {seconds:.2f} s"
    )
    for series in report.series:
        dropped = series.rows - series.candles
        print(f"{series.symbol} {series.price_type}: {series.candles:,} candles, {dropped:,} rows dropped")


if __name__ == "__main__":
    main()
