"""EM for one multivariate normal from rows with missing entries, grouped by missing pattern.

A set of patterns is five ragged arrays: ``counts`` (n_patterns,), the weight of the rows of a pattern, which
is their number if each weighs 1; ``offsets`` (n_patterns + 1,) into ``observed`` (the variables a pattern
sees, in order) and ``means`` (the mean of its rows); ``scatters``, the o x o scatter matrices about those
means, one after the other.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

CONVERGED, OUT_OF_ITERATIONS, SINGULAR = 0, 1, 2
SMALLEST_PIVOT = 1e-10  # variance given the other variables, relative to the variance
LOG_2_PI = math.log(2 * math.pi)


@njit(nogil=True, cache=True)
def group_patterns(variables, indptr, samples, values, weights, min_overlap, row_of_sample):
    """Collect the samples that have at least ``min_overlap`` of ``variables`` and group them by which.

    ``indptr, samples, values`` list the samples and values of each column (CSC); ``weights`` (n_samples,) are
    those of the samples, 0 leaves one out. ``row_of_sample`` (n_samples,) int32 is scratch space: all -1
    before and after. Cost: the entries of those columns only.

    Groups grow as the nodes of a tree. All samples start at the root; reading one variable moves every sample
    that has it from its node to that node's child for this variable, so a node is a set of variables.
    """
    n_entries = 0
    for variable in variables:
        n_entries += indptr[variable + 1] - indptr[variable]
    node_of_row, row_weights = np.empty(n_entries, np.int32), np.empty(n_entries)
    parent, last, child, size, rows_at = np.zeros((5, n_entries + 1), np.int32)
    n_rows, n_nodes = 0, 1
    for j, variable in enumerate(variables):
        for entry in range(indptr[variable], indptr[variable + 1]):
            weight = weights[samples[entry]]
            if weight == 0:
                continue
            row = row_of_sample[samples[entry]]
            if row < 0:
                row = row_of_sample[samples[entry]] = n_rows
                node_of_row[row], row_weights[row] = 0, weight
                n_rows += 1
            node = node_of_row[row]
            if child[node] == 0 or last[child[node]] != j:  # the first sample to take this branch
                child[node] = n_nodes
                parent[n_nodes], last[n_nodes], size[n_nodes] = node, j, size[node] + 1
                n_nodes += 1
            rows_at[node] -= 1
            rows_at[child[node]] += 1
            node_of_row[row] = child[node]
    return _moments(
        variables, indptr, samples, values, min_overlap, row_of_sample,
        node_of_row[:n_rows], row_weights, parent, last, size[:n_nodes], rows_at,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _moments(
    variables, indptr, samples, values, min_overlap, row_of_sample,
    node_of_row, row_weights, parent, last, size, rows_at,
):  # fmt: skip
    """Mean and scatter of every node that kept rows; frees ``row_of_sample``."""
    n_patterns, n_observed, n_squares, n_values = 0, 0, 0, 0
    start_of_node = np.full(len(size), -1, np.int64)  # where the rows of a node begin in ``block``
    for node in range(1, len(size)):
        if rows_at[node] > 0 and size[node] >= min_overlap:
            start_of_node[node] = n_values
            n_patterns += 1
            n_observed += size[node]
            n_squares += size[node] ** 2
            n_values += size[node] * rows_at[node]
    counts, offsets = np.empty(n_patterns), np.zeros(n_patterns + 1, np.int64)
    observed, means, scatters = np.empty(n_observed, np.int64), np.zeros(n_observed), np.zeros(n_squares)

    block, next_row = np.empty(n_values), start_of_node.copy()
    weight_of_row = np.empty(n_values)  # at the first value of the row in ``block``
    cursor = np.full(len(node_of_row), -1, np.int64)
    for row, node in enumerate(node_of_row):
        if start_of_node[node] >= 0:
            cursor[row] = next_row[node]
            weight_of_row[cursor[row]] = row_weights[row]
            next_row[node] += size[node]
    for variable in variables:
        for entry in range(indptr[variable], indptr[variable + 1]):
            row = row_of_sample[samples[entry]]
            if row >= 0 and cursor[row] >= 0:
                block[cursor[row]] = values[entry]
                cursor[row] += 1
    for variable in variables:
        for entry in range(indptr[variable], indptr[variable + 1]):
            row_of_sample[samples[entry]] = -1

    p, square = 0, 0
    for node in range(1, len(size)):
        if start_of_node[node] < 0:
            continue
        o, first = size[node], offsets[p]
        offsets[p + 1] = first + o
        ancestor = node
        for i in range(o - 1, -1, -1):
            observed[first + i] = last[ancestor]
            ancestor = parent[ancestor]
        rows = block[start_of_node[node] : next_row[node]].reshape(rows_at[node], o)
        weights = weight_of_row[start_of_node[node] : next_row[node] : o]
        scatter = scatters[square : square + o * o].reshape(o, o)
        counts[p] = _mean_and_scatter(rows, weights, means[first : first + o], scatter)
        square += o * o
        p += 1
    return counts, offsets, observed, means, scatters


@njit(nogil=True, cache=True)
def _mean_and_scatter(rows, weights, mean, scatter):
    total = weights.sum()
    for row, weight in zip(rows, weights):  # noqa: B905 (numba has no strict)
        mean += weight * row / total
    for row, weight in zip(rows, weights):  # noqa: B905
        for i in range(len(mean)):
            for j in range(len(mean)):
                scatter[i, j] += weight * ((row[i] - mean[i]) * (row[j] - mean[j]))
    return total


@njit(nogil=True, cache=True)
def em_gaussian(
    counts, offsets, observed, means, scatters,
    mean, covariance, prior_strength, prior_covariance, fixed_mean, memory, max_iter, tol,
):  # fmt: skip
    """Run EM from ``mean`` (k,) and ``covariance`` (k, k) on grouped patterns (at least one).

    Stops when the objective ``loglik - kappa / 2 (log|Sigma| + tr(Sigma^-1 Sigma0))`` gains at most ``tol``
    per row. ``memory = 0`` is EM itself; else Anderson's acceleration mixes the last ``memory`` steps, and a
    mixed step that does not raise the objective is taken back for a plain one. ``max_iter`` counts E steps.

    Returns mean, covariance, the log-likelihoods and the objectives before each step and after the last,
    and CONVERGED, OUT_OF_ITERATIONS or SINGULAR.
    """
    k, n_rows = len(mean), counts.sum()
    log_likelihoods, objectives = np.empty(max_iter + 1), np.empty(max_iter + 1)
    past, moves = np.empty((memory + 1, k + k * k)), np.empty((memory + 1, k + k * k))
    scale = np.sqrt(np.diag(prior_covariance))
    scale = np.concatenate((scale, np.outer(scale, scale).ravel()))
    trial = np.concatenate((mean, covariance.ravel()))
    theta, move = trial, np.zeros_like(trial)
    n_steps, n_past, mixed, status, previous = 0, 0, False, OUT_OF_ITERATIONS, -np.inf
    for _ in range(max_iter + 1):
        mean, covariance = trial[:k], trial[k:].reshape(k, k)
        log_likelihood, mean_gradient, gradient = _expectation(
            counts, offsets, observed, means, scatters, mean, covariance
        )
        objective = log_likelihood - _penalty(covariance, prior_strength, prior_covariance)
        gain = objective - previous
        if mixed and not gain >= 0:
            trial, n_past, mixed = theta + move, 0, False
            continue
        theta, previous = trial, objective
        log_likelihoods[n_steps], objectives[n_steps] = log_likelihood, objective
        n_steps += 1
        if np.isnan(gain) or gain <= tol * n_rows:
            status = SINGULAR if np.isnan(gain) else CONVERGED
            break
        delta = np.zeros(k) if fixed_mean else covariance @ mean_gradient / n_rows
        scatter = n_rows * covariance + covariance @ gradient @ covariance  # T
        target = scatter - n_rows * np.outer(delta, delta) + prior_strength * prior_covariance
        target = (target + target.T) / (2 * (n_rows + prior_strength))
        move = np.concatenate((delta, (target - covariance).ravel()))
        past[n_past], moves[n_past] = theta, move
        n_past += 1
        trial, mixed = _mix(past[:n_past], moves[:n_past], scale), n_past > 1
        if n_past > memory:
            past[:-1], moves[:-1] = past[1:].copy(), moves[1:].copy()
            n_past = memory
    return theta[:k], theta[k:].reshape(k, k), log_likelihoods[:n_steps], objectives[:n_steps], status


@njit(nogil=True, cache=True)
def _penalty(covariance, prior_strength, prior_covariance):
    precision = np.empty_like(covariance)
    log_det = _invert(covariance.copy(), len(covariance), precision)
    return prior_strength / 2 * (log_det + (precision * prior_covariance).sum())


@njit(nogil=True, cache=True)
def _mix(past, moves, scale):
    """Anderson's step: the affine mixture of past points whose mixed move is smallest, plus that move."""
    latest = past[-1] + moves[-1]
    n = len(past) - 1
    if n == 0:
        return latest
    changes = (moves[1:] - moves[:-1]) / scale
    gram = changes @ changes.T
    gram += (1e-12 * np.trace(gram) + 1e-300) * np.eye(n)
    weights = np.linalg.solve(gram, changes @ (moves[-1] / scale))
    return latest - weights @ (past[1:] - past[:-1] + moves[1:] - moves[:-1])


