"""The k largest magnitudes of every needle (all channels at one position).

The k-th largest is found by its bits, highest first: a bit stays if at least k entries reach the number
built so far. Floats read as integers order like their magnitudes, so this takes the same few vector
operations for any k, and it stops early where the k-th and the next entry are already told apart.
"""

import numpy as np
from numba import njit

_LANES = 64  # positions taken together: the keys of 128 channels then fit the first cache


@njit(nogil=True, cache=True)
def keep_in_needles(bits, k, magnitude, out, keep):
    """Keep the k largest entries of each needle, the lower channel among equals; the rest becomes 0.

    bits (n_channels, n_positions): floats seen as integers of the same size, not NaN; magnitude: the mask of
    all bits but the sign. Out, of the same shape: the bits that stay, and whether they do.
    """
    n_channels, n_positions = bits.shape
    keys = np.zeros((-(-n_channels // 4) * 4, _LANES), bits.dtype)  # rows of padding reach nothing
    threshold, room = np.empty(_LANES, bits.dtype), np.empty(_LANES, bits.dtype)
    for start in range(0, n_positions, _LANES):
        lanes = min(_LANES, n_positions - start)
        for c in range(n_channels):
            for p in range(lanes):
                keys[c, p] = bits[c, start + p] & magnitude
        _find_thresholds(keys, n_channels, k, magnitude, threshold)
        room[:] = k
        for c in range(n_channels):
            for p in range(lanes):
                room[p] -= keys[c, p] > threshold[p]
        for c in range(n_channels):
            for p in range(lanes):
                equal = keys[c, p] == threshold[p] and room[p] > 0
                room[p] -= equal
                stays = equal or keys[c, p] > threshold[p]
                keep[c, start + p] = stays
                out[c, start + p] = bits[c, start + p] if stays else 0


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
