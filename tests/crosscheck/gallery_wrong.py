"""Wrong layers in numpy: each has one mistake of real life, and says which checks must find it."""

import numpy as np

from sparsegen_classic.convolutional import project_l1, project_needle, project_stripe, soft_threshold
from tests.crosscheck.gallery import Gallery, keep_rows, largest

WRONG = Gallery()
K = 3
ATOMS = {"atom_shape": (3, 3)}


def zero(x):
    return x.dtype.type(0)


# what is chosen


@WRONG.shows("needle", K, "values", "kept")
def abs_forgotten(x):
    return np.where(largest(x, K, 1), x, zero(x))


@WRONG.shows("l0", K, "values", "kept")
def sorted_in_ascending_order(x):
    return keep_rows(x, -np.abs(x), K)


@WRONG.shows("topk", K, "values", "kept")
def magnitude_where_value_is_meant(x):
    return keep_rows(x, np.abs(x), K)


@WRONG.shows("topk", K, "values", only=True)
def relu_after_topk_loses_negative_survivors(x):
    return np.maximum(keep_rows(x, x, K), 0)


# how many, and of what


@WRONG.shows("l0", K, "values", "feasible")
def one_more_than_k(x):
    return keep_rows(x, np.abs(x), K + 1)


@WRONG.shows("l0", K, "values", only=True)
def one_less_than_k(x):
    return keep_rows(x, np.abs(x), K - 1)


@WRONG.shows("l0", K, "values", "samples", "batch-of-one")
def topk_over_the_batch(x):
    return keep_rows(x[None], np.abs(x)[None], K)[0]


@WRONG.shows("l0-batch", K, "values", "feasible")
def topk_of_every_sample_where_the_batch_is_meant(x):
    return keep_rows(x, np.abs(x), K)


@WRONG.shows("needle", K, "values", "feasible", "layout")
def wrong_axis(x):
    return np.where(largest(np.abs(x), K, 2), x, zero(x))


@WRONG.shows("needle", K, "values", "feasible", "layout")
def nchw_read_as_nhwc(x):
    return np.where(largest(np.abs(x), K, -1), x, zero(x))


@WRONG.shows("needle", K, "values", "layout", layout="NHWC")
def nhwc_reshaped_to_nchw_without_moving_axes(x):
    n, h, w, c = x.shape
    maps = x.reshape(n, c, h, w)
    return np.where(largest(np.abs(maps), K, 1), maps, zero(x)).reshape(x.shape)


@WRONG.shows("l0", K, "values", "feasible")
def topk_of_every_channel(x):
    rows = np.abs(x).reshape(*x.shape[:2], -1)
    return np.where(largest(rows, K, 2).reshape(x.shape), x, zero(x))


@WRONG.shows("l0", 0.25, "values")
def fraction_of_what_is_not_zero(x):
    k = int(0.25 * np.count_nonzero(x[0]))
    return keep_rows(x, np.abs(x), max(1, k))


@WRONG.shows("needle", K, "k-edges")
def k_is_ignored(x, k):
    return np.where(largest(np.abs(x), K, 1), x, zero(x))


@WRONG.shows("l0", 2, "k-edges")
def k_minus_one_as_a_slice_from_the_end(x, k):
    rows = np.abs(x).reshape(len(x), -1)
    level = np.sort(rows, axis=1)[:, -k - 1 if k < rows.shape[1] else -k]
    return np.where(np.abs(x) > level.reshape(-1, 1, 1, 1), x, zero(x))


# thresholds


@WRONG.shows("l0", K, "ties", only=True)
def ties_at_the_threshold_all_stay(x):
    rows = np.abs(x).reshape(len(x), -1)
    level = np.sort(rows, axis=1)[:, -min(K, rows.shape[1])]
    return np.where(np.abs(x) >= level.reshape(-1, 1, 1, 1), x, zero(x))


@WRONG.shows("needle", K, "ties", only=True)
def ties_at_the_threshold_all_go(x):
    if x.shape[1] <= K:
        return x.copy()
    level = np.sort(np.abs(x), axis=1)[:, [-K - 1]]
    return np.where(np.abs(x) > level, x, zero(x))


@WRONG.shows("l0", K, "values", "samples")
def threshold_of_the_neighbouring_sample(x):
    level = np.roll(np.sort(np.abs(x).reshape(len(x), -1), axis=1)[:, -K], 1)
    return np.where(np.abs(x) >= level.reshape(-1, 1, 1, 1), x, zero(x))


@WRONG.shows("l0", K, "values", "samples", "batch-order")
def threshold_of_the_first_sample(x):
    level = np.sort(np.abs(x[0]).ravel())[-K]
    return np.where(np.abs(x) >= level, x, zero(x))


