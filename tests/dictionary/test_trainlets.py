"""Trainlets: steps against their definition, sparse against dense OMP, sparsity, cleaning, streams."""

import tracemalloc
import warnings

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic import SparseImageGenerator, orthogonal_mp
from sparsegen_classic._rows import ArrayFile, Rows
from sparsegen_classic.dictionary import Trainlets
from sparsegen_classic.dictionary.sparse_atoms import Stepper, empty_atoms, largest, residual_of
from sparsegen_classic.dictionary.sparse_omp import correlate, sparse_omp_arrays
from sparsegen_classic.dictionary.wavelets import SeparableBase, wavelet_base
from sparsegen_classic.pursuit.omp import codes_from_arrays, omp_arrays


@parametrize_with_checks(
    [Trainlets(), Trainlets(step="paper", momentum=0.92), Trainlets(min_uses=0, momentum=0)]
)
def test_estimator_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data / 16
    return X - X.mean(axis=0)


def coded_batch(base, atom_sparsity, seed=0, n_samples=60, n_components=12, k=3):
    """Return atoms, codes and images of a random problem that the atoms do not solve."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((n_samples, len(base.left) * len(base.right)))
    atoms = empty_atoms(base, n_components, atom_sparsity)
    atoms.approximate(np.arange(n_components), images[:n_components])
    found = sparse_omp_arrays(images, atoms, correlate(atoms.components, atoms), k)
    return atoms, codes_from_arrays(*found[:2], n_components), images


def objective(atoms, codes, images):
    return ((codes @ atoms.components - images) ** 2).sum() / 2


def take_step(stepper_arguments, atoms, codes, images):
    residual = residual_of(images, codes, atoms.components, None)
    return Stepper(*stepper_arguments, None, np.ones(len(atoms.components))).update(atoms, codes, residual)


def test_c22_sparse_batch_omp_equals_dense_omp():
    atoms, _, images = coded_batch(wavelet_base((6, 7), "sym8"), 9)
    np.testing.assert_allclose(
        atoms.to_csr() @ np.kron(atoms.base.left, atoms.base.right).T, atoms.components
    )
    gram = correlate(atoms.components, atoms)
    np.testing.assert_allclose(gram, atoms.components @ atoms.components.T, atol=1e-12)
    indices, coefficients, _ = sparse_omp_arrays(images, atoms, gram, 6)
    expected, expected_coefficients, _ = omp_arrays(images, atoms.components, 6)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(coefficients, expected_coefficients, atol=1e-10)
    active = np.array([0, 3, 4, 8, 9, 11])
    indices, coefficients, _ = sparse_omp_arrays(images, atoms, gram, 4, active=active)
    expected, expected_coefficients, _ = omp_arrays(images, atoms.components[active], 4)
    np.testing.assert_array_equal(indices, active[expected])
    np.testing.assert_allclose(coefficients, expected_coefficients, atol=1e-10)


def test_c23_without_a_base_a_step_is_projected_gradient_descent():
    identity = SeparableBase(np.eye(4), np.eye(5), np.ones(20))
    atoms, codes, images = coded_batch(identity, 20)
    D, X = atoms.components.copy(), codes.toarray()
    gradient = X.T @ (X @ D - images)
    eta = (gradient**2).sum() / ((X @ gradient) ** 2).sum()
    expected = D - eta * gradient
    norms = np.linalg.norm(expected, axis=1)
    assert take_step(("exact", 0.0), atoms, codes, images) == pytest.approx(eta)
    np.testing.assert_allclose(atoms.components, expected / norms[:, None])
    np.testing.assert_allclose(codes.toarray(), X * norms)


@pytest.mark.parametrize("step", ["exact", "scaled"])
@pytest.mark.parametrize("seed", range(5))
def test_on_a_fixed_support_the_exact_step_is_the_best_along_its_line(step, seed):
    base = wavelet_base((5, 4), "sym8")
    values = {}
    for share in (0.0, 0.01, 0.05):  # a momentum shortens the first step by just that
        atoms, codes, images = coded_batch(base, base.n_functions, seed)
        before = objective(atoms, codes, images)
        take_step((step, share), atoms, codes, images)
        values[share] = objective(atoms, codes, images)
    assert values[0.0] < values[0.01] < values[0.05] < before


@pytest.mark.parametrize("step", ["scaled", "exact", "paper"])
def test_a_step_needs_only_the_products_of_codes_and_residual(step):
    base, moved, etas = wavelet_base((5, 4), "sym8"), [], []
    for from_products in (False, True):
        atoms, codes, images = coded_batch(base, 6)
        residual = residual_of(images, codes, atoms.components, None)
        given = (residual[:0], None, codes.T @ residual) if from_products else (residual,)
        stepper = Stepper(step, 0.5, np.ones((12, base.n_functions)), np.ones(12))
        etas.append(stepper.update(atoms, codes, *given))
        moved.append(atoms.components)
    assert etas[0] == pytest.approx(etas[1])
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-12)


def test_the_paper_step_is_that_of_atoms_which_are_not_renormalised():
    base = wavelet_base((4, 4), "haar")
    atoms, codes, images = coded_batch(base, 6)
    Phi, k = np.kron(base.left, base.right), 3
    A, V = atoms.to_csr().toarray(), np.zeros((12, base.n_functions))
    stepper = Stepper("paper", 0.5, np.zeros_like(V), np.ones(12))
    for _ in range(3):
        norms = np.linalg.norm(A @ Phi.T, axis=1)
        X = codes_from_arrays(*omp_arrays(images, A @ Phi.T / norms[:, None], k)[:2], 12).toarray() / norms
        gradient = X.T @ (X @ A @ Phi.T - images) @ Phi
        V = 0.5 * V + np.linalg.norm(gradient) / np.linalg.norm(X @ gradient @ Phi.T) * gradient
        kept = largest(A - V, 6)
        A = np.zeros_like(A)
        np.put_along_axis(A, *kept, axis=1)
        found = sparse_omp_arrays(images, atoms, correlate(atoms.components, atoms), k)
        codes = codes_from_arrays(*found[:2], 12)
        stepper.update(atoms, codes, residual_of(images, codes, atoms.components, None))
    norms = np.linalg.norm(A @ Phi.T, axis=1)
    np.testing.assert_allclose(atoms.to_csr().toarray(), A / norms[:, None], atol=1e-10)
    np.testing.assert_allclose(stepper.scale, norms)


def test_thresholding_keeps_the_largest_magnitudes_and_settles_ties_by_position():
    positions, values = largest(np.array([[1.0, -3, 2, 0], [-1, 1, 1, 1]]), 2)
    assert positions.tolist() == [[1, 2], [0, 1]]
    assert values.tolist() == [[-3, 2], [-1, 1]]
    rows = np.random.default_rng(0).standard_normal((20, 50))
    expected = np.sort(np.argsort(-np.abs(rows), axis=1)[:, :7], axis=1)
    np.testing.assert_array_equal(largest(rows, 7)[0], expected)
    np.testing.assert_array_equal(largest(rows, 50)[1], rows)


@pytest.mark.parametrize("step", ["scaled", "exact", "paper"])
def test_c22_after_each_update_atoms_are_sparse_and_of_unit_norm(digits, step):
    model = Trainlets(40, n_nonzero_coefs=4, atom_sparsity=10, step=step, random_state=0)
    for start in range(0, 1500, 300):
        model.partial_fit(digits[start : start + 300])
        codes = model.atom_codes_
        assert codes.shape == (40, 256)
        assert np.diff(codes.indptr).max() <= 10
        np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1)
        base = wavelet_base((8, 8), "sym8")
        np.testing.assert_allclose(base.synthesize(codes.toarray()), model.components_, atol=1e-12)


def rmse(X, components, k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the raw base is nearly dependent
        return np.sqrt(((X - orthogonal_mp(X, components, k) @ components) ** 2).mean())


def test_c22_two_epochs_beat_the_base_at_equal_k(digits):
    base = wavelet_base((8, 8), "sym8")
    wavelets = np.kron(base.left, base.right).T
    model = Trainlets(64, n_nonzero_coefs=4, max_iter=2, random_state=0).fit(digits[:1400])
    assert model.errors_[-1] < 0.8 * rmse(digits[:1400], wavelets, 4)
    assert rmse(digits[1400:], model.components_, 4) < 0.85 * rmse(digits[1400:], wavelets, 4)


def test_c22_on_faces(data_root):
    with np.load(data_root / "faces/orl_64.npz") as file:
        X = file["images"].reshape(400, -1).astype(np.float32) / 255
    X -= X[:300].mean(axis=0)
    model = Trainlets(60, n_nonzero_coefs=10, max_iter=2, batch_size=150, random_state=0).fit(X[:300])
    assert model.components_.dtype == np.float32
    start = Trainlets(60, n_nonzero_coefs=10, max_iter=1, batch_size=300, random_state=0).fit(X[:300])
    assert model.errors_[-1] < start.errors_[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_seed_same_bits_for_any_n_jobs(digits, dtype):
    models = [
        Trainlets(80, n_nonzero_coefs=4, max_iter=3, drop_atoms=0.5, random_state=1, n_jobs=n).fit(
            digits.astype(dtype)
        )
        for n in (1, 2)
    ]
    assert models[0].components_.dtype == dtype
    np.testing.assert_array_equal(models[0].components_, models[1].components_)
    codes = [model.transform(digits.astype(dtype)) for model in models]
    np.testing.assert_array_equal(codes[0].toarray(), codes[1].toarray())


@pytest.mark.parametrize("drop_atoms", [0, 0.5])
def test_large_batches_are_learned_in_blocks_by_workers_anywhere(digits, tmp_path, drop_atoms):
    np.save(tmp_path / "digits.npy", digits.astype(np.float32))
    rows = Rows(ArrayFile.open_npy(tmp_path / "digits.npy"))
    options = {"n_nonzero_coefs": 4, "batch_size": 1500, "max_iter": 3, "min_uses": 80, "random_state": 0}

    def fit(X, n_jobs=None):
        return Trainlets(60, **options, drop_atoms=drop_atoms, n_jobs=n_jobs).fit(X)

    here = fit(rows[:])
    assert here.n_replaced_ > 0
    assert here.errors_[-1] < here.errors_[0]
    with parallel_config("loky", n_jobs=2):
        others = [fit(rows), fit(rows[:])]
    for other in (fit(rows), fit(rows[:], n_jobs=2), *others):
        np.testing.assert_array_equal(other.components_, here.components_)
        np.testing.assert_array_equal(other.errors_, here.errors_)


def test_batches_of_one_block_and_of_several_learn_the_same(digits, monkeypatch):
    options = {"n_nonzero_coefs": 4, "batch_size": 450, "max_iter": 3, "random_state": 0}
    one = Trainlets(40, **options).fit(digits)
    monkeypatch.setattr("sparsegen_classic.dictionary.osdl._BLOCK", 100)
    several = Trainlets(40, **options).fit(digits)
    np.testing.assert_allclose(several.components_, one.components_, atol=1e-6)
    np.testing.assert_allclose(several.errors_, one.errors_)


def test_transform_is_omp_over_the_atoms(digits):
    model = Trainlets(40, n_nonzero_coefs=4, max_iter=1, random_state=0).fit(digits)
    codes = model.transform(digits[:100])
    np.testing.assert_allclose(
        codes.toarray(), orthogonal_mp(digits[:100], model.components_, 4).toarray(), atol=1e-9
    )
    assert model.inverse_transform(codes).shape == (100, 64)


def test_dead_and_duplicate_atoms_are_replaced_and_counted(digits):
    model = Trainlets(30, n_nonzero_coefs=3, random_state=0).partial_fit(digits[:400])
    for part in (model.components_, model.atom_positions_, model.atom_values_):
        part[1] = part[0]
    model.partial_fit(digits[400:800])
    assert model.n_replaced_ >= 1
    gram = np.abs(model.components_ @ model.components_.T) - np.eye(30)
    assert gram.max() < 0.99
    never = Trainlets(30, n_nonzero_coefs=3, min_uses=0, coherence_threshold=1, random_state=0)
    assert never.fit(digits).n_replaced_ == 0


def test_hidden_atoms_are_not_used(digits):
    plain, dropped = (
        Trainlets(40, n_nonzero_coefs=3, max_iter=1, drop_atoms=share, random_state=0).fit(digits)
        for share in (0, 0.8)
    )
    assert dropped.errors_[0] > plain.errors_[0]


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 32), (64, 1)])
def test_images_of_any_shape(digits, shape):
    model = Trainlets(30, n_nonzero_coefs=4, image_shape=shape, random_state=0, max_iter=4).fit(digits)
    assert model.errors_[-1] < model.errors_[0]


def test_a_memory_map_is_not_read_at_once(tmp_path):
    rng = np.random.default_rng(0)
    peaks = []
    for n in (600, 4800):
        X = np.memmap(tmp_path / f"{n}.raw", np.float32, "w+", shape=(n, 256))
        X[:] = rng.standard_normal((n, 4)).astype(np.float32) @ rng.standard_normal((4, 256)).astype(
            np.float32
        )
        model = Trainlets(20, n_nonzero_coefs=2, batch_size=200, max_iter=1, random_state=0)
        model.fit(X)  # compiles
        tracemalloc.start()
        model.fit(X)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 0.1 * 4800 * 256 * 4


def test_a_stream_learns_as_well_as_one_fit(digits):
    stream = Trainlets(40, n_nonzero_coefs=4, random_state=0)
    for _ in range(5):
        for start in range(0, 1797, 450):
            stream.partial_fit(digits[start : start + 450])
    whole = Trainlets(40, n_nonzero_coefs=4, max_iter=5, random_state=0).fit(digits)
    assert stream.n_iter_ == 20
    assert stream.errors_[-4:].mean() == pytest.approx(whole.errors_[-1], rel=0.05)


def test_the_generator_takes_trainlets(digits):
    images = load_digits().images[:400] / 16
    generator = SparseImageGenerator(Trainlets(30, n_nonzero_coefs=4, max_iter=3), random_state=0).fit(images)
    assert generator.sample(3, random_state=0).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 31}, "n_components=31 atoms need .* got 30 of n_samples=30"),
        (
            {"n_components": 5, "n_nonzero_coefs": 6},
            "n_nonzero_coefs must be at least 1 and at most 5, got 6",
        ),
        ({"atom_sparsity": 0}, "atom_sparsity must be at least 1 and at most .*, got 0"),
        ({"image_shape": (2, 5)}, r"image_shape must be .* product of n_features=6, got \(2, 5\)"),
        ({"image_shape": (6,)}, r"image_shape must be .* product of n_features=6, got \(6,\)"),
        ({"wavelet": "morl"}, "wavelet must be one of .*, got 'morl'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"step": "newton"}, "step must be one of 'scaled', 'exact', 'paper', got 'newton'"),
        ({"momentum": 1.0}, "momentum must be at least 0 and less than 1, got 1.0"),
        ({"coherence_threshold": 1.5}, "coherence_threshold must be greater than 0 and at most 1, got 1.5"),
        ({"min_uses": -1}, "min_uses must be at least 0, got -1"),
        ({"drop_atoms": 1}, "drop_atoms must be at least 0 and less than 1, got 1"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    X = np.random.default_rng(0).standard_normal((30, 6))
    with pytest.raises(ValueError, match=message):
        Trainlets(**parameters).fit(X)


def test_a_long_line_needs_a_shape():
    with pytest.raises(ValueError, match="image_shape must be given for n_features=4800"):
        Trainlets(2).fit(np.ones((3, 4800)))


def test_a_stream_may_not_change_its_width(digits):
    model = Trainlets(10, n_nonzero_coefs=2, random_state=0).partial_fit(digits[:100])
    with pytest.raises(ValueError, match="63 features"):
        model.partial_fit(digits[:100, 1:])
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.full((5, 64), np.nan))
