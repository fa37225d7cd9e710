"""Overlap-add: patches back into the image they were taken from."""

from numba import njit


@njit(nogil=True, cache=True)
def add_patches(total, origin, offset, patches, weights):
    """``total[origin[i] + offset[f]] += weights[i, f] * patches[i, f]``; total is a flat image.

    ``weights`` is (n or 1, p or 1). One row of ``patches`` serves all: patches of ones add up the weights.
    """
    several, constant = weights.shape[0] > 1, weights.shape[1] == 1
    for i in range(origin.shape[0]):
        w = weights[i if several else 0]
        x = patches[i if patches.shape[0] > 1 else 0]
        for f in range(offset.shape[0]):
            total[origin[i] + offset[f]] += w[0 if constant else f] * x[f]
