"""Fits against planted laws, exact likelihood and their own promises."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sparsegen_classic.support import (
    MarkovSupports,
    PairwiseSupports,
    enumerate_supports,
    fit_contrastive_divergence,
    fit_pseudo_likelihood,
    pseudo_likelihood,
)
from tests.naive_support import codes_of, divergence, draw_rows, planted

TOY = ["012", "012", "013", "023", "124", "012", "234", "034", "014", "123"]


def counted(rows, n_components=12, **options):
    """Equation (2) from supports: a model and its factors."""
    model = MarkovSupports(**options).fit(codes_of(rows, n_components))
    return model, (model.log_factors_, model.log_pair_factors_)


@pytest.fixture(scope="module")
def truth():
    """A planted model of 12 states and its law over supports of 4."""
    return enumerate_supports(planted(0, 12), 4)


@pytest.fixture(scope="module")
def many(truth):
    return counted(draw_rows(*truth, 10_000, seed=1))


@pytest.fixture(scope="module")
def few(truth):
    return counted(draw_rows(*truth, 200, seed=2))


def test_the_toy_lies_between_counts_and_maximum_likelihood():
    """Check C9.4: KL(data || model) is .1368 for equation (2) and 0 at maximum likelihood."""
    model, start = counted(TOY, 5, smoothing=0)
    supports, _ = enumerate_supports(model, 3)
    data = np.array([TOY.count("".join(map(str, support))) for support in supports]) / len(TOY)
    assert divergence(data, start, 3) == pytest.approx(0.136752, abs=1e-6)
    by_l2 = [
        divergence(data, fit_pseudo_likelihood(model.supports_, *start, l2=l2, max_iter=300)[:2], 3)
        for l2 in (0.0, 0.1, 1.0, 10.0)
    ]
    assert 0 <= by_l2[0] < 1e-5  # ten free pairs describe ten supports: nothing is lost
    assert (np.diff([*by_l2, 0.136752]) > 0).all()
    chains = fit_contrastive_divergence(
        model.supports_, *start, l2=0.0, max_iter=300, learning_rate=0.5, random_state=0
    )
    assert 0 < divergence(data, chains[:2], 3) < 0.05


def test_many_supports_give_the_planted_law_back(truth, many):
    model, start = many
    law = truth[1]
    fitted = fit_pseudo_likelihood(model.supports_, *start)[:2]
    chains = fit_contrastive_divergence(
        model.supports_, *start, max_iter=100, learning_rate=0.5, random_state=0
    )[:2]
    expected = 66 / (2 * 10_000)  # of maximum likelihood: half a parameter each, over the sample size
    assert divergence(law, start, 4) > 0.08
    assert divergence(law, fitted, 4) < 1.6 * expected
    assert divergence(law, chains, 4) < 6 * expected


@pytest.mark.parametrize("fit", [fit_pseudo_likelihood, fit_contrastive_divergence])
def test_networks_of_two_groups_share_what_is_fitted(fit):
    """Their atoms differ in a known way; the pairs, and what else the atoms are, come back from both."""
    base, tilt = planted(0, 12), np.random.default_rng(3).normal(0, 1.5, 12)
    laws, rows = [], []
    for seed, sign in enumerate((1, -1)):
        network = PairwiseSupports(base.log_factors_ + sign * tilt, base.log_pair_factors_)
        laws.append(enumerate_supports(network, 4))
        rows.append(draw_rows(*laws[-1], 5000, seed=seed))
    mixed = np.random.default_rng(0).permutation(10_000)
    rows, groups = np.concatenate(rows)[mixed], np.repeat([0, 1], 5000)[mixed]
    start = np.full(12, -np.log(12)), np.where(np.isfinite(base.log_pair_factors_), 0.0, -np.inf)
    offsets = np.stack([tilt, -tilt])
    options = {} if fit is fit_pseudo_likelihood else {"learning_rate": 0.5, "random_state": 0}
    one = fit(rows, *start, l2=0.1, **options)[:2]
    options |= {"groups": groups, "log_group_factors": start[0] + offsets}
    theta, table, _ = fit(rows, *start, l2=0.1, **options)
    expected = 66 / (2 * 10_000)
    for (_, law), offset in zip(laws, offsets, strict=True):
        found = divergence(law, (theta + offset, table), 4)
        assert found < (2 if fit is fit_pseudo_likelihood else 8) * expected
        assert found < divergence(law, one, 4) / 10


def test_groups_are_checked(few):
    model, start = few
    groups = np.zeros(len(model.supports_), int)
    for options, message in (
        ({"groups": groups}, r"log_group_factors must be of shape \(n_groups, 12\), got \(\)"),
        ({"log_group_factors": start[0][None]}, r"groups must hold one of 0..0 for each of the 200"),
        ({"groups": groups + 1, "log_group_factors": start[0][None]}, "groups must hold one of 0..0"),
        (
            {
                "groups": groups,
                "log_group_factors": np.stack([start[0]] * 2),
                "validation": model.supports_,
            },
            "validation_groups must be given where groups are, got None",
        ),
        (
            {"validation": model.supports_, "validation_groups": groups + 1},
            "validation_groups must hold one of 0..0 for each of the 200",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            fit_pseudo_likelihood(model.supports_, *start, **options)


def test_penalty_and_structure_help_where_data_are_few(truth, few):
    model, start = few
    law = truth[1]
    free, held, drawn = (
        divergence(law, fit_pseudo_likelihood(model.supports_, *start, **options)[:2], 4)
        for options in ({"l2": 0.01}, {"l2": 10.0}, {"l2": 10.0, "towards": "zero"})
    )
    assert max(drawn, held) < min(free, divergence(law, start, 4))


def test_the_objective_never_falls_and_starts_at_the_counts(few):
    model, start = few
    for options in ({}, {"l2": 0.0}, {"towards": "zero"}, {"rank": 3}):
        _, _, history = fit_pseudo_likelihood(model.supports_, *start, max_iter=30, **options)
        assert (np.diff(history["objective"]) >= 0).all()
        assert history["train"][-1] > history["train"][0]
        at_start = pseudo_likelihood(model.supports_, *start).mean()
        tolerance = 0.2 if "rank" in options else 1e-12  # the low-rank part starts at a small step, not at 0
        assert history["train"][0] == pytest.approx(at_start, abs=tolerance)
    theta, table, history = fit_pseudo_likelihood(model.supports_, *start)
    assert history["train"][-1] == pytest.approx(pseudo_likelihood(model.supports_, theta, table).mean())


def test_maximum_is_stationary(few):
    model, start = few
    first = fit_pseudo_likelihood(model.supports_, *start, l2=5.0, max_iter=500)[2]["objective"][-1]
    theta, table = planted(9, 12).log_factors_, planted(9, 12).log_pair_factors_
    elsewhere = [start[0] + theta, start[1] + table]
    problem = fit_pseudo_likelihood(model.supports_, *elsewhere, l2=0.0, max_iter=500)
    free = fit_pseudo_likelihood(model.supports_, *start, l2=0.0, max_iter=500)
    assert first < free[2]["objective"][-1]
    assert problem[2]["train"][-1] == pytest.approx(free[2]["train"][-1], abs=1e-4)  # concave: one maximum


def test_early_stopping_returns_the_best_step(truth, few):
    model, start = few
    held_out = draw_rows(*truth, 500, seed=3)
    theta, table, history = fit_pseudo_likelihood(
        model.supports_, *start, l2=0.0, validation=held_out, patience=3
    )
    best = int(np.argmax(history["validation"]))
    assert len(history["validation"]) == best + 4
    assert pseudo_likelihood(held_out, theta, table).mean() == pytest.approx(history["validation"][best])
    assert history["validation"][best] > history["validation"][0]
    assert divergence(truth[1], (theta, table), 4) < divergence(truth[1], start, 4)


def test_early_stopping_holds_every_support_against_its_group(few):
    """Of two groups that love other atoms; a row that is in no network is left out."""
    model, start = few
    n, tilt = len(model.supports_), np.random.default_rng(3).normal(0, 1.5, 12)
    thetas = start[0] + np.stack([tilt, -tilt])
    held_out = draw_rows(*enumerate_supports(PairwiseSupports(thetas[0], start[1]), 4), 300, seed=3)
    impossible = np.array([[0, 12, 1, 2]])
    theta, table, history = fit_pseudo_likelihood(
        model.supports_, *start, l2=0.0, groups=np.arange(n) % 2, log_group_factors=thetas,
        validation=np.concatenate([impossible, held_out]), validation_groups=np.zeros(301, int),
    )  # fmt: skip
    at_start = pseudo_likelihood(held_out, thetas[0], start[1]).mean()
    assert history["validation"][0] == pytest.approx(at_start)
    at_best = pseudo_likelihood(held_out, theta + tilt, table).mean()
    assert at_best == pytest.approx(history["validation"].max())
    other = pseudo_likelihood(held_out, thetas[1], start[1]).mean()
    assert abs(other - at_start) > 0.5


def test_low_rank_change_has_that_rank(many):
    model, start = many
    values = []
    for rank in (1, 3, 12):
        history = fit_pseudo_likelihood(model.supports_[:2_000], *start, rank=rank, l2=0.0)[2]
        values.append(history["train"][-1])
    full = fit_pseudo_likelihood(model.supports_[:2_000], *start, l2=0.0)[2]["train"][-1]
    assert (np.diff(values) > 0).all()
    assert values[-1] == pytest.approx(full, abs=1e-3)
    table = fit_pseudo_likelihood(model.supports_[:2_000], *start, rank=2, l2=0.0, max_iter=20)[1]
    # some diagonal makes the change a matrix of rank 2, so that every 3 x 3 minor off it vanishes
    for rows, columns in (((0, 1, 2), (3, 4, 5)), ((6, 7, 8), (9, 10, 11)), ((0, 5, 9), (1, 6, 11))):
        change = table[np.ix_(rows, columns)] - start[1][np.ix_(rows, columns)]
        assert abs(np.linalg.det(change)) < 1e-9 * np.abs(change).max() ** 3


def test_impossible_pairs_stay_impossible():
    model, start = counted(["012", "013", "123", "024"], 5, smoothing=0)
    for fit in (fit_pseudo_likelihood, fit_contrastive_divergence):
        theta, table, _ = fit(model.supports_, *start, max_iter=20)
        assert_array_equal(np.isneginf(table), np.isneginf(start[1]))
        assert_allclose(table, table.T)
        assert np.isfinite(theta).all()


def test_sizes_may_differ():
    rng = np.random.default_rng(0)
    model = MarkovSupports().fit(rng.normal(size=(300, 6)) * (rng.random((300, 6)) < 0.4))
    start = model.log_factors_, model.log_pair_factors_
    history = fit_pseudo_likelihood(model.supports_, *start)[2]
    assert history["train"][-1] > history["train"][0]
    mismatch = fit_contrastive_divergence(model.supports_, *start, random_state=0)[2]["mismatch"]
    assert mismatch[-20:].mean() < mismatch[:5].mean()


def test_results_do_not_depend_on_n_jobs(few):
    model, start = few
    for fit, options in (
        (fit_pseudo_likelihood, {"max_iter": 10}),
        (fit_contrastive_divergence, {"max_iter": 10, "random_state": 3}),
    ):
        one, two = (fit(model.supports_, *start, n_jobs=n_jobs, **options) for n_jobs in (1, 2))
        assert_array_equal(one[0], two[0])
        assert_array_equal(one[1], two[1])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"l2": -1}, ValueError, "l2 must be at least 0.0, got -1"),
        ({"towards": "one"}, ValueError, "towards must be one of 'start', 'zero'"),
        ({"rank": 0}, ValueError, "rank must be at least 1 and at most 12, got 0"),
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"patience": 0}, ValueError, "patience must be at least 1"),
        ({"validation": [[0, 12, 1, 2]]}, ValueError, "validation must hold a support that the start makes"),
        ({"validation": [0, 1]}, ValueError, "validation must be a 2-D array"),
    ],
)
def test_bad_options(few, options, error, message):
    model, start = few
    with pytest.raises(error, match=message):
        fit_pseudo_likelihood(model.supports_, *start, **options)


@pytest.mark.parametrize("fit", [fit_pseudo_likelihood, fit_contrastive_divergence])
def test_bad_supports(few, fit):
    with pytest.raises(ValueError, match=r"possible under the start, got \[0, 0, 1, 2\] in row 1"):
        fit([[0, 1, 2, 3], [0, 0, 1, 2]], *few[1])
    with pytest.raises(ValueError, match="supports must hold at least one atom"):
        fit([[-1]], *few[1])
