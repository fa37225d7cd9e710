"""Shared fixtures: where the data sets are, and a warm, isolated place for plots."""

import os
import signal
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")
# started in the background by a shell, tests ignore Ctrl-C, and so would the commands that they interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_root():
    root = Path(os.environ.get("SPARSEGEN_DATA", Path(__file__).parents[1] / "../shared/data"))
    if not root.is_dir():
        pytest.skip(
            f"no data sets at {root}: set SPARSEGEN_DATA to the folder that holds mnist/, faces/, ..."
        )
    return root
