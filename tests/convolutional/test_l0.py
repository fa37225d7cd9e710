"""l0 pursuits against dense OMP, monotonicity, and the recovery guarantees of Papyan, Sulam and Elad."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from sparsegen_classic.convolutional import ConvDictionary, ConvSparseCoder, sparsity_counts
from sparsegen_classic.convolutional.l0 import csc_iht, csc_mp, csc_omp
from tests import naive

GEOMETRIES = [  # filters, image, stride, padding, output_padding, boundary
    ((3, 1, 5), (20,), 1, 0, 0, "zero"),
    ((3, 2, 5), (20,), 1, 0, 0, "circular"),
    ((2, 1, 6), (14,), 2, 0, 0, "circular"),
    ((4, 1, 4), (15,), 2, 2, 1, "zero"),
    ((3, 2, 3, 4), (8, 9), 1, 0, 0, "zero"),
    ((3, 2, 3, 4), (9, 8), 2, 1, (0, 0), "zero"),
    ((2, 1, 4, 4), (6, 8), (1, 2), 0, 0, "circular"),
    ((4, 2, 3, 3), (7, 7), 1, 2, 0, "zero"),
    ((5, 3, 1, 1), (4, 5), 1, 0, 0, "zero"),
    ((2, 1, 5, 5), (5, 6), 1, 0, 0, "circular"),  # atoms overlap around both sides
]


def problem(filters, image, stride, padding, output_padding, boundary, seed=0):
    rng = np.random.default_rng(seed)
    dictionary = ConvDictionary(rng.standard_normal(filters), stride, padding, output_padding, boundary)
    return dictionary, rng.standard_normal((filters[1], *image))


def dense(dictionary, x):
    """The matrix D and D with unit columns (cropped atoms are shorter)."""
    matrix = dictionary.as_matrix(x.shape[1:])
    norms = np.linalg.norm(matrix, axis=0)
    return matrix, matrix / norms, norms


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_omp_is_textbook_omp_on_the_dense_matrix(geometry):
    dictionary, x = problem(*geometry)
    matrix, unit, norms = dense(dictionary, x)
    for k in (1, 4, 9):
        result = csc_omp(dictionary, x, k)
        code = result.maps.to_dense().ravel()
        np.testing.assert_allclose(code, naive.omp(x.ravel(), unit.T, k) / norms, atol=1e-9)
        residual = x.ravel() - matrix @ code
        assert result.objective == pytest.approx(residual @ residual / 2, rel=1e-9)
        assert result.maps.nnz == result.n_iter == k
        assert np.abs(matrix[:, code != 0].T @ residual).max() < 1e-9


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mp_takes_the_steps_of_matching_pursuit(geometry):
    dictionary, x = problem(*geometry)
    matrix, unit, norms = dense(dictionary, x)
    code, residual = np.zeros(matrix.shape[1]), x.ravel().copy()
    for _ in range(30):
        correlation = unit.T @ residual
        best = np.argmax(np.abs(correlation))
        code[best] += correlation[best] / norms[best]
        residual -= correlation[best] * unit[:, best]
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        result = csc_mp(dictionary, x, tol=0.0, max_iter=30)
    np.testing.assert_allclose(result.maps.to_dense().ravel(), code, atol=1e-9)
    assert result.objective == pytest.approx(residual @ residual / 2, rel=1e-9)
    assert (result.n_iter, result.converged, result.stopped_by) == (30, False, "max_iter")


@pytest.mark.parametrize("count", ["needle", "pixel", "stripe"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_pursuit_under_a_cap_takes_the_best_admissible_atom(geometry, count):
    dictionary, x = problem(*geometry)
    settings = dictionary.atom_shape, dictionary.stride, dictionary.boundary
    _, unit, norms = dense(dictionary, x)
    shape = (dictionary.n_atoms, *dictionary.maps_shape(x.shape[1:]))
    for cap in (1, 2):
        chosen, residual = [], x.ravel()
        for _ in range(8):
            correlation = np.abs(unit.T @ residual)
            correlation[chosen] = 0
            for entry in np.argsort(-correlation):
                trial = np.zeros(shape)
                trial.ravel()[[*chosen, entry]] = 1
                if correlation[entry] > 1e-10 and getattr(sparsity_counts(trial, *settings), count) <= cap:
                    chosen.append(int(entry))
                    break
            code = np.linalg.lstsq(unit[:, chosen], x.ravel(), rcond=None)[0]
            residual = x.ravel() - unit[:, chosen] @ code
        expected = np.zeros(shape)
        expected.ravel()[chosen] = code / norms[chosen]
        result = csc_omp(dictionary, x, 8, cap=cap, count=count)
        np.testing.assert_allclose(result.maps.to_dense(), expected, atol=1e-8)
        assert result.stopped_by in (("n_nonzero", "cap") if len(chosen) == 8 else ("cap", "exact"))


def test_a_cap_alone_fills_up_and_matching_pursuit_may_return_to_its_atoms():
    dictionary, x = problem((3, 1, 3, 3), (12, 12), 1, 0, 0, "zero")
    result = csc_omp(dictionary, x, cap=2)
    assert (result.converged, result.stopped_by) == (True, "cap")
    assert sparsity_counts(result.maps, (3, 3)).stripe == 2
    matched = csc_mp(dictionary, x, cap=2)
    assert matched.stopped_by == "cap"
    assert matched.n_iter > matched.maps.nnz
    matrix = dictionary.as_matrix((12, 12))
    residual = x - dictionary.synthesize(matched.maps)
    on = matched.maps.to_dense().ravel() != 0
    assert np.abs(matrix[:, on].T @ residual.ravel()).max() < 1e-10  # as good as a refit in the end


def test_tol_is_honoured_with_the_fewest_atoms():
    dictionary, x = problem((4, 1, 4, 4), (10, 10), 1, 0, 0, "circular")
    energy = (x**2).sum()
    for tol in (0.5 * energy, 0.05 * energy, 1e-18 * energy):
        result = csc_omp(dictionary, x, tol=tol)
        assert result.stopped_by in ("tol", "exact")
        assert 2 * result.objective <= max(tol, 1e-24 * energy)
        if tol > 1e-12:
            assert 2 * csc_omp(dictionary, x, result.maps.nnz - 1).objective > tol
    assert csc_omp(dictionary, x, tol=1.0001 * energy).maps.nnz == 0


def test_zero_images_float32_and_signals_without_a_channel_axis():
    dictionary, x = problem((3, 1, 5), (20,), 1, 0, 0, "zero")
    assert csc_omp(dictionary, 0 * x, 3).maps.nnz == csc_mp(dictionary, 0 * x, 3).maps.nnz == 0
    single = ConvDictionary(dictionary.filters.astype(np.float32))
    assert csc_omp(single, x[0], 3).maps.dtype == np.float32
    np.testing.assert_array_equal(
        csc_omp(dictionary, x[0], 3).maps.to_dense(), csc_omp(dictionary, x, 3).maps.to_dense()
    )


def test_equal_filters_stop_with_a_warning_not_with_nonsense():
    filters = np.ones((1, 1, 2, 2))
    dictionary = ConvDictionary(np.concatenate([filters, filters + 1e-9 * np.eye(2)]))
    x = np.random.default_rng(0).standard_normal((1, 3, 3))
    with pytest.warns(ConvergenceWarning, match="linearly dependent"):
        result = csc_omp(dictionary, x, 8)
    assert not result.converged
    assert np.abs(result.maps.values).max() < 1e3


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_iht_is_monotone_and_ends_at_a_fixed_point(geometry):
    dictionary, x = problem(*geometry)
    objectives = []
    result = csc_iht(dictionary, x, 6, max_iter=100_000, callback=lambda _, value: objectives.append(value))
    assert (np.diff(objectives) <= 1e-12).all()
    assert result.stopped_by == "fixed point"
    assert result.n_iter == len(objectives)
    matrix, _, _ = dense(dictionary, x)
    on = result.maps.to_dense().ravel() != 0
    best = np.linalg.lstsq(matrix[:, on], x.ravel(), rcond=None)[0]
    np.testing.assert_allclose(result.maps.to_dense().ravel()[on], best, atol=1e-6)
    assert csc_iht(dictionary, x, 6, 1.9 * result.objective + 0.1 * (x**2).sum()).stopped_by == "tol"


# -- guarantees


def pair_correlations(flat, p):
    """Log of the p-norm of all correlations but the two self ones, with its gradient, by FFT."""
    raw = flat.reshape(2, 64)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    f = raw / norms
    spectra = np.fft.rfft(f, 128)
    correlations = np.fft.irfft(spectra[:, None] * spectra[None].conj(), 128)
    correlations[[0, 1], [0, 1], 0] = 0
    top = np.abs(correlations).max()
    powers = np.abs(correlations / top) ** (p - 1) * np.sign(correlations)
    total = (np.abs(correlations / top) ** p).sum()
    slope = np.fft.rfft(powers / (total * top))
    gradient = np.fft.irfft(2 * np.einsum("ijw,jw->iw", slope, spectra), 128)[:, :64]
    gradient -= (gradient * f).sum(axis=1, keepdims=True) * f
    return np.log(top) + np.log(total) / p, (gradient / norms).ravel()


@pytest.fixture(scope="module")
def low_coherence_pair():
    """C5.5: two random filters of length 64, their correlations flattened by p-norms of growing p."""
    filters = np.random.default_rng(0).standard_normal(128)
    for p in (4, 10, 20):
        filters = minimize(pair_correlations, filters, (p,), "L-BFGS-B", jac=True).x
    filters = filters.reshape(2, 1, 64)
    dictionary = ConvDictionary(filters / np.linalg.norm(filters, axis=2, keepdims=True), boundary="circular")
    return dictionary, dictionary.mutual_coherence()


def planted(rng, stripe, n=640):
    """A code with as many non-zeros as random order places under the stripe cap, at most 25."""
    maps, counts = np.zeros((2, n)), np.zeros(n, int)
    for entry in rng.permutation(2 * n):
        window = (entry % n + np.arange(-63, 64)) % n
        if np.count_nonzero(maps) < 25 and counts[window].max() < stripe:
            maps.flat[entry] = rng.choice([-1, 1]) * rng.uniform(1, 3)
            counts[window] += 1
    return maps


def test_c55_the_pair_and_the_welch_bound(low_coherence_pair):
    dictionary, mu = low_coherence_pair
    assert dictionary.welch_bound() == pytest.approx(0.0628695, abs=1e-7)
    assert 0.0628695 < mu < 0.085
    assert (1 + 1 / mu) / 2 > 6.3


def test_c55_omp_recovers_200_of_200_far_above_the_classical_limit(low_coherence_pair):
    dictionary, mu = low_coherence_pair
    rng = np.random.default_rng(1)
    sizes = []
    for _ in range(200):
        maps = planted(rng, 6)
        assert sparsity_counts(maps, 64, boundary="circular").stripe <= 6 < (1 + 1 / mu) / 2
        result = csc_omp(dictionary, dictionary.synthesize(maps), np.count_nonzero(maps))
        np.testing.assert_allclose(result.maps.to_dense(), maps, atol=1e-10)
        sizes.append(np.count_nonzero(maps))
    assert np.mean(sizes) > 3 * (1 + 1 / mu) / 2  # the classical theory stops at 6 of them in all


def largest_patch_norm(noise):
    """eps_L: the largest norm of the noise over a patch of 64 samples."""
    squares = noise.ravel() ** 2
    return np.sqrt(max(np.roll(squares, -i)[:64].sum() for i in range(len(squares))))


def noisy_problems(dictionary, stripe, n_problems):
    rng = np.random.default_rng(2)
    for _ in range(n_problems):
        maps, noise = planted(rng, stripe), 0.02 * rng.standard_normal((1, 640))
        yield maps, dictionary.synthesize(maps) + noise, noise, largest_patch_norm(noise)


def test_omp_is_stable_to_noise_within_its_bound(low_coherence_pair):
    dictionary, mu = low_coherence_pair
    for maps, x, noise, local in noisy_problems(dictionary, 4, 20):
        stripe = sparsity_counts(maps, 64, boundary="circular").stripe
        assert stripe < (1 + 1 / mu) / 2 - local / (mu * np.abs(maps[maps != 0]).min())
        found = csc_omp(dictionary, x, np.count_nonzero(maps)).maps.to_dense()
        np.testing.assert_array_equal(found != 0, maps != 0)
        assert ((found - maps) ** 2).sum() <= (noise**2).sum() / (1 - mu * (stripe - 1))


def test_basis_pursuit_is_stable_to_noise_within_its_bound(low_coherence_pair):
    dictionary, mu = low_coherence_pair
    for maps, x, _, local in noisy_problems(dictionary, 4, 20):
        assert sparsity_counts(maps, 64, boundary="circular").stripe < (1 + 1 / mu) / 3
        found = ConvSparseCoder(dictionary, 4 * local, tol=1e-8).encode(x).maps.to_dense()
        assert (maps[found != 0] != 0).all()
        assert np.abs(found - maps).max() < 7.5 * local
        assert (found[np.abs(maps) > 7.5 * local] != 0).all()
