"""What benchmarks find around them: the data sets, and the packages they are compared with."""

import os
import re
import subprocess
import sys
from pathlib import Path

DATA = Path(os.environ.get("SPARSEGEN_DATA", Path(__file__).parents[2] / "../shared/data"))
PEERS = {  # each has an environment of its own, in .venv/ beside this file
    "skimage": ("scikit-image", "PyWavelets"),
    "sparse_coding": ("spams-bin==2.6.14", "dictlearn==1.0.0", "scikit-learn"),
    "sporco": ("sporco==0.2.2", "filetype", "setuptools<81"),
    "torch": ("torch", "numpy", "scipy"),
}
_PROBE = "import sys, importlib.metadata as of; [of.version(name) for name in sys.argv[1:]]"


def python_with(peer):
    """Return the Python of a peer's environment, which is made, and what lacks installed, where needed.

    ``SPARSEGEN_PEERS`` names another Python that has the packages of ``sparse_coding``.
    """
    if peer == "sparse_coding" and "SPARSEGEN_PEERS" in os.environ:
        return os.environ["SPARSEGEN_PEERS"]
    folder = Path(__file__).parent / ".venv" / peer
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    names = [re.match(r"[\w-]+", wanted)[0] for wanted in PEERS[peer]]
    if subprocess.run([python, "-c", _PROBE, *names], capture_output=True).returncode:
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PEERS[peer]], check=True)
    return python
