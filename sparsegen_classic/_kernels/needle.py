"""The k largest magnitudes of every needle (all channels at one position).

The k-th largest is found by its bits, highest first: a bit stays if at least k entries reach the number
built so far. Floats read as integers order like their magnitudes, so this takes the same few vector
operations for any k, and it stops early where the k-th and the next entry are already told apart.
"""

import numpy as np
from numba import njit

_LANES = 64  # positions taken together: the keys of 128 channels then fit the first cache


@njit(nogil=True, cache=True)
def keep_in_needles(bits, first, last, k, magnitude, out, keep):
    """Keep the k largest entries of each needle, the lower channel among equals; the rest becomes 0.

    bits (n_channels, n_positions): floats seen as integers of the same size, not NaN; first, last: the
    positions to do; magnitude: the mask of all bits but the sign. Out, of the shape of bits: the bits that
    stay, and whether they do.
    """
    n_channels = bits.shape[0]
    zero = bits.dtype.type(0)  # a literal would widen the vectors
    keys = np.zeros((-(-n_channels // 4) * 4, _LANES), bits.dtype)  # rows of padding reach nothing
    threshold, room = np.empty(_LANES, bits.dtype), np.empty(_LANES, bits.dtype)
    for start in range(first, last, _LANES):
        strip = slice(start, min(start + _LANES, last))
        source, target, kept = bits[:, strip], out[:, strip], keep[:, strip]
        for c in range(n_channels):
            for p in range(source.shape[1]):
                keys[c, p] = source[c, p] & magnitude
        _find_thresholds(keys, n_channels, k, magnitude, threshold)
        _mark(keys, n_channels, k, threshold, room)
        for c in range(n_channels):
            for p in range(source.shape[1]):
                target[c, p] = source[c, p] & keys[c, p]
            for p in range(source.shape[1]):
                kept[c, p] = keys[c, p] != zero


@njit(nogil=True, cache=True)
def _mark(keys, n_channels, k, threshold, room):
    """Replace the keys that stay by all ones, the others by zero."""
    one, zero = keys.dtype.type(1), keys.dtype.type(0)
    room[:] = k  # for keys equal to the threshold
    for c in range(n_channels):
        for p in range(_LANES):
            room[p] -= one if keys[c, p] > threshold[p] else zero
    for c in range(n_channels):
        for p in range(_LANES):
            equal = one if (keys[c, p] == threshold[p]) & (room[p] > zero) else zero
            room[p] -= equal
            keys[c, p] = -(one if keys[c, p] > threshold[p] else equal)


@njit(nogil=True, cache=True)
def _find_thresholds(keys, n_channels, k, magnitude, threshold):
    """Find the largest number that at least k keys reach, or any that exactly k reach."""
    one, zero, wanted = keys.dtype.type(1), keys.dtype.type(0), keys.dtype.type(k)
    candidate, reached = np.empty_like(threshold), np.empty_like(threshold)
    count = np.full_like(threshold, n_channels)  # keys that reach the threshold
    threshold[:] = zero
    bit = magnitude ^ (magnitude >> one)
    excess = wanted + one
    while bit > zero and excess > wanted:
        for p in range(_LANES):
            candidate[p] = threshold[p] | bit
            reached[p] = zero
        for c in range(0, keys.shape[0], 4):
            k0, k1, k2, k3 = keys[c], keys[c + 1], keys[c + 2], keys[c + 3]
            for p in range(_LANES):
                reached[p] += (
                    (one if k0[p] >= candidate[p] else zero)
                    + (one if k1[p] >= candidate[p] else zero)
                    + (one if k2[p] >= candidate[p] else zero)
                    + (one if k3[p] >= candidate[p] else zero)
                )
        excess = zero
        for p in range(_LANES):
            if reached[p] >= wanted:
                threshold[p], count[p] = candidate[p], reached[p]
            excess = max(excess, count[p])
        bit = bit >> one
