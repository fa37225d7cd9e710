"""Feed damaged and forged files to every reader: the long run of ``tests/test_hostile_files.py``.

Every file must give a clear error or load; nothing may crash, hang, run, or eat memory. ``make fuzz`` runs
it; give the number of archives, of images, of checkpoints, and a seed: ``fuzz_files.py 20000 5000 4000 0``.
Prints counts and failures, and exits with 1 if there are any.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests import hostile_archives, hostile_checkpoints, hostile_images


def report(name, tally, start):
    print(f"{name}: {tally}, {time.perf_counter() - start:.0f} s", flush=True)
    for what, error in tally.failures[:20]:
        print(f"    {what}\n        {error}"[:600])
    return len(tally.failures)


def main(n_archives=20000, n_images=5000, n_checkpoints=4000, seed=0):
    n_failures = 0
    runs = {
        hostile_archives.run: n_archives,
        hostile_images.run: n_images,
        hostile_checkpoints.run: n_checkpoints,
    }
    with tempfile.TemporaryDirectory() as name:
        for run, n_files in runs.items():
            start = time.perf_counter()
            for kind, tally in run(Path(name), n_files, seed).items():
                n_failures += report(kind, tally, start)
    return n_failures > 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
