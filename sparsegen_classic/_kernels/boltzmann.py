"""Greedy pursuit of the support that is most probable given the signal and a pairwise prior."""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True)
def _best(correlations, pivots, log_ratios, field, noise_variance, used):
    """Return the state whose atom raises the log-posterior most, and by how much.

    With two states an atom, the sign of the correlation says which one it takes.
    """
    n_atoms, best, highest = len(correlations), -1, -np.inf
    for j in range(n_atoms):
        if used[j]:
            continue
        state = j + n_atoms if len(field) > n_atoms and correlations[j] < 0 else j
        evidence = correlations[j] ** 2 / (noise_variance * pivots[j]) - np.log(pivots[j]) - log_ratios[j]
        gain = 0.5 * evidence + field[state]
        if gain > highest:
            best, highest = state, gain
    return best, highest


@njit(nogil=True, cache=True, fastmath=_FAST)
def _take(gram_row, cholesky_row, t, z, v, correlations, pivots):
    """Write row t of V = L^-1 D_s D^T, and take the new atom out of the correlations and pivots left."""
    row, scale = v[t], 1 / cholesky_row[t]
    for j in range(len(row)):
        row[j] = gram_row[j]
    for p in range(t):
        weight, earlier = cholesky_row[p], v[p]
        for j in range(len(row)):
            row[j] -= weight * earlier[j]
    for j in range(len(row)):
        value = row[j] * scale
        row[j] = value
        correlations[j] -= z * value
        pivots[j] -= value * value


@njit(nogil=True, cache=True)
def boltzmann_block(
    alpha, gram, variances, noise_variance, log_factors, table, stop, states, coefficients, gains
):
    """Code a block of signals; alpha (n, M) are their correlations with the atoms, overwritten.

    For a support s, with Q_s = D_s D_s^T + noise / variances on the diagonal = L L^T, the log-posterior is
    |L^-1 alpha_s|^2 / (2 noise) - log det L - sum log(variances_s / noise) / 2 + prior(s) + const. One more
    atom changes it by its own correlation and pivot, which lose a multiple of a row, and of its square, with
    each atom taken, and by the prior's field. ``log_factors`` and ``table`` have one or two states an atom;
    ``stop`` ends where no atom raises the posterior. Out: ``states`` (n, k) filled with -1 beforehand, the
    posterior mean ``coefficients`` given the support, and ``gains``, the log-posterior over that of
    no atoms.
    """
    n, k = states.shape
    n_atoms = len(gram)
    log_ratios = np.log(variances / noise_variance)
    v, cholesky, z = np.empty((k, n_atoms)), np.zeros((k, k)), np.empty(k)
    for i in range(n):
        field, used, t = log_factors.copy(), np.zeros(n_atoms, np.bool_), 0
        pivots = np.diag(gram) + noise_variance / variances
        while t < k:
            state, gain = _best(alpha[i], pivots, log_ratios, field, noise_variance, used)
            if state < 0 or gain == -np.inf or (stop and gain <= 0.0):
                break
            atom = state % n_atoms
            cholesky[t, t] = np.sqrt(pivots[atom])
            for p in range(t):
                cholesky[t, p] = v[p, atom]
            z[t] = alpha[i, atom] / cholesky[t, t]
            _take(gram[atom], cholesky[t], t, z[t], v, alpha[i], pivots)
            field += table[state]
            used[atom], states[i, t] = True, state
            gains[i] += gain
            t += 1
        for p in range(t - 1, -1, -1):
            x = z[p]
            for q in range(p + 1, t):
                x -= cholesky[q, p] * coefficients[i, q]
            coefficients[i, p] = x / cholesky[p, p]
