"""The convolutional lasso: closed forms, scikit-learn on the dense matrix, optimality, the gap's promise."""

import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from sparsegen_classic.convolutional import ConvDictionary, ConvSparseCoder
from tests import naive_conv

SOLVERS = ("cd", "fista", "admm", "lobcod")
GEOMETRIES = {
    "full": {},
    "even filters": {"atom": (4, 2)},
    "1x1": {"atom": (1, 1)},
    "channels": {"n_channels": 3},
    "stride": {"stride": 2, "image": (9, 11)},
    "padding": {"padding": 1, "image": (7, 8)},
    "stride, padding and a rest": {"stride": 2, "padding": 1, "output_padding": (1, 0), "image": (8, 9)},
    "circular": {"boundary": "circular", "image": (7, 8)},
    "circular, stride": {"boundary": "circular", "stride": (2, 1), "image": (8, 7)},
    "1-D": {"atom": (4,), "image": (30,)},
    "1-D circular": {"atom": (4,), "image": (21,), "boundary": "circular", "n_channels": 2},
}


def problem(atom=(3, 3), image=(9, 8), n_atoms=4, n_channels=1, seed=0, dtype=np.float64, **geometry):
    rng = np.random.default_rng(seed)
    filters = rng.standard_normal((n_atoms, n_channels, *atom)).astype(dtype)
    return ConvDictionary(filters, **geometry), rng.standard_normal((n_channels, *image)).astype(dtype)


def dense(code):
    return code.maps.to_dense().ravel()


def sklearn_objective(matrix, x, threshold, positive=False):
    """Minimum by scikit-learn: its lasso divides the squares by n, and knows no weights."""
    model = Lasso(1 / len(x), fit_intercept=False, tol=1e-14, max_iter=100_000, positive=positive)
    scaled = matrix / threshold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        coef = model.fit(scaled, x).coef_
    return 0.5 * np.sum((x - scaled @ coef) ** 2) + np.abs(coef).sum()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("lam", "objective"), [(0.5, 4.1997474683), (1, 6.9280904158), (2, 9.5326599155), (2.8284272, 10.0)]
)
def test_c52_two_filters_on_a_circle(solver, lam, objective):
    dictionary = ConvDictionary(np.array([[[1, 1]], [[1, -1]]]) / 2**0.5, boundary="circular")
    signal = np.array([1, 2, 0, -1, 3, 1, 0, 2.0])
    code = ConvSparseCoder(dictionary, lam, solver, tol=1e-11).encode(signal)
    assert code.objective == pytest.approx(objective, abs=1e-9)
    assert code.converged
    assert dictionary.lipschitz((8,)) == pytest.approx(2)
    assert ConvSparseCoder(dictionary, lam).lambda_max(signal) == pytest.approx(2.8284271247)
    assert naive_conv.lasso_conditions(dictionary.as_matrix((8,)), signal, dense(code), lam) < 1e-4


@pytest.mark.parametrize("solver", SOLVERS)
def test_c53_an_orthonormal_channel_mix_is_soft_thresholding(solver):
    rng = np.random.default_rng(0)
    filters = np.linalg.qr(rng.standard_normal((5, 5)))[0][:, :, None, None]
    image = rng.standard_normal((5, 6, 7))
    code = ConvSparseCoder(ConvDictionary(filters, boundary="circular"), 0.4, solver, tol=1e-12).encode(image)
    correlation = np.einsum("kc,chw->khw", filters[:, :, 0, 0], image)
    closed = np.sign(correlation) * np.maximum(np.abs(correlation) - 0.4, 0)
    np.testing.assert_allclose(code.maps.to_dense(), closed, atol=1e-5)
    assert code.objective == pytest.approx(
        0.5 * np.sum((correlation - closed) ** 2) + 0.4 * np.abs(closed).sum(), rel=1e-10
    )


