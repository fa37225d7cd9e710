"""The climb of the objective of EM, its batches of patterns, and codes listed by state."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from sparsegen_classic import _listed_codes
from sparsegen_classic._kernels.em import CONVERGED, OUT_OF_ITERATIONS, SINGULAR, climb
from sparsegen_classic._kernels.missing_patterns import batch_patterns, group_patterns, pairwise_moments
from sparsegen_classic.coefficients import GaussianCoefficients
from tests import naive_coefficients as naive

K = 8


def rows_with_holes(seed, n):
    """Correlated rows of K variables, a third of them seen; and how rows of few variables look in columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, K)) @ (rng.standard_normal((K, K)) * 10.0 ** rng.integers(-2, 3, K)) + 3
    X[rng.random((n, K)) < 0.65] = np.nan
    return X


def grouped(X):
    observed = ~np.isnan(X)
    indptr = np.append(0, np.cumsum(observed.sum(axis=0))).astype(np.int32)
    samples = np.nonzero(observed.T)[1].astype(np.int32)
    scratch = np.full(len(X), -1, np.int32)
    return group_patterns(np.arange(K), indptr, samples, X.T[observed.T], np.ones(len(X)), 1, scratch)


def start_of(X):
    return np.nanmean(X, axis=0), np.diag(np.nanvar(X, axis=0))


def climbed(X, start, strength, mean_strength=0.0, memory=8, max_iter=1000, tol=1e-13):
    patterns = grouped(X)
    counts = pairwise_moments(*patterns, np.zeros(K))[0]
    return climb(batch_patterns(*patterns), counts, *start, strength, mean_strength, memory, max_iter, tol)


def test_batches_hold_every_pattern_once():
    patterns = counts, offsets, observed, means, scatters = grouped(rows_with_holes(0, 700))
    squares = np.append(0, np.cumsum(np.diff(offsets) ** 2))
    expected = {
        tuple(observed[i:j]): (count, means[i:j], scatters[p:q].reshape(j - i, j - i))
        for count, (i, j), (p, q) in zip(counts, pairwise(offsets), pairwise(squares), strict=True)
    }
    sizes, widths, scattered, counts, seen, means, scatters = batch_patterns(*patterns)
    assert len(expected) > 100
    assert len(sizes) < 30
    at = first = square = 0
    for o, w, has_scatter in zip(sizes, widths, scattered, strict=True):
        triangles = scatters[square : square + has_scatter * w * o * (o + 1) // 2].reshape(-1, w)
        for lane in range(w):
            pattern = tuple(seen[first : first + o * w].reshape(o, w)[:, lane])
            count, mean, scatter = expected.pop(pattern)
            assert counts[at + lane] == count
            assert_array_equal(means[first : first + o * w].reshape(o, w)[:, lane], mean)
            assert has_scatter == (scatter != 0).any()
            if has_scatter:
                assert_array_equal(triangles[:, lane], scatter[np.tril_indices(o)])
        at, first, square = at + w, first + o * w, square + triangles.size
    assert not expected


@pytest.mark.parametrize(("strength", "mean_strength"), [(2.5, 0.0), (2.5, 2.5), (0.0, 0.0)])
@pytest.mark.parametrize("diagonal", [True, False])
def test_it_ends_where_the_naive_objective_is_largest(strength, mean_strength, diagonal):
    X = rows_with_holes(2, 400)  # whose likelihood has a maximum
    mean0, sigma0 = start_of(X)
    if not diagonal:
        sigma0 = np.sqrt(sigma0) @ (0.6 * np.eye(K) + 0.4) @ np.sqrt(sigma0)

    def objective(mean, covariance):
        inverse = np.linalg.inv(covariance)
        prior = np.linalg.slogdet(covariance)[1] + np.trace(inverse @ sigma0)
        apart = (mean - mean0) @ inverse @ (mean - mean0)
        return naive.log_likelihood(X, mean, covariance) - (strength * prior + mean_strength * apart) / 2

    mean, covariance, objectives, status = climbed(X, (mean0, sigma0), strength, mean_strength)
    assert status == CONVERGED
    assert np.diff(objectives).min() > 0
    assert_allclose(objectives[0], objective(mean0, sigma0), rtol=1e-8)
    assert_allclose(objectives[-1], objective(mean, covariance), rtol=1e-8)
    rng, deviations = np.random.default_rng(2), np.sqrt(np.diag(covariance))
    for size in (1e-2, 1e-3):
        for _ in range(5):
            noise = rng.standard_normal((K, K)) * size
            factor = np.linalg.cholesky(covariance) @ (np.eye(K) + noise)
            moved = mean + size * deviations * rng.standard_normal(K)
            assert objective(moved, factor @ factor.T) < objectives[-1]


def test_equal_strengths_are_complete_rows():
    """Plain EM with virtual rows that have the mean and covariance of the prior ends at the same place."""
    X = rows_with_holes(3, 200)
    mean0, sigma0 = start_of(X)
    mean, covariance, _, _ = climbed(X, (mean0, sigma0), 3.0, 3.0, tol=1e-15)
    spread = np.sqrt(K) * np.linalg.cholesky(sigma0).T
    virtual = mean0 + np.concatenate([spread, -spread])
    everything = np.concatenate([X[~np.isnan(X).all(axis=1)], virtual])
    weights = np.append(np.ones(len(everything) - 2 * K), np.full(2 * K, 3 / (2 * K)))
    expected = naive.weighted_em(everything, weights, mean, covariance, 0, sigma0, 3)
    deviations = np.sqrt(np.diag(covariance))
    assert_allclose(mean / deviations, expected[0] / deviations, atol=1e-5)
    assert np.abs((covariance - expected[1]) / np.outer(deviations, deviations)).max() < 1e-5


def test_no_maximum_and_no_more_steps_are_told():
    X = rows_with_holes(4, 12)
    start = start_of(np.concatenate([X, rows_with_holes(4, 200)]))
    assert climbed(X, start, 0.0, max_iter=100_000, tol=0.0)[3] == SINGULAR
    *_, objectives, status = climbed(X, start, 1.0, max_iter=5, tol=0.0)
    assert status == OUT_OF_ITERATIONS
    assert len(objectives) <= 6


def some_codes(seed=0, n=500, m=7):
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random((n, m)) < 0.4, rng.standard_normal((n, m)), 0)
    codes[17] = 0
    return codes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_are_listed_by_state(dtype, monkeypatch):
    codes = some_codes().astype(dtype)
    expected = sparse.csc_array(np.maximum(np.hstack([codes, -codes]), 0).astype(np.float64))
    for rows in (37, 4096):
        monkeypatch.setattr(_listed_codes, "ROWS", rows)
        listed = _listed_codes.list_states(sparse.csr_array(codes))
        for part in ("data", "indices", "indptr"):
            assert_array_equal(getattr(listed, part), getattr(expected, part))
        assert (listed.data.dtype, listed.indices.dtype, listed.indptr.dtype) == (float, np.int32, np.int32)
    empty = _listed_codes.list_states(sparse.csr_array((3, 7)))
    assert (empty.shape, empty.nnz) == ((3, 14), 0)


