"""Online dictionary learning (Mairal, Bach, Ponce, Sapiro 2010) for atoms of unit norm.

The codes g of all samples x so far enter by their moments: gram = sum g g^T and cross = sum g x^T, from which
the best atom, the others fixed, is d_j ~ cross_j - sum_{l != j} gram_jl d_l.
"""

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}
NON_NEGATIVE, ZERO_MEAN = 1, 2  # as in the kernel of K-SVD


@njit(nogil=True, cache=True, fastmath=_FAST)
def add_moments(x, indices, coefficients, counts, fade, gram, cross, uses):
    """Fade the moments and add those of a batch, in place; a use counts as often as its sample."""
    gram *= fade
    cross *= fade
    for i in range(x.shape[0]):
        for t in range(indices.shape[1]):
            j, c = indices[i, t], coefficients[i, t]
            if c != 0:
                uses[j] += counts[i]
                for s in range(indices.shape[1]):
                    if coefficients[i, s] != 0:
                        gram[j, indices[i, s]] += c * coefficients[i, s]
                for f in range(x.shape[1]):
                    cross[j, f] += c * x[i, f]


@njit(nogil=True, cache=True, fastmath=_FAST)
def update_atoms_from_moments(first, components, gram, cross, rule):
    """One sweep over the atoms from ``first`` on, in place; the quadratic objective never rises."""
    n_atoms, n_features = components.shape
    d = np.empty(n_features)
    for j in range(first, n_atoms):
        row = gram[j]
        if row[j] <= 0:
            continue
        for f in range(n_features):
            d[f] = cross[j, f] + row[j] * components[j, f]
        tail = n_atoms - n_atoms % 4
        for m in range(0, tail, 4):
            c0, c1, c2, c3 = row[m], row[m + 1], row[m + 2], row[m + 3]
            d0, d1, d2, d3 = components[m], components[m + 1], components[m + 2], components[m + 3]
            for f in range(n_features):
                d[f] -= c0 * d0[f] + c1 * d1[f] + c2 * d2[f] + c3 * d3[f]
        for m in range(tail, n_atoms):
            for f in range(n_features):
                d[f] -= row[m] * components[m, f]
        if rule == NON_NEGATIVE:
            d[:] = np.maximum(d, 0)
        elif rule == ZERO_MEAN:
            d -= d.mean()
        norm = np.sqrt((d * d).sum())
        if norm > 0:
            components[j] = d / norm
