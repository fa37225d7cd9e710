"""
Read a crosscheck report
========================

What the verdicts mean, on a soft threshold with three mistakes that do not show in a training curve.
"""

# %%
# A layer with hidden mistakes
# ----------------------------
# The values are right in float32. But it works in place, computes in float32 whatever comes in, and reads the
# memory of its input as if it were contiguous.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import crosscheck_layer, project_needle
from sparsegen_classic.plots_crosscheck import layer_page, plot_verdicts


def shrink(x, k=0.5):
    small = x.ravel(order="K").reshape(x.shape).astype(np.float32)
    x *= np.abs(x) > k
    return np.sign(small) * np.maximum(np.abs(small) - np.float32(k), 0)


report = crosscheck_layer(shrink, "soft-threshold", k=0.5, shape=(2, 16, 12, 12))
print(report.headline)
plot_verdicts(report)

# %%
# Failures
# --------
# Every failure has a message about the worst input, and two examples: that one, and the smallest input that
# still fails, as Python to paste into a bug report.
for verdict in report.failures:
    print(f"{verdict.check}: {verdict.message}")
    if verdict.smallest is not None:
        print(verdict.smallest.code(), end="\n\n")

# %%
# Notes and what was not checked
# ------------------------------
# Where papers leave the choice to the layer - NaN, an empty batch, k = 0 - the report says what it does and
# calls nothing wrong. What could not be checked says why.
for status in ("note", "skip"):
    for verdict in report.verdicts:
        if verdict.status == status:
            print(f"{status}  {verdict.check}: {verdict.message}")

# %%
# Stripes
# -------
# The projection onto a cap on stripe counts has no single right answer. A layer is held against the rules
# instead: feasible, entries as they were, and not far from the certificate. Needles do not obey stripes.
needles = crosscheck_layer(
    lambda x: project_needle(x, 2) if len(x) else x, "stripe", k=2, atom_shape=(3, 3), shape=(1, 8, 12, 12)
)
print(needles["feasible"].message)

# %%
# A page to pass on
# -----------------
# ``layer_page`` makes one HTML file of it, pictures included; ``to_dict()`` is for programs.
with tempfile.TemporaryDirectory() as folder:
    path = layer_page(report).write(Path(folder) / "shrink.html")
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")
print(sorted(report.to_dict()))
plt.show()
