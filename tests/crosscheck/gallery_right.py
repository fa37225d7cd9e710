"""Right layers in numpy, written in as many ways as people write them."""

import heapq

import numpy as np

from sparsegen_classic.convolutional import project_l0, project_stripe
from tests.crosscheck.gallery import Gallery, keep_rows, largest

RIGHT = Gallery()
K = 3


@RIGHT.shows("needle", K)
def by_stable_sort(x):
    return np.where(largest(np.abs(x), K, 1), x, x.dtype.type(0))


@RIGHT.shows("needle", K)
def by_argpartition(x):
    if x.shape[1] <= K:
        return x.copy()
    index = np.argpartition(np.abs(x), -K, axis=1)[:, -K:]
    y = np.zeros_like(x)
    np.put_along_axis(y, index, np.take_along_axis(x, index, axis=1), axis=1)
    return y


@RIGHT.shows("needle", K, layout="NHWC")
def channels_last(x):
    index = np.argsort(-np.abs(x), axis=-1)[..., :K]
    y = np.zeros(x.shape, x.dtype)
    np.put_along_axis(y, index, np.take_along_axis(x, index, axis=-1), axis=-1)
    return y


@RIGHT.shows("needle", K, layout="flat", shape=(6, 12))
def rows_one_by_one(x):
    y = np.zeros_like(x)
    for row, out in zip(x, y, strict=True):
        for i in heapq.nlargest(K, range(len(row)), key=lambda i: abs(row[i])):
            out[i] = row[i]
    return y


@RIGHT.shows("needle", K)
def by_peeling_off_maxima(x):
    rest, y = np.abs(x).astype(np.float64), np.zeros_like(x)
    for _ in range(min(K, x.shape[1])):
        top = rest.argmax(axis=1)[:, None]
        np.put_along_axis(y, top, np.take_along_axis(x, top, axis=1), axis=1)
        np.put_along_axis(rest, top, -1.0, axis=1)
    return y


@RIGHT.shows("l0", K)
def threshold_and_ties_counted(x):
    rows = np.abs(x).reshape(len(x), int(np.prod(x.shape[1:])))
    k = min(K, rows.shape[1])
    level = np.partition(rows, -k, axis=1)[:, [-k]]
    above, equal = rows > level, rows == level
    room = k - above.sum(axis=1, keepdims=True)
    return np.where((above | (equal & (equal.cumsum(axis=1) <= room))).reshape(x.shape), x, 0).astype(x.dtype)


@RIGHT.shows("l0", K)
def in_chunks_of_two_samples(x):
    y = np.empty_like(x)
    for start in range(0, len(x), 2):
        y[start : start + 2] = keep_rows(x[start : start + 2], np.abs(x[start : start + 2]), K)
    return y


@RIGHT.shows("l0", 0.25)
def a_fraction_rounded_down(x):
    return keep_rows(x, np.abs(x), max(1, int(0.25 * x[0].size)) if len(x) else 1)


@RIGHT.shows("l0", K)
def certified(x, k):
    return project_l0(x, k).astype(x.dtype)


@RIGHT.shows("l0-batch", K)
def batch_sorted_flat(x):
    flat = x.ravel()
    y = np.zeros_like(flat)
    index = np.argsort(-np.abs(flat), kind="stable")[:K]
    y[index] = flat[index]
    return y.reshape(x.shape)


@RIGHT.shows("topk", K)
def by_lexsort(x):
    rows = x.reshape(len(x), -1) if len(x) else x.reshape(0, 1)
    y = np.zeros_like(rows)
    for row, out in zip(rows, y, strict=True):
        index = np.lexsort((np.arange(len(row)), -row))[:K]
        out[index] = row[index]
    return y.reshape(x.shape)


@RIGHT.shows("topk", K, axis=1)
def along_the_channels(x):
    return np.where(largest(x, K, 1), x, x.dtype.type(0))


@RIGHT.shows("topk-magnitude", K)
class Configured:
    def __init__(self, k):
        if not isinstance(k, int) or k < 0:
            raise ValueError(f"k must be a count, got {k!r}")
        self.k = k

    def __call__(self, x):
        return keep_rows(x, np.abs(x), self.k)


@RIGHT.shows("soft-threshold", 0.5)
def two_relus(x):
    return np.maximum(x - x.dtype.type(0.5), 0) - np.maximum(-x - x.dtype.type(0.5), 0)


@RIGHT.shows("soft-threshold", 0.5)
def what_clipping_leaves(x):
    return x - np.clip(x, x.dtype.type(-0.5), x.dtype.type(0.5))


@RIGHT.shows("l1-ball", 2.0)
def by_bisection(x):
    rows = np.abs(x.reshape(len(x), int(np.prod(x.shape[1:])))).astype(np.float64)
    low, high = np.zeros((len(x), 1)), rows.max(axis=1, keepdims=True)
    for _ in range(60):
        middle = (low + high) / 2
        if ((middle == low) | (middle == high)).all():
            break
        outside = np.maximum(rows - middle, 0).sum(axis=1, keepdims=True) > 2
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    level = np.where(rows.sum(axis=1, keepdims=True) <= 2, 0, (low + high) / 2)
    return (np.sign(x) * np.maximum(rows - level, 0).reshape(x.shape)).astype(x.dtype)


@RIGHT.shows("l1-ball", 2.0)
def by_dropping_the_smallest(x):
    y = np.zeros_like(x)
    for sample, out in zip(x, y, strict=True):
        size, level = np.abs(sample.astype(np.float64)), 0.0
        alive = np.ones(size.shape, bool)
        while size[alive].sum() > 2 and alive.any():
            level = (size[alive].sum() - 2) / alive.sum()
            if (size[alive] > level).all():
                break
            alive &= size > level
        out[...] = np.sign(sample) * np.maximum(size - level, 0)
    return y


@RIGHT.shows("l1-penalty", 0.1)
def mean_of_norms(x):
    return 0.1 * np.mean(np.abs(x.astype(np.float64)).reshape(len(x), -1).sum(axis=1))


@RIGHT.shows("l1-penalty", 0.1, reduction="sum")
def inner_product_with_signs(x):
    return 0.1 * np.vdot(np.sign(x).astype(np.float64), x.astype(np.float64))


STRIPE_CHECKS = ("values", "feasible", "magnitudes", "idempotent", "samples", "layout", "non-square", "ties")


@RIGHT.shows("stripe", 3, atom_shape=(2, 2), checks=STRIPE_CHECKS)
def stripes_greedily(x):
    y = np.zeros_like(x)
    for sample, out in zip(x, y, strict=True):
        counts = np.zeros(sample.shape[1:], int)
        for i in np.argsort(-np.abs(sample), axis=None, kind="stable"):
            c, h, w = np.unravel_index(i, sample.shape)
            stripe = counts[max(h - 1, 0) : h + 2, max(w - 1, 0) : w + 2]
            if (stripe < 3).all():
                stripe += int(sample[c, h, w] != 0)
                out[c, h, w] = sample[c, h, w]
    return y


@RIGHT.shows("stripe", 3, atom_shape=3, layout="NCW", shape=(2, 3, 9), checks=("values", "ties"))
def stripes_exactly(x):
    return np.stack([project_stripe(s, 3, 3).maps for s in x]).astype(x.dtype)
