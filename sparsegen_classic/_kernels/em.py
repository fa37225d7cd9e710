"""One multivariate normal from rows with missing entries: EM, and a quasi-Newton climb of its objective.

Rows come as the batches of ``missing_patterns.batch_patterns``: patterns that see equally many variables lie
side by side, and the innermost loops run over them, which the compiler turns into vector instructions.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

CONVERGED, OUT_OF_ITERATIONS, SINGULAR = 0, 1, 2
SMALLEST_PIVOT = 1e-10  # variance given the other variables, relative to the variance
LOG_2_PI = math.log(2 * math.pi)
SUFFICIENT = 1e-4  # share of the gain that the slope promises


@njit(nogil=True, cache=True)
def em_gaussian(
    batches, mean, covariance, prior_strength, prior_covariance, fixed_mean, max_iter, tol,
):  # fmt: skip
    """Run EM from ``mean`` (k,) and ``covariance`` (k, k) on batches of patterns (at least one).

    Stops when the objective ``loglik - kappa / 2 (log|Sigma| + tr(Sigma^-1 Sigma0))`` gains at most ``tol``
    per row. Returns mean, covariance, the log-likelihoods and the objectives before each step and after the
    last, and CONVERGED, OUT_OF_ITERATIONS or SINGULAR.
    """
    n_rows, status, n_steps, previous = batches[3].sum(), OUT_OF_ITERATIONS, 0, -np.inf
    log_likelihoods, objectives = np.empty(max_iter + 1), np.empty(max_iter + 1)
    while True:
        log_likelihood, mean_gradient, gradient = _expectation(batches, mean, covariance)
        log_det, precision = _log_det_and_inverse(covariance)
        penalty = prior_strength / 2 * (log_det + (precision * prior_covariance).sum())
        log_likelihoods[n_steps], objectives[n_steps] = log_likelihood, log_likelihood - penalty
        gain, previous = objectives[n_steps] - previous, objectives[n_steps]
        n_steps += 1
        if np.isnan(gain) or gain <= tol * n_rows:
            status = SINGULAR if np.isnan(gain) else CONVERGED
        if status != OUT_OF_ITERATIONS or n_steps > max_iter:
            return mean, covariance, log_likelihoods[:n_steps], objectives[:n_steps], status
        delta = np.zeros_like(mean) if fixed_mean else covariance @ mean_gradient / n_rows
        scatter = n_rows * covariance + covariance @ gradient @ covariance  # T
        target = scatter - n_rows * np.outer(delta, delta) + prior_strength * prior_covariance
        mean, covariance = mean + delta, (target + target.T) / (2 * (n_rows + prior_strength))


@njit(nogil=True, cache=True)
def climb(
    batches, pair_counts, mean, covariance, prior_strength, mean_strength, memory, max_iter, tol,
):  # fmt: skip
    """Climb the objective of EM from ``mean`` and ``covariance``, the prior's, by L-BFGS; it never falls.

    The objective is ``loglik - kappa / 2 (log|Sigma| + tr(Sigma^-1 Sigma0))``, less ``mean_strength / 2
    (mu - mu0)' Sigma^-1 (mu - mu0)``; if both strengths are one number, the prior is so many complete rows.

    The gradient is that which the E step gives. With ``Sigma0 = C C'`` the coordinates are m and R of
    ``mu = mu0 + C m`` and ``Sigma = C R R C'``, where R is symmetric, so that Sigma stays positive definite.
    Their units make all curvatures about one at a diagonal Sigma: that of a pair of variables is the weight
    of the rows that see both, ``pair_counts`` (k, k), where EM takes that of all rows, and creeps.

    Returns mean, covariance, the objectives of the points passed, and CONVERGED, OUT_OF_ITERATIONS or
    SINGULAR. ``max_iter`` counts E steps.
    """
    k, n_rows, scale = len(mean), batches[3].sum(), np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    frame = np.ascontiguousarray((vectors * np.sqrt(values)) @ vectors.T * scale.reshape(k, 1))  # C
    least = 1e-6 * n_rows  # for pairs that are never seen
    units = np.sqrt(2 * np.maximum(pair_counts + prior_strength, least))
    mean_units = np.sqrt(np.maximum(np.diag(pair_counts) + mean_strength, least))
    point = np.concatenate((np.zeros(k), (np.eye(k) * units).ravel()))
    place = mean, frame, mean_units, units
    prior = prior_strength, mean_strength, np.log(values).sum() + 2 * np.log(scale).sum()
    objective, gradient = _slope(batches, point, place, prior)
    objectives, n_points, n_seen, n_past, calm = np.empty(max_iter + 1), 1, 1, 0, 0
    objectives[0] = objective
    steps, turns = np.empty((memory, len(point))), np.empty((memory, len(point)))
    status = SINGULAR if np.isnan(objective) else OUT_OF_ITERATIONS
    while status == OUT_OF_ITERATIONS and n_seen <= max_iter:
        direction = _quasi_newton(gradient, steps[:n_past], turns[:n_past])
        promise, length, singular = gradient @ direction, 1.0, False
        value, slope = _slope(batches, point + direction, place, prior)
        n_seen += 1
        while (
            not value - objective >= SUFFICIENT * length * promise and n_seen <= max_iter and length > 1e-12
        ):
            singular |= np.isnan(value)
            bend = objective + length * promise - value  # of the parabola through both; NaN: the shortest
            length *= min(max(length * promise / (2 * bend), 0.1), 0.5) if bend > 0 else 0.1
            value, slope = _slope(batches, point + length * direction, place, prior)
            n_seen += 1
        gain = value - objective
        if not gain > 0:
            if n_seen <= max_iter:
                status = SINGULAR if singular else CONVERGED
            break
        step, turn = length * direction, gradient - slope
        point, objective, gradient = point + step, value, slope
        objectives[n_points] = objective
        n_points += 1
        calm = calm + 1 if gain <= tol * n_rows else 0
        if calm == 2:  # one small gain may be that of a poor direction
            status = SINGULAR if singular else CONVERGED
        if step @ turn > 1e-10 * np.sqrt((step @ step) * (turn @ turn)):
            if n_past == memory:
                steps[:-1], turns[:-1] = steps[1:].copy(), turns[1:].copy()
                n_past -= 1
            steps[n_past], turns[n_past] = step, turn
            n_past += 1
    mean, covariance, _, _ = _moments_at(point, place)
    return mean, covariance, objectives[:n_points], status


@njit(nogil=True, cache=True)
def _quasi_newton(gradient, steps, turns):
    """Apply the inverse curvature that past steps and turns of the gradient tell of (two-loop recursion)."""
    direction, weights = gradient.copy(), np.empty(len(steps))
    for i in range(len(steps) - 1, -1, -1):
        weights[i] = (steps[i] @ direction) / (steps[i] @ turns[i])
        direction -= weights[i] * turns[i]
    if len(steps):
        direction *= (steps[-1] @ turns[-1]) / (turns[-1] @ turns[-1])
    for i in range(len(steps)):
        direction += (weights[i] - (turns[i] @ direction) / (steps[i] @ turns[i])) * steps[i]
    return direction


@njit(nogil=True, cache=True)
def _moments_at(point, place):
    """Return mean, covariance, m and R of a point."""
    start, frame, mean_units, units = place
    k = len(start)
    m, root = point[:k] / mean_units, point[k:].reshape(k, k) / units
    half = frame @ root
    return start + frame @ m, half @ half.T, m, root


@njit(nogil=True, cache=True)
def _slope(batches, point, place, prior):
    """Return objective and gradient at a point; NaN where the covariance is singular."""
    _, frame, mean_units, units = place
    prior_strength, mean_strength, log_det = prior
    mean, covariance, m, root = _moments_at(point, place)
    log_likelihood, mean_gradient, gradient = _expectation(batches, mean, covariance)
    change, precision = _log_det_and_inverse(root @ root)
    if np.isnan(log_likelihood) or np.isnan(change):
        return np.nan, point
    pull = precision @ m
    penalty = prior_strength / 2 * (log_det + change + np.trace(precision)) + mean_strength / 2 * (m @ pull)
    gradient = frame.T @ gradient @ frame + prior_strength * (precision @ precision - precision)
    half = (gradient + mean_strength * np.outer(pull, pull)) @ root / 2
    slope = np.concatenate(
        ((frame.T @ mean_gradient - mean_strength * pull) / mean_units, ((half + half.T) / units).ravel())
    )
    return log_likelihood - penalty, slope


@njit(nogil=True, cache=True)
def _log_det_and_inverse(matrix):
    """Return log|matrix| (NaN if it is singular) and the inverse."""
    k, log_det, inverse = len(matrix), np.empty(1), matrix.copy()
    variances = np.ascontiguousarray(np.diag(matrix))
    _invert(inverse.reshape(k, k, 1), variances.reshape(k, 1), log_det)
    return log_det[0] + np.log(variances).sum(), inverse


@njit(nogil=True, cache=True)
def _expectation(batches, mean, covariance):
    """Observed-data log-likelihood (NaN if a block is singular) and what the M step needs of the E step.

    In the notation of Little and Rubin a pattern contributes ``A M A' + n (Sigma - A Sigma_oo A')`` to T,
    where ``A = Sigma_:o Sigma_oo^-1`` fills in the missing part and ``M = S + n d d'``. As A is Sigma times
    the padded inverse, ``T = N Sigma + Sigma G Sigma`` with G the sum of ``Sigma_oo^-1 (M - n Sigma_oo)
    Sigma_oo^-1``: the cost of a pattern depends on what it sees, not on k. G is twice the gradient of the
    log-likelihood; likewise ``T1 = Sigma g``.
    """
    sizes, widths, scattered, counts, seen, means, scatters = batches
    g, gradient, log_variances = np.zeros(len(mean)), np.zeros_like(covariance), np.log(np.diag(covariance))
    spaces, columns = np.empty((3, (sizes**2 * widths).max())), np.empty((3, (sizes * widths).max()))
    log_likelihood, log_dets = 0.0, np.empty(widths.max())
    at, first, square = 0, 0, 0
    for b in range(len(sizes)):
        o, w = sizes[b], widths[b]
        n, index = counts[at : at + w], seen[first : first + o * w].reshape(o, w)
        average = means[first : first + o * w].reshape(o, w)
        variances, d = columns[0, : o * w].reshape(o, w), columns[1, : o * w].reshape(o, w)
        inverse, scatter = spaces[0, : o * o * w].reshape(o, o, w), spaces[1, : o * o * w].reshape(o, o, w)
        product = spaces[2, : o * o * w].reshape(o, o, w)
        for i in range(o):
            for lane in range(w):
                variable = index[i, lane]
                variances[i, lane] = covariance[variable, variable]
                d[i, lane] = average[i, lane] - mean[variable]
                log_likelihood -= n[lane] / 2 * (LOG_2_PI + log_variances[variable])
            for j in range(i + 1):
                for lane in range(w):
                    inverse[i, j, lane] = covariance[index[i, lane], index[j, lane]]
        _invert(inverse, variances, log_dets)
        v = columns[2, : o * w].reshape(o, w)
        _multiply(inverse, d, v)
        for lane in range(w):
            log_likelihood -= n[lane] / 2 * log_dets[lane]
        for i in range(o):
            for lane in range(w):
                log_likelihood -= n[lane] / 2 * d[i, lane] * v[i, lane]
                g[index[i, lane]] += n[lane] * v[i, lane]
        if scattered[b]:
            half = o * (o + 1) // 2
            triangle = scatters[square : square + half * w].reshape(half, w)
            log_likelihood -= _scatter_term(inverse, triangle, scatter, product) / 2
            square += half * w
        for i in range(o):
            for j in range(i + 1):
                for lane in range(w):
                    change = n[lane] * (v[i, lane] * v[j, lane] - inverse[i, j, lane])
                    if scattered[b]:
                        change += scatter[i, j, lane]
                    gradient[index[i, lane], index[j, lane]] += change
        at, first = at + w, first + o * w
    for i in range(len(mean)):
        for j in range(i):
            gradient[j, i] = gradient[i, j]
    return log_likelihood, g, gradient


@njit(nogil=True, cache=True, error_model="numpy")
def _invert(a, variances, log_det):
    """Invert symmetric matrices, given by their lower triangles ``a`` (o, o, w), in place.

    ``log_det`` (w,) takes the logarithms of their determinants over the products of their ``variances``
    (o, w); NaN where a pivot is too small.
    """
    o, _, w = a.shape
    ratios = np.ones(w)
    log_det[:w] = 0
    for j in range(o):
        for m in range(j):
            for lane in range(w):
                a[j, j, lane] -= a[j, m, lane] ** 2
        for lane in range(w):
            ratio = a[j, j, lane] / variances[j, lane]
            ratios[lane] *= ratio if ratio > SMALLEST_PIVOT else np.nan
            a[j, j, lane] = 1 / math.sqrt(a[j, j, lane])
        if j % 16 == 15 or j == o - 1:  # before the product of so many small numbers becomes none
            for lane in range(w):
                log_det[lane] += math.log(ratios[lane])
                ratios[lane] = 1.0
        for i in range(j + 1, o):
            for m in range(j):
                for lane in range(w):
                    a[i, j, lane] -= a[i, m, lane] * a[j, m, lane]
            for lane in range(w):
                a[i, j, lane] *= a[j, j, lane]
    for j in range(o):  # L^-1, column by column
        for i in range(j + 1, o):
            for lane in range(w):
                a[i, j, lane] *= -a[j, j, lane]
            for m in range(j + 1, i):
                for lane in range(w):
                    a[i, j, lane] -= a[i, m, lane] * a[m, j, lane]
            for lane in range(w):
                a[i, j, lane] *= a[i, i, lane]
    for i in range(o):  # L^-T L^-1, row by row
        for j in range(i + 1):
            for lane in range(w):
                a[i, j, lane] *= a[i, i, lane]
            for m in range(i + 1, o):
                for lane in range(w):
                    a[i, j, lane] += a[m, i, lane] * a[m, j, lane]
            for lane in range(w):
                a[j, i, lane] = a[i, j, lane]


@njit(nogil=True, cache=True)
def _multiply(matrices, vectors, products):
    o, w = vectors.shape
    products[:] = 0
    for i in range(o):
        for j in range(o):
            for lane in range(w):
                products[i, lane] += matrices[i, j, lane] * vectors[j, lane]


@njit(nogil=True, cache=True)
def _scatter_term(inverse, triangle, scatter, product):
    """Put ``K S K`` into the lower triangles of ``scatter`` (o, o, w) and return the sum of tr(K S)."""
    o, _, w = inverse.shape
    at, trace = 0, 0.0
    for i in range(o):
        for j in range(i + 1):
            scatter[i, j] = triangle[at]
            scatter[j, i] = triangle[at]
            at += 1
    product[:] = 0
    for i in range(o):
        for j in range(o):
            for m in range(o):
                for lane in range(w):
                    product[i, j, lane] += inverse[i, m, lane] * scatter[m, j, lane]
        for lane in range(w):
            trace += product[i, i, lane]
    for i in range(o):
        for j in range(i + 1):
            scatter[i, j] = 0
            for m in range(o):
                for lane in range(w):  # the mean of both triangles, whose errors cancel in Sigma G Sigma
                    scatter[i, j, lane] += (
                        product[i, m, lane] * inverse[m, j, lane] + product[j, m, lane] * inverse[m, i, lane]
                    ) / 2
    return trace
