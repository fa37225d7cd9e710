"""
Check a sparsity layer
======================

A layer that claims to keep the k largest entries of every needle is a few lines, and there are many ways to
get them wrong. ``crosscheck_layer`` holds it against the certified projections: values, ties, layouts,
dtypes, strides, gradients, side effects; and says how it differs, with the smallest input that shows it.
"""

# %%
# A layer, as one writes it
# -------------------------
# Needle top-k in numpy. It looks right, and gives the right number of non-zeros.
import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic import assert_layer_matches, crosscheck_layer
from sparsegen_classic.plots_crosscheck import plot_example, plot_verdicts


def needle_topk(x, k):
    order = np.argsort(-x, axis=1, kind="stable")
    mask = np.zeros(x.shape, bool)
    np.put_along_axis(mask, order[:, :k], True, axis=1)
    return np.where(mask, x, x.dtype.type(0))


report = crosscheck_layer(needle_topk, "needle", k=8)
print(report)

# %%
# What is wrong
# -------------
# The diagnosis names a known mistake: entries are compared by value, so that large negative ones go. Below,
# the smallest input that still fails, and what the layer and the reference make of it.
smallest = report["values"].smallest
figure, axes = plt.subplots(3, 1, figsize=(6, 2.6), layout="constrained")
for axis, show in zip(axes, ("x", "got", "expected"), strict=True):
    plot_example(smallest, show=show, ax=axis)


# %%
# Mended
# ------
# With the magnitudes every check passes. The function has a parameter ``k``, so other k were tried as well.
def mended(x, k):
    order = np.argsort(-np.abs(x), axis=1, kind="stable")
    mask = np.zeros(x.shape, bool)
    np.put_along_axis(mask, order[:, :k], True, axis=1)
    return np.where(mask, x, x.dtype.type(0))


plot_verdicts(assert_layer_matches(mended, "needle", k=8))

# %%
# A layer of PyTorch, and its gradient
# ------------------------------------
# ``k``-th value and ``>=``: right on ordinary numbers, but ties at the threshold all stay. After a ReLU in
# half precision ties are common. ``assert_layer_matches`` is for test suites: its message is the report.
try:
    import torch
except ImportError:
    print("PyTorch is not installed; this part is left out")
else:

    class NeedleTopK(torch.nn.Module):
        def __init__(self, k):
            super().__init__()
            self.k = k

        def forward(self, x):
            threshold = x.abs().topk(self.k, dim=1).values[:, -1:]
            return x * (x.abs() >= threshold)

    try:
        assert_layer_matches(NeedleTopK, "needle", k=8, gradient="mask")
    except AssertionError as error:
        print(error)

# %%
# The same from the command line, for a layer in ``my_module.py``, in a process of its own with a time limit::
#
#     sparsegen-classic crosscheck my_module:NeedleTopK --constraint needle -k 8 --report needle.html
plt.show()
