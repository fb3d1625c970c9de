"""Makes the helpers importable: `importlib`, the import mode of the tests, adds no folder to the path."""

import sys
from pathlib import Path

HERE = Path(__file__).parent

sys.path[:0] = [str(HERE), str(HERE.parents[1] / "py" / "tests")]