@njit(nogil=True, cache=True)
def _expectation(counts, offsets, observed, means, scatters, mean, covariance):
    """Observed-data log-likelihood (NaN if a block is singular) and what the M step needs of the E step.

    In the notation of Little and Rubin a pattern contributes ``A M A' + n (Sigma - A Sigma_oo A')`` to T,
    where ``A = Sigma_:o Sigma_oo^-1`` fills in the missing part and ``M = S + n d d'``. As A is Sigma times
    the padded inverse, ``T = N Sigma + Sigma G Sigma`` with G the sum of ``Sigma_oo^-1 (M - n Sigma_oo)
    Sigma_oo^-1``: the cost of a pattern depends on what it sees, not on k. G is twice the gradient of the
    log-likelihood; likewise ``T1 = Sigma g``.
    """
    k = len(mean)
    g, gradient = np.zeros(k), np.zeros((k, k))
    block, inverse, product = np.empty((k, k)), np.empty((k, k)), np.empty((k, k))
    d, v = np.empty(k), np.empty(k)
    log_likelihood, square = 0.0, 0
    for p in range(len(counts)):
        n, first, o = counts[p], offsets[p], offsets[p + 1] - offsets[p]
        seen = observed[first : first + o]
        for i in range(o):
            d[i] = means[first + i] - mean[seen[i]]
            for j in range(i + 1):
                block[i, j] = covariance[seen[i], seen[j]]
        log_likelihood -= n / 2 * (o * LOG_2_PI + _invert(block, o, inverse))
        for i in range(o):
            v[i] = 0.0
            for j in range(o):
                v[i] += inverse[i, j] * d[j]
        for i in range(o):
            log_likelihood -= n / 2 * d[i] * v[i]
            g[seen[i]] += n * v[i]
            for j in range(o):
                gradient[seen[i], seen[j]] += n * (v[i] * v[j] - inverse[i, j])
        scatter = scatters[square : square + o * o].reshape(o, o)
        if np.trace(scatter) > 0:
            for i in range(o):
                for j in range(o):
                    product[i, j] = 0.0
                    for m in range(o):
                        product[i, j] += inverse[i, m] * scatter[m, j]
                log_likelihood -= product[i, i] / 2
            for i in range(o):
                for j in range(o):
                    for m in range(o):
                        gradient[seen[i], seen[j]] += product[i, m] * inverse[m, j]
        square += o * o
    return log_likelihood, g, gradient