def test_codes_on_disk_are_read_in_blocks(tmp_path, monkeypatch):
    codes = sparse.csr_array(some_codes())
    parts = {name: getattr(codes, name) for name in ("data", "indices", "indptr")}
    asked = []

    class Recorder:
        def __init__(self, array):
            self.array = array

        def __getitem__(self, which):
            asked.append(len(self.array[which]))
            return self.array[which]

    monkeypatch.setattr(_listed_codes, "ROWS", 50)
    recorded = SimpleNamespace(shape=codes.shape, **{name: Recorder(part) for name, part in parts.items()})
    listed = _listed_codes.list_states(recorded)
    assert max(asked) <= 50 * 7
    assert len(asked) == 2 * 3 * 10
    for name, part in parts.items():
        np.save(tmp_path / f"{name}.npy", part)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in parts]
    model = GaussianCoefficients().fit(sparse.csr_array(tuple(mapped), shape=codes.shape))
    same = GaussianCoefficients().fit(codes)
    assert_array_equal(model.magnitudes_.data, listed.data)
    assert_array_equal(model.state_variances_, same.state_variances_)
    assert_array_equal(model.sample(codes[:20], 0).toarray(), same.sample(codes[:20], 0).toarray())


def test_entries_that_come_twice_add_up():
    twice = sparse.csr_array(([1.0, 2, 3, -3, -4], [1, 1, 0, 0, 2], [0, 2, 4, 5]), shape=(3, 3))
    listed = GaussianCoefficients().fit(twice).magnitudes_
    assert_array_equal(listed.toarray(), np.maximum(np.hstack([twice.toarray(), -twice.toarray()]), 0))
    assert twice.nnz == 5  # the caller's codes stay as they are
