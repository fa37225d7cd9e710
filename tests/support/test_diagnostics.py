"""R-hat and effective sample size against closed forms and a loop by definition."""

import numpy as np
import pytest
from scipy.signal import lfilter

from sparsegen_classic.support import effective_sample_size, split_rhat


def autoregression(phi, n_chains=8, n_draws=20_000, seed=0):
    """Stationary AR(1) chains of variance 1 / (1 - phi^2)."""
    noise = np.random.default_rng(seed).normal(size=(n_chains, n_draws))
    noise[:, 0] /= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise, axis=1)


def naive_ess(draws):
    """Split chains, autocovariances by sums, pairs of lags while positive, made monotone."""
    half = draws.shape[1] // 2
    chains = [chain[part] for chain in draws for part in (slice(half), slice(-half, None))]
    n = half
    within = np.mean([np.var(chain, ddof=1) for chain in chains])
    whole = within * (n - 1) / n + np.var([np.mean(chain) for chain in chains], ddof=1)
    rho = [1.0]
    for lag in range(1, n):
        covariances = []
        for chain in chains:
            mean = np.mean(chain)
            covariances.append(sum((chain[: n - lag] - mean) * (chain[lag:] - mean)) / (n - 1))
        rho.append(1 - (within - np.mean(covariances)) / whole)
    total, least = 0.0, np.inf
    for lag in range(0, n - 1, 2):
        pair = rho[lag] + rho[lag + 1]
        if pair <= 0:
            break
        least = min(least, pair)
        total += least
    return len(chains) * n / (2 * total - 1)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, -0.4])
def test_autoregressive_chains_have_the_size_of_theory(phi):
    draws = autoregression(phi)
    theory = draws.size * (1 - phi) / (1 + phi)
    for kind in ("mean", "bulk"):
        assert effective_sample_size(draws, kind) == pytest.approx(theory, rel=0.1)
    assert split_rhat(draws) < 1.005


@pytest.mark.parametrize("phi", [0.3, 0.8])
def test_size_is_that_of_the_definition(phi):
    draws = autoregression(phi, 3, 301, seed=1)
    assert effective_sample_size(draws, "mean") == pytest.approx(naive_ess(draws))


def test_ranks_make_heavy_tails_harmless_and_monotone_maps_irrelevant():
    draws = np.random.default_rng(0).standard_cauchy((4, 5_000))
    assert effective_sample_size(draws) == pytest.approx(20_000, rel=0.1)
    assert split_rhat(draws) < 1.005
    normal = autoregression(0.7, 4, 2_000)
    assert effective_sample_size(np.exp(normal)) == pytest.approx(effective_sample_size(normal))


def test_rhat_sees_shifts_trends_and_scales():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4, 1_000))
    assert 0.999 < split_rhat(draws) < 1.01
    assert split_rhat(draws + np.array([[0.0], [0.0], [0.0], [2.0]])) > 1.1
    assert split_rhat(draws + np.linspace(0, 3, 1_000)) > 1.1  # only split chains show it
    assert split_rhat(draws * [[1.0], [1.0], [1.0], [6.0]]) > 1.1  # only folded draws show it


def test_rhat_without_ranks_is_that_of_the_definition():
    """Normal scores of normal draws are nearly the draws: R-hat nearly the textbook ratio."""
    draws = np.random.default_rng(1).normal([[0], [0.2], [0], [0.1]], size=(4, 2_000))
    pieces = np.concatenate([draws[:, :1_000], draws[:, 1_000:]])
    within = pieces.var(axis=1, ddof=1).mean()
    between = 1_000 * pieces.mean(axis=1).var(ddof=1)
    assert split_rhat(draws) == pytest.approx(
        np.sqrt((999 / 1_000 * within + between / 1_000) / within), abs=1e-3
    )


def test_tails():
    draws = autoregression(0.9, 4, 5_000)
    sizes = [
        effective_sample_size((draws <= np.quantile(draws, q)).astype(float), "mean") for q in (0.05, 0.95)
    ]
    assert effective_sample_size(draws, "tail") == pytest.approx(min(sizes))


def test_chains_that_stand_still():
    assert np.isnan(split_rhat(np.ones((3, 10))))
    assert np.isnan(effective_sample_size(np.ones((3, 10))))
    apart = np.repeat([[0.0], [1.0], [2.0]], 10, axis=1)
    assert split_rhat(apart) == np.inf
    assert effective_sample_size(apart) < 6


def test_two_values_only():
    draws = (np.random.default_rng(0).random((4, 2_000)) < 0.3).astype(float)
    assert 0.99 < split_rhat(draws) < 1.01
    assert effective_sample_size(draws) == pytest.approx(8_000, rel=0.15)


def test_draws_of_one_chain_with_an_odd_length():
    draws = autoregression(0.5, 1, 4_001)
    assert effective_sample_size(draws) == pytest.approx(4_001 / 3, rel=0.2)


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (np.zeros(10), r"shape \(n_chains, n_draws\) .* got \(10,\)"),
        (np.zeros((2, 3)), "at least 4 draws a chain"),
        ([[0.0, 1.0, np.nan, 2.0]], "draws must be finite"),
        ([[0.0, 1.0, -np.inf, 2.0]], "draws must be finite"),
    ],
)
def test_bad_draws(draws, message):
    for function in (split_rhat, effective_sample_size):
        with pytest.raises(ValueError, match=message):
            function(draws)


def test_bad_kind():
    with pytest.raises(ValueError, match="kind must be one of 'bulk', 'mean', 'tail'"):
        effective_sample_size(np.zeros((2, 10)), "head")
