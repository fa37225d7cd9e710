"""Pseudo-likelihood by definition, at its extremes, and its gradient by differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsegen_classic.support import MarkovSupports, enumerate_supports, pseudo_likelihood
from sparsegen_classic.support.likelihood import gradient_sums
from tests import naive_support
from tests.naive_support import boltzmann_machine, planted


def naive(theta, table, support):
    """Mean over the atoms of log P(atom | rest), from the conditional by definition."""
    values = []
    for atom in support:
        rest = [other for other in support if other != atom]
        with np.errstate(divide="ignore"):
            values.append(np.log(naive_support.naive_conditional(theta, table, rest)[atom]))
    return np.mean(values)


@pytest.fixture(scope="module")
def signed():
    rng = np.random.default_rng(0)
    return MarkovSupports().fit(rng.normal(size=(80, 6)) * (rng.random((80, 6)) < 0.5))


def test_values_are_those_of_the_definition(signed):
    theta, table, rows = signed.log_factors_, signed.log_pair_factors_, signed.supports_
    expected = [naive(theta, table, row[row >= 0]) if row[0] >= 0 else 0 for row in rows]
    assert_allclose(pseudo_likelihood(rows, theta, table), expected)
    assert {(row >= 0).sum() for row in rows} >= {0, 1, 2, 3, 4, 5}
    assert_array_equal(pseudo_likelihood(rows, theta, table, n_jobs=2), pseudo_likelihood(rows, theta, table))


def test_it_is_the_conditional_of_the_exact_law():
    model = planted(0, 7)
    supports, law = enumerate_supports(model, 3)
    law = dict(zip(map(tuple, supports.tolist()), law, strict=True))
    for support, value in zip(
        supports, pseudo_likelihood(supports, model.log_factors_, model.log_pair_factors_), strict=True
    ):
        logs = []
        for atom in support:
            rest = set(support.tolist()) - {atom}
            others = [law[tuple(sorted(rest | {m}))] for m in set(range(7)) - rest]
            logs.append(np.log(law[tuple(support.tolist())] / sum(others)))
        assert value == pytest.approx(np.mean(logs))


def test_impossible_unseen_and_empty_supports():
    theta, table = np.log([0.5, 0.3, 0.2]), np.zeros((3, 3))
    np.fill_diagonal(table, -np.inf)
    table[0, 1] = table[1, 0] = -np.inf
    rows = np.array([[0, 1], [0, 3], [-1, -1], [0, 2], [2, -1], [3, -1]])
    values = pseudo_likelihood(rows, theta, table)
    assert_array_equal(np.isneginf(values), [True, True, False, False, False, True])
    assert_allclose(values[2:5], [0, np.log(0.5 / 0.8) / 2, np.log(0.2)])  # 2 is all that fits beside 0


def test_factors_that_underflow():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(30, 30)) * 40
    table = table + table.T
    np.fill_diagonal(table, -np.inf)
    theta, rows = rng.normal(size=30), np.sort(rng.permuted(np.tile(np.arange(30), (20, 1)), axis=1)[:, :12])
    expected = []
    for row in rows:
        fields = theta + np.array([table[np.delete(row, j)].sum(axis=0) for j in range(12)])
        peak = fields.max(axis=1)
        sums = peak + np.log(np.exp(fields - peak[:, None]).sum(axis=1))
        expected.append(np.mean(fields[range(12), row] - sums))
    assert np.min(expected) < -300
    assert_allclose(pseudo_likelihood(rows, theta, table), expected)


def test_gradient_is_that_of_differences(signed):
    theta, table = signed.log_factors_.copy(), signed.log_pair_factors_.copy()
    rows = signed.supports_
    value, by_theta, by_table = gradient_sums(rows, theta, table, None)

    def total(theta, table):
        return (pseudo_likelihood(rows, theta, table) * (rows >= 0).sum(axis=1)).sum()

    assert value == pytest.approx(total(theta, table))
    assert_allclose(by_table, by_table.T)
    step = 1e-5
    for m in (0, 5):
        up, down = theta.copy(), theta.copy()
        up[m] += step
        down[m] -= step
        assert by_theta[m] == pytest.approx((total(up, table) - total(down, table)) / (2 * step), rel=1e-6)
    for m, other in ((0, 1), (3, 8), (2, 11)):
        up, down = table.copy(), table.copy()
        up[m, other] = up[other, m] = table[m, other] + step
        down[m, other] = down[other, m] = table[m, other] - step
        difference = (total(theta, up) - total(theta, down)) / (2 * step)
        assert by_table[m, other] == pytest.approx(difference, rel=1e-6)


def test_gradient_has_the_same_bits_for_any_n_jobs():
    model = planted(2, 20)
    rows = np.sort(np.random.default_rng(0).permuted(np.tile(np.arange(20), (500, 1)), axis=1)[:, :4])
    one, two = (
        gradient_sums(rows.astype(np.int32), model.log_factors_, model.log_pair_factors_, n_jobs)
        for n_jobs in (1, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("model", [boltzmann_machine(), planted(3, 8)], ids=["C9.2", "planted"])
def test_the_gradient_vanishes_at_the_truth(model):
    """Weighted by the exact law, pseudo-likelihood is stationary at the true factors (check C9.3)."""
    supports, law = enumerate_supports(model, 2)
    by_theta, by_table = np.zeros(len(model.states_)), np.zeros_like(model.log_pair_factors_)
    for support, probability in zip(supports, law, strict=True):
        _, theta, table = gradient_sums(support[None], model.log_factors_, model.log_pair_factors_, None)
        by_theta, by_table = by_theta + probability * theta, by_table + probability * table
    assert np.abs(by_theta).max() < 1e-15
    assert np.abs(by_table).max() < 1e-15


def test_published_law_of_two_atoms():
    law = enumerate_supports(boltzmann_machine(), 2)[1]
    assert_allclose(law, [0.141986, 0.077924, 0.077924, 0.426550, 0.063798, 0.211818], atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1], r"supports must be a 2-D array .* shape \(2,\)"),
        ([[0.0, 1.0]], "supports must be a 2-D array of integer"),
        ([[0, 4]], r"indices from 0 to 3 \(= not in the model\) or -1, got 0 to 4"),
        ([[-2, 0]], "got -2 to 0"),
        ([[-1, 0]], "padded with -1 at the end"),
    ],
)
def test_bad_rows(rows, message):
    with pytest.raises(ValueError, match=message):
        pseudo_likelihood(rows, np.zeros(3), np.zeros((3, 3)))


def test_groups_at_once_are_the_groups_one_by_one():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(9)[:3] for _ in range(200)])
    rows[rng.random(200) < 0.1, 1] = 8  # not in the model
    table = rng.normal(size=(8, 8))
    table = np.where(np.eye(8, dtype=bool), -np.inf, table + table.T)
    thetas, groups = rng.normal(size=(5, 8)), rng.integers(5, size=200)
    together = pseudo_likelihood(rows, thetas, table, groups=groups)
    for group in range(5):
        own = groups == group
        np.testing.assert_array_equal(together[own], pseudo_likelihood(rows[own], thetas[group], table))
    assert np.isneginf(together[(rows == 8).any(axis=1)]).all()
    with pytest.raises(ValueError, match="groups must hold one of 0..4 for each of the 200 supports"):
        pseudo_likelihood(rows, thetas, table, groups=groups + 1)
