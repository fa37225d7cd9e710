"""Learning in steps: stopped after any of them and resumed by a fresh estimator, or read from files."""

import io
import itertools
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sparsegen_classic import KSVD, Trainlets
from sparsegen_classic._rows import Rows
from tests.dictionary.test_ksvd import planted


def through_bytes(state):
    """Return the state as another process would find it in a file."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    rest = json.dumps({name: value for name, value in state.items() if name not in arrays})
    file = io.BytesIO()
    np.savez(file, **arrays)
    with np.load(io.BytesIO(file.getvalue())) as found:
        return dict(found) | json.loads(rest)


def fitted(model):
    """Return what a fit has set."""
    return {name: value for name, value in vars(model).items() if name not in model.get_params()}


def assert_same(value, other):
    if isinstance(value, dict):
        assert value.keys() == other.keys()
        value, other = list(value.values()), [other[name] for name in value]
    if isinstance(value, list):
        for part, other_part in zip(value, other, strict=True):
            assert_same(part, other_part)
    elif isinstance(value, np.ndarray):
        assert value.dtype == other.dtype
        np.testing.assert_array_equal(value, other)
    else:
        assert value == other


def assert_resumable(make, X, n_steps, **weights):
    """Stop after each step, go on elsewhere, and compare with the run in one piece."""
    whole = make(0).fit(X, **weights)
    states = [through_bytes(state) for state in make(0).learn_steps(X, **weights)]
    assert len(states) == n_steps
    for done, state in enumerate(states, start=1):
        resumed = make(None)  # all that is random is in the state
        assert sum(1 for _ in resumed.learn_steps(X, state, **weights)) == n_steps - done
        assert_same(fitted(whole), fitted(resumed))
    return whole


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data[:600] / 16
    return X - X.mean(axis=0)


@pytest.mark.parametrize(
    ("step", "drop_atoms", "momentum", "dtype"),
    [
        *itertools.product(("scaled", "exact", "paper"), (0, 0.5), (0, 0.7), (np.float64,)),
        ("scaled", 0.5, 0.7, np.float32),
        ("paper", 0, 0.7, np.float32),
    ],
)
def test_trainlets_resume_after_any_step(digits, step, drop_atoms, momentum, dtype):
    def make(seed):
        return Trainlets(
            30,
            n_nonzero_coefs=4,
            batch_size=200,
            max_iter=3,
            step=step,
            drop_atoms=drop_atoms,
            momentum=momentum,
            min_uses=40,
            random_state=seed,
        )

    assert assert_resumable(make, digits.astype(dtype), 9).n_replaced_ > 0


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize(
    ("parameters", "weights", "dtype"),
    [
        ({}, (), np.float32),
        ({"dc_atom": True}, ("mask", "sample_weight"), np.float64),
        ({"dc_atom": True}, ("entry_weight",), np.float32),
        ({"positive": True, "positive_atoms": True}, (), np.float64),
        ({"tol": 0.3, "update": "exact"}, ("sample_weight",), np.float64),
    ],
)
def test_ksvd_resumes_after_any_step(online, parameters, weights, dtype):
    X = planted(0, n_samples=500)[0].astype(dtype)
    rng = np.random.default_rng(0)
    given = {
        "mask": rng.random(X.shape) < 0.8,
        "sample_weight": rng.integers(0, 3, len(X)),
        "entry_weight": rng.uniform(0.1, 2, X.shape),
    }

    def make(seed):
        options = {"n_nonzero_coefs": 3, "max_iter": 4, "coherence_threshold": 0.6, "batch_size": 100}
        return KSVD(30, online=online, random_state=seed, **options | parameters)

    n_samples = np.count_nonzero(given["sample_weight"]) if "sample_weight" in weights else 500
    n_steps = 4 * -(-n_samples // 100) if online else 4
    model = assert_resumable(make, X, n_steps, **{name: given[name] for name in weights})
    assert model.n_replaced_ > 0
    assert model.errors_.shape == (4,)


def test_a_resumed_ksvd_goes_on_with_a_stream():
    X = planted(0, n_samples=500)[0]
    for online in (False, True):
        model = KSVD(30, n_nonzero_coefs=3, max_iter=2, online=online, random_state=0)
        *_, last = (through_bytes(state) for state in model.learn_steps(X))
        resumed = KSVD(30, n_nonzero_coefs=3, max_iter=2, online=online)
        assert list(resumed.learn_steps(X, last)) == []
        assert_same(fitted(model.partial_fit(X[:100])), fitted(resumed.partial_fit(X[:100])))


def test_states_are_references_and_do_not_change_what_resumes_from_them(digits):
    model = Trainlets(30, n_nonzero_coefs=4, batch_size=200, max_iter=1, random_state=0)
    steps = model.learn_steps(digits)
    state = next(steps)
    assert state["components_"] is model.components_
    before = state["components_"].copy()
    other = Trainlets(30, n_nonzero_coefs=4, batch_size=200, max_iter=1)
    next(other.learn_steps(digits, state))
    np.testing.assert_array_equal(state["components_"], before)


@pytest.mark.parametrize(
    ("model", "state", "message"),
    [
        (Trainlets(20), {}, "state must be None or a dict that learn_steps of the same class yielded"),
        (KSVD(20), 3, "state must be None or a dict that learn_steps"),
        (KSVD(20), {"run": 3}, "state must be None or a dict that learn_steps"),
        (Trainlets(20, batch_size=50), None, "state is of a run with batch_size 200, but now it is 50"),
        (KSVD(20, batch_size=200), None, "state is of a run with class Trainlets, but now it is KSVD"),
    ],
)
def test_a_state_of_something_else_is_refused(digits, model, state, message):
    if state is None:
        state = next(Trainlets(20, batch_size=200).learn_steps(digits))
    with pytest.raises(ValueError, match=message):
        next(model.learn_steps(digits, state))


def test_a_state_of_other_data_is_refused(digits):
    for model in (Trainlets(20), KSVD(20), KSVD(20, online=True)):
        state = next(model.learn_steps(digits))
        with pytest.raises(
            ValueError, match=r"of a run with shape of X \[600, 64\], but now it is \[599, 64\]"
        ):
            next(model.learn_steps(digits[1:], state))


class Counted:
    """A memory map that knows the largest piece that was asked for."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, which):
        piece = self.array[which]
        self.most = max(self.most, len(piece))
        return piece


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "model",
    [
        Trainlets(
            40, n_nonzero_coefs=3, batch_size=100, max_iter=2, drop_atoms=0.5, random_state=0, n_jobs=2
        ),
        KSVD(40, n_nonzero_coefs=3, batch_size=100, max_iter=2, online=True, random_state=0, n_jobs=2),
        KSVD(40, n_nonzero_coefs=3, dc_atom=True, max_iter=2, online=True, random_state=0),
        KSVD(40, n_nonzero_coefs=3, max_iter=2, random_state=0),
    ],
)
def test_rows_are_read_in_blocks_and_give_the_same_bits(tmp_path, model, dtype):
    rng = np.random.default_rng(0)
    images = np.memmap(tmp_path / "images.raw", dtype, "w+", shape=(1900, 6, 6))
    images[:] = rng.standard_normal((1900, 6, 6))
    images[::7] = 0
    members, mean = np.flatnonzero(rng.random(1900) < 0.9), rng.standard_normal(36).astype(dtype)
    source = Counted(images)
    rows = Rows(source, members, mean)
    expected = fitted(model.fit(np.array(rows[:])))
    source.most = 0
    model.fit(rows)
    assert_same(expected, fitted(model))
    assert model.n_features_in_ == 36
    assert source.most == (len(members) if model.get_params().get("online") is False else 512)


