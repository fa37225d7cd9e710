"""Shared fixtures: where the data sets are, and a warm, isolated place for plots."""

import os
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def data_root():
    root = Path(os.environ.get("SPARSEGEN_DATA", Path(__file__).parents[1] / "../shared/data"))
    if not root.is_dir():
        pytest.skip(
            f"no data sets at {root}: set SPARSEGEN_DATA to the folder that holds mnist/, faces/, ..."
        )
    return root