@pytest.mark.parametrize("solver", ["cd", "fista", "lobcod"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_all_solvers_find_the_lasso_of_the_dense_matrix(geometry, positive, solver):
    dictionary, image = problem(**GEOMETRIES[geometry])
    weights = np.array([1, 0.7, 1.5, 1.2])
    coder = ConvSparseCoder(dictionary, 2.0, solver, tol=1e-10, positive=positive, weights=weights)
    code = coder.encode(image)
    matrix = dictionary.as_matrix(image.shape[1:])
    threshold = np.repeat(2.0 * weights, matrix.shape[1] // 4)
    z = dense(code)
    objective = 0.5 * np.sum((image.ravel() - matrix @ z) ** 2) + threshold @ np.abs(z)
    assert code.objective == pytest.approx(objective, rel=1e-12)
    best = sklearn_objective(matrix, image.ravel(), threshold, positive)
    assert code.objective == pytest.approx(best, rel=1e-8)
    assert naive_conv.lasso_conditions(matrix, image.ravel(), z, threshold, positive) < 1e-3
    assert code.converged
    assert not (positive and z.min() < 0)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_admm_agrees_on_the_circle(n_channels, positive):
    dictionary, image = problem(n_channels=n_channels, boundary="circular")
    admm, cd = (
        ConvSparseCoder(dictionary, 1.0, solver, tol=1e-10, positive=positive).encode(image)
        for solver in ("admm", "cd")
    )
    assert admm.converged
    assert admm.objective == pytest.approx(cd.objective, rel=1e-9)


@pytest.mark.parametrize("solver", ["cd", "fista", "lobcod"])
@pytest.mark.parametrize("geometry", ["channels", "stride, padding and a rest", "circular", "1-D"])
def test_masked_pixels_do_not_count_whatever_they_hold(geometry, solver):
    dictionary, image = problem(**GEOMETRIES[geometry])
    mask = np.random.default_rng(1).random(image.shape) < 0.6
    image[~mask] = np.nan
    code = ConvSparseCoder(dictionary, 1.0, solver, tol=1e-10).encode(image, mask)
    matrix = dictionary.as_matrix(image.shape[1:])[mask.ravel()]
    assert code.converged
    assert code.objective == pytest.approx(sklearn_objective(matrix, image[mask], 1.0), rel=1e-8)
    assert naive_conv.lasso_conditions(matrix, image[mask], dense(code), 1.0) < 1e-3


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_gap_is_an_upper_bound_after_any_number_of_iterations(solver):
    dictionary, image = problem(image=(14, 15), boundary="circular")
    best = ConvSparseCoder(dictionary, 0.5, tol=1e-12).encode(image).objective
    for max_iter in (1, 2, 3, 5, 8):
        with pytest.warns(ConvergenceWarning, match=r"relative duality gap [\d.e-]+ after"):
            code = ConvSparseCoder(dictionary, 0.5, solver, tol=1e-13, max_iter=max_iter).encode(image)
        assert not code.converged
        assert code.n_iter == max_iter
        _, objectives, gaps = code.history.T
        assert (objectives - best <= gaps * (1 + 1e-9)).all()
        assert (objectives[-1], gaps[-1]) == (code.objective, code.duality_gap)


@pytest.mark.parametrize("solver", ["cd", "lobcod"])
def test_descent_never_goes_up(solver):
    dictionary, image = problem(image=(20, 20), n_atoms=8)
    code = ConvSparseCoder(dictionary, 0.5, solver, tol=1e-5).encode(image)
    assert (np.diff(code.history[:, 1]) <= 1e-10).all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("positive", [False, True])
def test_zero_codes_from_lambda_max_on_and_said_so(solver, positive):
    dictionary, image = problem(boundary="circular")
    largest = ConvSparseCoder(dictionary, 1.0, positive=positive).lambda_max(image)
    correlation = dictionary.analyze(image)
    assert largest == pytest.approx(correlation.max() if positive else np.abs(correlation).max())
    code = ConvSparseCoder(dictionary, largest * 1.0001, solver, positive=positive).encode(image)
    assert (code.maps.nnz, code.duality_gap, code.n_iter, code.converged) == (0, 0, 0, True)
    assert code.message == "lam is at least lambda_max: all codes are zero"
    assert code.objective == pytest.approx(0.5 * np.sum(image**2))
    code = ConvSparseCoder(dictionary, largest * 0.99, solver, tol=1e-8, positive=positive).encode(image)
    assert code.maps.nnz > 0


def test_a_zero_image_has_zero_codes():
    dictionary, image = problem()
    code = ConvSparseCoder(dictionary, 1.0).encode(0 * image)
    assert (code.maps.nnz, code.objective, code.converged) == (0, 0, True)


def test_float32_is_certified_to_its_precision():
    dictionary, image = problem(image=(40, 40), n_atoms=8, dtype=np.float32)
    code = ConvSparseCoder(dictionary, 1.0, tol=1e-5).encode(image)
    double = ConvDictionary(dictionary.filters.astype(np.float64))
    best = ConvSparseCoder(double, 1.0, tol=1e-9).encode(image.astype(np.float64))
    assert code.maps.dtype == np.float32
    assert best.objective - 1e-6 * best.objective <= code.objective <= best.objective * (1 + 1e-5)


def test_a_batch_is_its_images_whatever_the_number_of_threads():
    dictionary, _ = problem(n_channels=2, dtype=np.float32)
    images = np.random.default_rng(2).standard_normal((5, 2, 16, 15)).astype(np.float32)
    images[3] = 0
    mask = np.random.default_rng(3).random((16, 15)) < 0.8
    one, two = (ConvSparseCoder(dictionary, 2.0, n_jobs=n_jobs).encode(images, mask) for n_jobs in (1, 2))
    assert one.maps.shape == (5, 4, 14, 13)
    np.testing.assert_array_equal(one.maps.indices, two.maps.indices)
    np.testing.assert_array_equal(one.maps.values, two.maps.values)
    for i, image in enumerate(images):
        single = ConvSparseCoder(dictionary, 2.0).encode(image, mask)
        np.testing.assert_array_equal(single.maps.to_dense(), one.maps.to_dense()[i])
        assert single.objective == one.objective[i]
        assert single.n_iter == one.n_iter[i]
    assert one.converged.all()
    assert one.message[3] == "lam is at least lambda_max: all codes are zero"


def test_lambda_max_of_a_batch_and_shapes_of_one_image():
    dictionary, image = problem()
    coder = ConvSparseCoder(dictionary, 1.0)
    assert coder.lambda_max(np.stack([image, 2 * image])) == pytest.approx(
        coder.lambda_max(image) * np.array([1, 2])
    )
    np.testing.assert_array_equal(dense(coder.encode(image)), dense(coder.encode(image[0])))


def test_a_planted_code_is_found_where_the_coherence_bound_promises_it():
    filters = np.random.default_rng(3).standard_normal((2, 1, 64))
    filters /= np.linalg.norm(filters, axis=2, keepdims=True)
    dictionary = ConvDictionary(filters)
    assert (1 + 1 / dictionary.mutual_coherence()) / 2 > 2  # two atoms in any stripe
    planted = np.zeros((2, 400))
    planted[0, ::140], planted[1, 50::140] = 2.0, -1.5
    code = ConvSparseCoder(dictionary, 1e-3, tol=1e-6).encode(dictionary.synthesize(planted))
    found = code.maps.to_dense()
    assert (np.abs(found) > 0.1).sum() == np.count_nonzero(planted)
    np.testing.assert_allclose(found, planted, atol=0.01)


def test_memory_is_that_of_a_few_maps_not_of_all():
    dictionary, image = problem(atom=(8, 8), image=(120, 120), n_atoms=300, dtype=np.float32)
    coder = ConvSparseCoder(dictionary, 20.0, tol=1e-2)
    coder.encode(image)
    tracemalloc.start()
    code = coder.encode(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code.maps.nnz > 100
    assert peak < code.maps.to_dense().nbytes / 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lam": 0}, ValueError, "lam must be greater than 0"),
        ({"lam": np.nan}, ValueError, "lam must be finite"),
        ({"solver": "lars"}, ValueError, "solver must be one of 'cd', 'fista', 'admm', 'lobcod'"),
        ({"tol": 0}, ValueError, "tol must be greater than 0"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"weights": [1.0]}, ValueError, r"weights must be one a filter, shape \(4,\)"),
        ({"weights": [1, 1, 0, 1]}, ValueError, "weights must be finite and greater than 0"),
        ({"dictionary": np.ones((1, 1, 2, 2))}, TypeError, "must be a ConvDictionary"),
    ],
)
def test_bad_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ConvSparseCoder(**{"dictionary": problem()[0], "lam": 1.0, **arguments})


def test_bad_images_and_masks_are_refused():
    dictionary, image = problem(n_channels=2)
    coder = ConvSparseCoder(dictionary, 1.0)
    with pytest.raises(ValueError, match="n_channels=2"):
        coder.encode(image[:1])
    with pytest.raises(ValueError, match="at least as large as the filters"):
        coder.encode(image[:, :2])
    with pytest.raises(ValueError, match="finite where it is observed"):
        coder.encode(np.where(image > 1, np.nan, image))
    with pytest.raises(ValueError, match="at least one pixel observed"):
        coder.encode(image, np.zeros(image.shape, bool))
    with pytest.raises(ValueError, match="does not broadcast"):
        coder.encode(image, np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="True \\(observed\\) or False"):
        coder.encode(image, np.full(image.shape, 0.5))
    for geometry, mask in (({}, None), ({"boundary": "circular"}, np.ones((9, 8), bool))):
        dictionary, image = problem(**geometry)
        with pytest.raises(ValueError, match="needs boundary='circular', stride 1 and no mask"):
            ConvSparseCoder(dictionary, 1.0, "admm").encode(image, mask)
