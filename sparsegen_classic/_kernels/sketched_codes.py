"""Gibbs sampling of supports and coefficients together, given a noisy view of the image they make."""

from __future__ import annotations

import numpy as np
from numba import njit

_NOTHING = 45.0  # exp(-45) of the largest weight is below the rounding of their sum


@njit(nogil=True, cache=True)
def _add_atom(correlations, gram_row, coefficient):
    for m in range(len(correlations)):
        correlations[m] += coefficient * gram_row[m]


@njit(nogil=True, cache=True)
def _field(log_factors, table, support, site, field):
    """Write to ``field`` the log-weights that the other sites of the support give to each state."""
    field[:] = log_factors
    for other in range(len(support)):
        if other != site:
            row = table[support[other]]
            for m in range(len(field)):
                field[m] += row[m]


@njit(nogil=True, cache=True)
def _draw(log_weights, u):
    """Return a state drawn with these log-weights by the uniform ``u``, -1 if all are -inf; spoil them."""
    peak = log_weights.max()
    if peak == -np.inf:
        return -1
    total = 0.0
    for m in range(len(log_weights)):
        gap = log_weights[m] - peak
        weight = np.exp(gap) if gap > -_NOTHING else 0.0
        log_weights[m] = weight
        total += weight
    remaining, last = u * total, -1
    for m in range(len(log_weights)):
        if log_weights[m] > 0.0:
            remaining, last = remaining - log_weights[m], m
            if remaining < 0.0:
                break
    return last


@njit(nogil=True, cache=True)
def run_sketched_chains(
    correlations, gram, atoms, signs, log_factors, table, means, variances, noise, supports, sizes,
    coefficients, uniforms, normals,
):  # fmt: skip
    """Redraw state and coefficient of every site of each row, sweep after sweep.

    The view is y = sum_j c_j b_j + noise of variance ``noise``; the coefficient u = c / sign of state m is
    N(means_m, variances_m). With r_m the correlation of b_m with what the other sites leave of y,

        precision_m = 1 / variance_m + |b_m|^2 / noise,    h_m = mean_m / variance_m + sign_m r_m / noise,

    a site takes state m with probability proportional to exp(field_m) times the integral over u,
    exp(h_m^2 / (2 precision_m) - mean_m^2 / (2 variance_m)) / sqrt(precision_m variance_m), and then
    u ~ N(h_m / precision_m, 1 / precision_m). ``correlations`` (n, n_atoms) are those of the views with the
    b, ``gram`` those of the b among each other; ``log_factors`` (n, n_states) and ``table`` make the field.
    Rows of ``supports`` (n, k) have ``sizes[i]`` states; ``uniforms`` and ``normals`` (n, flips) say how many
    flips there are.
    """
    n_states = len(atoms)
    squares = np.diag(gram)
    precisions, constants, pulls = np.empty(n_states), np.empty(n_states), means / variances
    pushes = signs / noise
    for m in range(n_states):
        precisions[m] = 1.0 / variances[m] + squares[atoms[m]] / noise
        constants[m] = -0.5 * (np.log(precisions[m] * variances[m]) + means[m] * pulls[m])
    halves = 0.5 / precisions
    weights = np.empty(n_states)
    for i in range(len(supports)):
        support, left = supports[i, : sizes[i]], correlations[i]
        for site in range(sizes[i]):
            atom = atoms[support[site]]
            _add_atom(left, gram[atom], -signs[support[site]] * coefficients[i, site])
        for flip in range(uniforms.shape[1] // supports.shape[1] * sizes[i]):
            site = flip % sizes[i]
            old = support[site]
            _add_atom(left, gram[atoms[old]], signs[old] * coefficients[i, site])
            _field(log_factors[i], table, support, site, weights)
            for m in range(n_states):
                h = pulls[m] + pushes[m] * left[atoms[m]]
                weights[m] += constants[m] + halves[m] * h * h
            new = _draw(weights, uniforms[i, flip])
            if new < 0:
                new = old
            h = pulls[new] + pushes[new] * left[atoms[new]]
            support[site] = new
            coefficients[i, site] = h / precisions[new] + normals[i, flip] / np.sqrt(precisions[new])
            _add_atom(left, gram[atoms[new]], -signs[new] * coefficients[i, site])