@WRONG.shows("l0", K, "values", "feasible")
def quantile_for_a_threshold(x):
    rows = np.abs(x).reshape(len(x), -1)
    level = np.quantile(rows, 1 - (K + 0.5) / rows.shape[1], axis=1)
    return np.where(np.abs(x) >= level.reshape(-1, 1, 1, 1), x, zero(x))


# what is kept, and how


@WRONG.shows("l0", K, "signs", "values")
def sign_lost(x):
    return keep_rows(np.abs(x), np.abs(x), K)


@WRONG.shows("l0", K, "magnitudes", "values")
def the_mask_is_returned(x):
    return (keep_rows(x, np.abs(x), K) != 0).astype(x.dtype)


@WRONG.shows("needle", K, "magnitudes", "values")
def weighted_by_a_softmax(x):
    kept = np.where(largest(np.abs(x), K, 1), x, zero(x))
    weights = np.exp(np.abs(kept) - np.abs(kept).max(axis=1, keepdims=True))
    return (kept * weights / weights.sum(axis=1, keepdims=True)).astype(x.dtype)


@WRONG.shows("l0", K, "magnitudes", "values", "idempotent")
def doubled_to_make_up_for_what_is_lost(x):
    return 2 * keep_rows(x, np.abs(x), K)


# numbers


@WRONG.shows("l0", K, "float64", only=True)
def computed_in_float32(x):
    return keep_rows(x.astype(np.float32), np.abs(x), K).astype(x.dtype)


@WRONG.shows("l0", K, "float64", only=True)
def answered_in_float32(x):
    return keep_rows(x.astype(np.float32), np.abs(x), K)


@WRONG.shows("l0", K, "large", "tiny", "float16")
def squares_as_keys(x):
    return keep_rows(x, x**2, K)


@WRONG.shows("needle", K, "zeros")
def sign_by_division(x):
    kept = np.where(largest(np.abs(x), K, 1), np.abs(x), zero(x))
    return x / np.abs(x) * kept


@WRONG.shows("l0", K, "negative-zero", only=True)
def sign_bit_of_minus_zero_stays(x):
    bits = x.view(f"u{x.itemsize}")
    top = bits.dtype.type(1 << (8 * x.itemsize - 1))
    keys = np.where(x < 0, bits ^ top, bits)  # -0.0 < 0 is false
    order = np.argsort(np.iinfo(keys.dtype).max - keys.reshape(len(x), -1), axis=1, kind="stable")
    mask = np.zeros(order.shape, bool)
    np.put_along_axis(mask, order[:, :K], True, axis=1)
    return np.where(mask.reshape(x.shape), x, zero(x))


@WRONG.shows("l0", K, "nan", "infinity", only=True)
def scaled_by_the_largest_of_the_batch(x):
    keys = np.abs(x) / max(np.abs(x).max(), np.finfo(x.dtype).tiny) if x.size else x
    return np.where(np.isnan(keys), x, keep_rows(x, np.nan_to_num(keys), K))


# shapes and memory


@WRONG.shows("l0", K, "batch-of-one", "samples", "k-edges", "full-size", only=True)
def batch_of_one_squeezed(x):
    return keep_rows(x, np.abs(x), K).squeeze() if len(x) else x


@WRONG.shows("l0", K, "non-square", only=True)
def height_and_width_swapped(x):
    n, c, h, w = x.shape
    return keep_rows(x, np.abs(x), K).reshape(n, c, w, h)


@WRONG.shows("needle", K, "non-square", only=True)
def square_taken_for_granted(x):
    n, c, h, _ = x.shape
    maps = x.reshape(n, c, h, h)
    return np.where(largest(np.abs(maps), K, 1), maps, zero(x))


@WRONG.shows("l0", K, "non-contiguous", only=True)
def memory_order_taken_for_index_order(x):
    flat = x.ravel(order="K").reshape(x.shape)
    return keep_rows(flat, np.abs(flat), K)


@WRONG.shows("l0", K, "samples", "values")
def last_sample_of_an_odd_batch_forgotten(x):
    y = x.copy()
    for i in range(0, len(x) - 1, 2):
        y[i : i + 2] = keep_rows(x[i : i + 2], np.abs(x[i : i + 2]), K)
    return y


@WRONG.shows("l0", K, "empty-batch", only=True)
def empty_batch_gets_a_sample(x):
    return keep_rows(x, np.abs(x), K) if len(x) else np.zeros((1, *x.shape[1:]), x.dtype)


@WRONG.shows("l0", K, "output", only=True)
def mask_returned_as_well(x):
    y = keep_rows(x, np.abs(x), K)
    return y, y != 0


@WRONG.shows("l0", K, "output", only=True)
def nothing_returned(x):
    x[...] = keep_rows(x, np.abs(x), K)


# conduct


@WRONG.shows("l0", K, "input-unchanged", only=True)
def in_place(x):
    x *= keep_rows(x, np.abs(x), K) != 0
    return x.copy()