@njit(nogil=True, cache=True)
def _invert(a, n, inverse):
    """Put the inverse of the lower triangle ``a[:n, :n]`` into ``inverse``, spoil ``a``, return log|a|.

    One Cholesky factorisation; NaN if a pivot is too small.
    """
    log_det = 0.0
    for j in range(n):
        pivot = a[j, j]
        for m in range(j):
            pivot -= a[j, m] ** 2
        if not pivot > SMALLEST_PIVOT * a[j, j]:
            inverse[:n, :n] = np.nan
            return np.nan
        log_det += math.log(pivot)
        a[j, j] = math.sqrt(pivot)
        for i in range(j + 1, n):
            for m in range(j):
                a[i, j] -= a[i, m] * a[j, m]
            a[i, j] /= a[j, j]
    for j in range(n):  # L^-1, column by column; the diagonal to the right is still that of L
        a[j, j] = 1 / a[j, j]
        for i in range(j + 1, n):
            total = 0.0
            for m in range(j, i):
                total -= a[i, m] * a[m, j]
            a[i, j] = total / a[i, i]
    for i in range(n):
        for j in range(i + 1):
            total = 0.0
            for m in range(i, n):
                total += a[m, i] * a[m, j]
            inverse[i, j] = inverse[j, i] = total
    return log_det


@njit(nogil=True, cache=True)
def pairwise_moments(counts, offsets, observed, means, scatters, mean):
    """Return for each pair of variables the weight of the rows that see both and their scatter.

    It is about ``mean`` (k,), filled here with the mean of the rows that see a variable, if there are any.
    """
    k, square = len(mean), 0
    pair_counts, pair_scatters, sums = np.zeros((k, k)), np.zeros((k, k)), np.zeros(k)
    for p in range(len(counts)):
        for i in range(offsets[p], offsets[p + 1]):
            sums[observed[i]] += counts[p] * means[i]
            for j in range(offsets[p], offsets[p + 1]):
                pair_counts[observed[i], observed[j]] += counts[p]
    for i in range(k):
        if pair_counts[i, i] > 0:
            mean[i] = sums[i] / pair_counts[i, i]
    for p in range(len(counts)):
        for i in range(offsets[p], offsets[p + 1]):
            for j in range(offsets[p], offsets[p + 1]):
                a, b = observed[i], observed[j]
                pair_scatters[a, b] += scatters[square] + counts[p] * (means[i] - mean[a]) * (
                    means[j] - mean[b]
                )
                square += 1
    return pair_counts, pair_scatters
