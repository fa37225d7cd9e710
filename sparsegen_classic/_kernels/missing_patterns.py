"""Rows with missing entries, grouped by which they have.

A set of patterns is five ragged arrays: ``counts`` (n_patterns,), the weight of the rows of a pattern, which
is their number if each weighs 1; ``offsets`` (n_patterns + 1,) into ``observed`` (the variables a pattern
sees, in order) and ``means`` (the mean of its rows); ``scatters``, the o x o scatter matrices about those
means, one after the other.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LANES = 32  # patterns of a batch


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
        for i in range(len(mean)):
            mean[i] += weight * row[i] / total
    for row, weight in zip(rows, weights):  # noqa: B905
        for i in range(len(mean)):
            for j in range(len(mean)):
                scatter[i, j] += weight * ((row[i] - mean[i]) * (row[j] - mean[j]))
    return total


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


@njit(nogil=True, cache=True)
def batch_patterns(counts, offsets, observed, means, scatters):
    """Put patterns that see equally many variables side by side, for the E step to work on together.

    Returns batches of up to ``LANES`` patterns: ``sizes``, ``widths`` and ``scattered`` (n_batches,), how
    many variables each pattern sees, how many patterns there are, and whether they have any scatter; then,
    batch after batch, ``counts``, ``seen`` and ``means`` (size x width) and, of those that have one, the
    lower triangles of ``scatters`` (size * (size + 1) / 2 x width).
    """
    n = len(counts)
    squares, kinds = np.zeros(n + 1, np.int64), np.empty(n, np.int64)  # kind: twice the size, plus scattered
    for p in range(n):
        o = offsets[p + 1] - offsets[p]
        squares[p + 1] = squares[p] + o * o
        kinds[p] = 2 * o + np.any(scatters[squares[p] : squares[p + 1]] != 0)
    order = np.argsort(kinds, kind="mergesort")
    sizes, widths, scattered = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.bool_)
    seen, averages, triangles = np.empty_like(observed), np.empty_like(means), np.empty_like(scatters)
    n_batches, start, first, square = 0, 0, 0, 0
    while start < n:
        kind, stop = kinds[order[start]], start + 1
        while stop < n and stop < start + LANES and kinds[order[stop]] == kind:
            stop += 1
        o, w = kind // 2, stop - start
        sizes[n_batches], widths[n_batches], scattered[n_batches] = o, w, kind % 2
        n_batches += 1
        for lane in range(w):
            p = order[start + lane]
            for i in range(o):
                seen[first + i * w + lane] = observed[offsets[p] + i]
                averages[first + i * w + lane] = means[offsets[p] + i]
            if kind % 2:
                at = square + lane
                for i in range(o):
                    for j in range(i + 1):
                        triangles[at] = scatters[squares[p] + i * o + j]
                        at += w
        first += o * w
        square += (kind % 2) * w * o * (o + 1) // 2
        start = stop
    return (
        sizes[:n_batches], widths[:n_batches], scattered[:n_batches],
        counts[order], seen, averages, triangles[:square],
    )  # fmt: skip