@WRONG.shows("l0", K, "values", "samples", "batch-order")
class MaskOfTheFirstCall:
    def __init__(self):
        self.masks = {}

    def __call__(self, x):
        mask = self.masks.setdefault(x.shape, keep_rows(x, np.abs(x), K) != 0)
        return x * mask


@WRONG.shows("l0", K, "values", "deterministic")
class ThresholdOfThePreviousCall:
    level = 0.0

    def __call__(self, x):
        y = np.where(np.abs(x) >= self.level, x, zero(x))
        if len(x):
            self.level = np.sort(np.abs(x).reshape(len(x), -1), axis=1)[:, -min(K, x[0].size)].mean()
        return y


@WRONG.shows("l0", K, "deterministic")
class OneBufferForAllAnswers:
    def __init__(self):
        self.buffers = {}

    def __call__(self, x):
        out = self.buffers.setdefault((x.shape, x.dtype), np.empty_like(x))
        out[...] = keep_rows(x, np.abs(x), K)
        return out


@WRONG.shows("l0", K, "deterministic", "values")
class TiesBrokenByNoise:
    rng = np.random.default_rng(0)

    def __call__(self, x):
        return keep_rows(x, np.abs(x) + 0.5 * self.rng.random(x.shape), K)


@WRONG.shows("l0", K, "memory", "ties", only=True, shape=(1, 16, 16, 16))
def all_pairs_compared(x):
    rows = np.abs(x).reshape(len(x), -1)
    ranks = (rows[:, None, :] > rows[:, :, None]).sum(axis=2)
    return np.where((ranks < K).reshape(x.shape), x, zero(x))


# soft threshold


@WRONG.shows("soft-threshold", 0.5, "values", "magnitudes")
def hard_threshold(x):
    return np.where(np.abs(x) > 0.5, x, zero(x))


@WRONG.shows("soft-threshold", 0.5, "values")
def relu_with_a_bias(x):
    return np.maximum(x - 0.5, 0).astype(x.dtype)


@WRONG.shows("soft-threshold", 0.5, "values", "signs")
def soft_threshold_without_the_sign(x):
    return np.maximum(np.abs(x) - 0.5, 0).astype(x.dtype)


@WRONG.shows("soft-threshold", 0.5, "values", "feasible", "samples")
def threshold_relative_to_the_largest(x):
    return soft_threshold(x, 0.5 * np.abs(x).max()).astype(x.dtype)


@WRONG.shows("soft-threshold", 0.5, "values", "feasible")
def shrunk_through_zero(x):
    return (x - 0.5 * np.sign(x)).astype(x.dtype)


# l1 ball and penalty


@WRONG.shows("l1-ball", 2.0, "values", "samples")
def one_ball_for_the_batch(x):
    return project_l1(x.reshape(1, -1), 2.0).reshape(x.shape).astype(x.dtype)


@WRONG.shows("l1-ball", 2.0, "values", "magnitudes")
def scaled_instead_of_projected(x):
    norms = np.abs(x).sum(axis=(1, 2, 3), keepdims=True)
    return (x * np.minimum(1, 2.0 / np.maximum(norms, 1e-30))).astype(x.dtype)


@WRONG.shows("l1-ball", 2.0, "values", "feasible")
def clipped_to_the_radius(x):
    return np.clip(x, -2.0, 2.0)


@WRONG.shows("l1-ball", 2.0, "values", "magnitudes")
def pushed_out_to_the_sphere(x):
    norms = np.maximum(np.abs(x).sum(axis=(1, 2, 3), keepdims=True), 1e-30)
    inside = np.broadcast_to(norms <= 2, x.shape)
    return np.where(inside, x * 2.0 / norms, project_l1(x, 2.0)).astype(x.dtype)


@WRONG.shows("l1-penalty", 0.1, "values")
def mean_over_all_entries(x):
    return 0.1 * np.abs(x).mean()


@WRONG.shows("l1-penalty", 0.1, "values", "samples")
def sum_over_the_batch(x):
    return 0.1 * np.abs(x).sum()


@WRONG.shows("l1-penalty", 0.1, "values", "large", "tiny")
def squares_in_the_penalty(x):
    return 0.1 * np.square(x).sum() / max(len(x), 1)


@WRONG.shows("l1-penalty", 0.1, "output", only=True)
def one_penalty_for_each_sample(x):
    return 0.1 * np.abs(x).sum(axis=(1, 2, 3))


# stripes


@WRONG.shows("stripe", 2, "values", "feasible", **ATOMS)
def needles_for_stripes(x):
    return project_needle(x, 2) if len(x) else x


@WRONG.shows("stripe", 9, "values", only=True, **ATOMS)
def far_fewer_than_the_cap_allows(x):
    return np.stack([project_stripe(s, 2, (3, 3), "greedy").maps for s in x]) if len(x) else x
