"""Float64 OMP that finds its atoms in float32: the same supports as without, whatever the dictionary."""

import numpy as np
import pytest

from sparsegen_classic import orthogonal_mp
from sparsegen_classic.pursuit import omp, omp_arrays
from tests import naive

N_FEATURES, K = 300, 15  # enough features to be screened


def gaussian(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def coherent_atoms():
    return naive.unit_rows(gaussian(1, 1, N_FEATURES) + 0.3 * gaussian(2, 400, N_FEATURES))


def nearly_equal_atoms(distance):
    atoms = naive.unit_rows(gaussian(1, 200, N_FEATURES))
    return naive.unit_rows(np.vstack([atoms, -atoms + distance * gaussian(2, 200, N_FEATURES)]))


def smooth_atoms():
    places, width = np.meshgrid(np.linspace(0, 1, 100), [0.02, 0.05, 0.1, 0.2])
    x = np.linspace(0, 1, N_FEATURES)
    return naive.unit_rows(np.exp(-(((x - places.reshape(-1, 1)) / width.reshape(-1, 1)) ** 2)))


DICTIONARIES = {
    "gaussian": naive.unit_rows(gaussian(1, 500, N_FEATURES)),
    "coherent": coherent_atoms(),
    "smooth": smooth_atoms(),
    "equal to 1e-5": nearly_equal_atoms(1e-5),
    "equal to 1e-7": nearly_equal_atoms(1e-7),
    "equal to 1e-10": nearly_equal_atoms(1e-10),
    "not quite of unit norm": naive.unit_rows(gaussian(1, 97, N_FEATURES))
    * np.linspace(0.991, 1.009, 97)[:, None],
}


def both(X, atoms, k, monkeypatch):
    screened = omp_arrays(X, atoms, k)
    monkeypatch.setattr(omp, "_SCREENED_FEATURES", np.inf)
    return screened, omp_arrays(X, atoms, k)


@pytest.mark.parametrize("atoms", DICTIONARIES.values(), ids=DICTIONARIES)
@pytest.mark.parametrize("signals", ["noise", "mixtures", "sparse"])
def test_supports_and_order_are_those_of_float64(atoms, signals, monkeypatch):
    if signals == "noise":
        X = gaussian(3, 300, N_FEATURES)
    else:
        used = np.random.default_rng(4).random((300, len(atoms))) < (0.5 if signals == "mixtures" else 0.02)
        X = (used * gaussian(5, 300, len(atoms))) @ atoms
    (indices, coefficients, stopped), (expected, values, expected_stopped) = both(X, atoms, K, monkeypatch)
    np.testing.assert_array_equal(indices, expected)
    scale = np.abs(values).max(axis=1, keepdims=True) + (values == 0).all(axis=1, keepdims=True)
    np.testing.assert_allclose(coefficients / scale, values / scale, rtol=0, atol=1e-12 * condition(atoms))
    assert stopped == expected_stopped


def condition(atoms):
    """A thousand for dictionaries whose chosen atoms may be nearly dependent."""
    gram = np.abs(atoms @ atoms.T) - np.eye(len(atoms))
    return 1 if gram.max() < 0.5 else 1000


def test_what_looks_equal_in_float32_is_decided_in_float64(monkeypatch):
    """The second atom is better by 4e-8 of the signal: float32 cannot tell, the lower index would win."""
    atoms = np.eye(N_FEATURES)
    X = np.zeros((40, N_FEATURES))
    X[:, 7], X[:, 100] = 1, 1 + 4e-8
    assert orthogonal_mp(X.astype(np.float32), atoms, 1).indices.max() == 7
    X *= np.geomspace(1e-50, 1e50, 40)[:, None]  # nor does it matter that float32 does not reach that far
    monkeypatch.setattr(omp, "code_block", None)  # nothing is left to the float64 kernel
    assert (omp_arrays(X, atoms, 1)[0] == 100).all()


def test_hardly_a_signal_is_left_to_float64(monkeypatch):
    left = []

    def count(alpha, *given):
        left.append(len(alpha))
        return code_block(alpha, *given)

    code_block = omp.code_block
    monkeypatch.setattr(omp, "code_block", count)
    for name in ("gaussian", "coherent", "equal to 1e-5"):
        omp_arrays(gaussian(6, 1000, N_FEATURES), DICTIONARIES[name], K)
    assert sum(left) <= 30


def test_zero_and_exactly_sparse_signals_stop_early():
    atoms = DICTIONARIES["gaussian"]
    X = np.vstack([np.zeros(N_FEATURES), 2 * atoms[7], atoms[3] - 3 * atoms[9]])
    codes = orthogonal_mp(X, atoms, K).toarray()
    np.testing.assert_allclose(codes[:, [3, 7, 9]], [[0, 0, 0], [0, 2, 0], [1, 0, -3]], atol=1e-13)
    assert np.abs(codes).sum() == pytest.approx(6)


def test_bits_do_not_depend_on_n_jobs():
    X, atoms = gaussian(7, 3000, N_FEATURES), DICTIONARIES["equal to 1e-7"]
    one, two = (omp_arrays(X, atoms, 6, n_jobs=n) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