def test_samples_of_weight_zero_are_not_read(tmp_path):
    X = planted(0, n_samples=700)[0]
    weight = np.random.default_rng(0).integers(0, 3, 700)
    options = {"n_nonzero_coefs": 3, "max_iter": 2, "online": True, "batch_size": 100, "random_state": 0}
    from_rows = KSVD(30, **options).fit(Rows(X), sample_weight=weight)
    assert_same(fitted(KSVD(30, **options).fit(X, sample_weight=weight)), fitted(from_rows))
    without = KSVD(30, **options).fit(X[weight > 0], sample_weight=weight[weight > 0])
    assert_same(fitted(without), fitted(from_rows))


@pytest.mark.parametrize("learner", [Trainlets, KSVD])
def test_rows_that_cannot_be_learned_from_are_named(learner):
    X = planted(0, n_samples=100)[0]
    X[17, 3] = np.nan
    model = learner(20, **({"online": True} if learner is KSVD else {"image_shape": (4, 5)}))
    with pytest.raises(ValueError, match="row 17 of X holds NaN, infinity or .* \\(1 such rows\\)"):
        model.fit(Rows(X))


def test_masks_need_an_array():
    with pytest.raises(TypeError, match="mask and entry_weight need X in memory: give X.:. instead of Rows"):
        KSVD(20, online=True).fit(Rows(planted(0)[0]), mask=np.ones(20, bool))
