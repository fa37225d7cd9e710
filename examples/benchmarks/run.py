"""Run every benchmark beside this file, one after the other, each in its own process (``make bench``).

Benchmarks print what they measured; they fail only if they cannot run. Data sets are read from
``SPARSEGEN_DATA`` (else ``../shared/data``). Give names to run some: ``run.py omp generator``. The one at
scale takes hours and keeps much on disk: it runs by its name only (``make bench-scale``).
"""

import subprocess
import sys
from pathlib import Path

wanted = [f"bench_{name.removeprefix('bench_').removesuffix('.py')}.py" for name in sys.argv[1:]]
failed = []
for path in sorted(Path(__file__).parent.glob("bench_*.py")):
    if path.name in wanted or not (wanted or path.name == "bench_scale.py"):
        print(f"\n== {path.name}", flush=True)
        if subprocess.run([sys.executable, path]).returncode:
            failed.append(path.name)
if failed:
    sys.exit(f"could not run: {', '.join(failed)}")
