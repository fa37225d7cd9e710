"""The Gibbs sampler against exact laws, a naive chain and its own promises."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats
from sklearn.exceptions import NotFittedError

from sparsegen_classic._kernels.gibbs import run_chain
from sparsegen_classic._random import spawn_generators
from sparsegen_classic.support import GibbsSampler, MarkovSupports, enumerate_supports
from sparsegen_classic.support._pairwise import factors
from tests import naive_support
from tests.naive_support import codes_of

SCANS = ["random", "systematic"]


@pytest.fixture(scope="module")
def toy():
    supports = ["012", "012", "013", "023", "124", "012", "234", "034", "014", "123"]
    return MarkovSupports(smoothing=0).fit(codes_of(supports, 5))


@pytest.fixture(scope="module")
def signed():
    """Signed codes over 4 atoms with 0 to 4 non-zeros."""
    rng = np.random.default_rng(0)
    return MarkovSupports().fit(rng.normal(size=(80, 4)) * (rng.random((80, 4)) < 0.6))


def random_tables(seed, n_states, excluded=0.2):
    """Log factors with some pairs excluded."""
    rng = np.random.default_rng(seed)
    theta, table = rng.normal(size=n_states), rng.normal(size=(n_states, n_states))
    mask = np.triu(rng.random((n_states, n_states)) < excluded)
    mask = mask | mask.T | np.eye(n_states, dtype=bool)
    return theta, np.where(mask, -np.inf, (table + table.T) / 2)


def run(theta, table, support, uniforms, random_scan):
    """The kernel on one chain, in place."""
    later, earlier = np.empty((len(support), len(theta))), np.empty(len(theta))
    run_chain(*factors(theta, table), support, uniforms, random_scan, later, earlier)


def possible_support(table, size):
    support = []
    for m in range(len(table)):
        if len(support) < size and all(np.isfinite(table[m, other]) for other in support):
            support.append(m)
    assert len(support) == size
    return support


def assert_follows(supports, possible, law):
    """Frequencies of ``supports`` agree with the law: each within 4.5 standard errors, and by chi-square."""
    n = len(supports)
    index = {tuple(support): i for i, support in enumerate(possible.tolist())}
    observed = np.bincount([index[tuple(support)] for support in supports.tolist()], minlength=len(law))
    assert not observed[law == 0].any()
    error = np.sqrt(law * (1 - law) / n)
    assert (np.abs(observed / n - law) <= 4.5 * error + 1 / n).all()
    rare = law * n < 5
    counts = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(law[~rare], law[rare].sum()) * n
    if np.count_nonzero(expected) > 1:
        assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3
    return np.abs(observed / n - law).sum() / 2


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize(("n_states", "size"), [(1, 1), (7, 3), (32, 4), (33, 2), (100, 6)])
def test_kernel_equals_the_naive_chain(scan, n_states, size):
    theta, table = random_tables(n_states, n_states)
    uniforms = np.random.default_rng(1).random(40 * size)
    start = possible_support(table, size)
    support = np.array(start, np.int32)
    run(theta, table, support, uniforms, scan == "random")
    assert support.tolist() == naive_support.naive_gibbs(theta, table, start, uniforms, scan == "random")


def test_long_chains_stay_possible_and_do_not_drift():
    theta, table = random_tables(0, 50)
    support = np.array(possible_support(table, 5), np.int32)
    run(theta, table, support, np.random.default_rng(2).random(5 * 20_000), True)
    assert np.isfinite(table[support][:, support][~np.eye(5, dtype=bool)]).all()
    uniforms = np.random.default_rng(3).random(50)
    start = support.tolist()
    run(theta, table, support, uniforms, True)
    assert support.tolist() == naive_support.naive_gibbs(theta, table, start, uniforms, True)


@pytest.mark.parametrize("scan", SCANS)
def test_products_that_underflow_are_drawn_by_logarithms(scan):
    rng = np.random.default_rng(0)
    theta, table = random_tables(4, 40, excluded=0.05)
    table *= 100  # the factors of a support of 12 atoms span e^1000 and more
    support = np.array(possible_support(table, 12), np.int32)
    uniforms, start = rng.random(12 * 30), support.tolist()
    run(theta, table, support, uniforms, scan == "random")
    fields = theta + table[start[1:]].sum(axis=0)
    assert np.exp(fields - theta.max() - table[start[1:]].max(axis=1).sum()).sum() == 0
    assert support.tolist() == naive_support.naive_gibbs(theta, table, start, uniforms, scan == "random")


def test_a_uniform_at_either_end_draws_a_possible_state():
    theta, table = random_tables(3, 40)
    for u in (0.0, 1 - 2.0**-53):
        support = np.array(possible_support(table, 2), np.int32)
        run(theta, table, support, np.full(10, u), False)
        assert np.isfinite(table[support[0], support[1]])


@pytest.mark.parametrize("scan", SCANS)
def test_sampler_is_the_naive_chain_from_a_training_support(signed, scan):
    generators = [np.random.default_rng(seed) for seed in range(20)]
    supports = GibbsSampler(burn_in=70, scan=scan).sample(signed, random_state=generators)
    for seed, support in enumerate(supports):
        generator = np.random.default_rng(seed)
        start = signed.supports_[generator.integers(len(signed.supports_))]
        start = start[start >= 0].tolist()
        uniforms = generator.random(70 * len(start))
        chain = naive_support.naive_gibbs(
            signed.log_factors_, signed.log_pair_factors_, start, uniforms, scan == "random"
        )
        assert support[support >= 0].tolist() == sorted(signed.states_[chain])


@pytest.mark.parametrize("scan", SCANS)
def test_toy_frequencies_are_the_exact_law(toy, scan):
    supports = GibbsSampler(scan=scan).sample(toy, 20_000, random_state=0)
    assert assert_follows(supports, *enumerate_supports(toy, 3)) < 0.02


@pytest.mark.parametrize("scan", SCANS)
def test_signed_supports_of_every_size_follow_the_exact_law(signed, scan):
    supports = GibbsSampler(scan=scan, burn_in=30).sample(signed, 20_000, random_state=1)
    sizes = (supports >= 0).sum(axis=1)
    share = signed.size_counts_ / signed.size_counts_.sum()
    assert stats.chisquare(np.bincount(sizes, minlength=5), share * len(sizes)).pvalue > 1e-3
    for size in range(5):
        possible, law = enumerate_supports(signed, size)
        assert_follows(supports[sizes == size, :size], possible, law)
    atoms = np.sort(np.where(supports < 0, -1 - np.arange(4), supports % 4), axis=1)
    assert (np.diff(atoms, axis=1) > 0).all()  # no atom twice, with one sign or both


def test_disjoint_pairs_freeze_without_smoothing():
    X = codes_of(["01", "23"], 4)
    frozen = GibbsSampler(burn_in=200).sample(MarkovSupports(smoothing=0).fit(X), 100, random_state=0)
    assert_array_equal(np.unique(frozen, axis=0), [[0, 1], [2, 3]])
    start = GibbsSampler(burn_in=200).sample(MarkovSupports(smoothing=0).fit(X), initial=[[3, 2]] * 50)
    assert_array_equal(start, [[2, 3]] * 50)
    model = MarkovSupports(smoothing=0.5).fit(X)
    free = GibbsSampler(burn_in=200).sample(model, 500, random_state=0)
    assert len(np.unique(free, axis=0)) == 6
    assert_follows(free, *enumerate_supports(model, 2))


def test_burn_in_zero_returns_training_supports_with_their_sizes(signed):
    supports = GibbsSampler(burn_in=0).sample(signed, 300, random_state=0)
    training = {tuple(row) for row in np.where(signed.supports_ < 0, -1, signed.states_[signed.supports_])}
    assert {tuple(row) for row in supports} == training


def test_n_jobs_does_not_matter_and_prefixes_agree(signed):
    one = GibbsSampler(n_jobs=1).sample(signed, 300, random_state=5)
    assert_array_equal(GibbsSampler(n_jobs=2).sample(signed, 300, random_state=5), one)
    assert_array_equal(GibbsSampler().sample(signed, 7, random_state=5), one[:7])
    generators = spawn_generators(5, 300)[40:50]
    assert_array_equal(GibbsSampler().sample(signed, random_state=generators), one[40:50])
    assert (GibbsSampler().sample(signed, 300, random_state=6) != one).any()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_sizes_asked_for_follow_the_exact_law(signed, size):
    supports = GibbsSampler().sample(signed, 5_000, random_state=0, size=size)
    assert supports.shape == (5_000, size)
    assert_follows(supports, *enumerate_supports(signed, size))


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_sizes_not_in_the_data_are_trimmed_or_grown(size):
    model = MarkovSupports().fit(codes_of(["012", "134", "023", "124"], 5))
    starts = GibbsSampler(burn_in=0).sample(model, 200, random_state=0, size=size)
    assert len(np.unique(starts, axis=0)) > 1 or size == 5
    supports = GibbsSampler().sample(model, 5_000, random_state=0, size=size)
    assert_follows(supports, *enumerate_supports(model, size))


def test_a_size_out_of_reach_says_so():
    model = MarkovSupports(smoothing=0).fit(codes_of(["01", "23"], 4))
    with pytest.raises(ValueError, match=r"size=3 cannot be reached.* smoothing > 0"):
        GibbsSampler().sample(model, size=3)
    with pytest.raises(ValueError, match="size must be at least 0 and at most 4, got 5; a support holds"):
        GibbsSampler().sample(model, size=5)


def test_a_chain_can_be_continued(signed):
    sampler = GibbsSampler(burn_in=3)
    starts = sampler.sample(signed, 40, random_state=0)
    assert_array_equal(sampler.sample(signed, initial=starts, sweeps=0), starts)
    onward = sampler.sample(signed, initial=starts, random_state=1, sweeps=5)
    assert onward.shape == starts.shape
    assert_array_equal((onward >= 0).sum(axis=1), (starts >= 0).sum(axis=1))
    assert (onward != starts).any()


def test_model_sample_gives_codes(signed):
    codes = signed.sample(50, random_state=3)
    assert codes.shape == (50, 4)
    assert set(np.unique(codes.toarray())) == {-1, 0, 1}
    states = GibbsSampler().sample(signed, 50, random_state=3)
    assert_array_equal((codes != 0).sum(axis=1), (states >= 0).sum(axis=1))
    assert signed.sample(5, random_state=0, size=2).nnz == 10
    assert not signed.sample(5, random_state=0, size=0).nnz
    assert signed.sample(random_state=0).shape == (1, 4)


def test_progress_bar(signed, capsys):
    GibbsSampler(verbose=1).sample(signed, 10, random_state=0)
    assert "10/10" in capsys.readouterr().err
    GibbsSampler().sample(signed, 10, random_state=0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("parameters", "arguments", "error", "message"),
    [
        ({"burn_in": -1}, {}, ValueError, "burn_in must be at least 0, got -1"),
        ({"scan": "raster"}, {}, ValueError, "scan must be one of 'random', 'systematic', got 'raster'"),
        ({}, {"n_samples": 0}, ValueError, "n_samples must be at least 1, got 0"),
        ({}, {"sweeps": 1.0}, TypeError, "sweeps must be an integer, got 1.0"),
        ({}, {"size": 2, "initial": [[0, 1]]}, ValueError, "initial already fixes the sizes"),
        ({}, {"initial": [0, 1]}, ValueError, r"initial must be a 2-D array .* shape \(2,\)"),
        ({}, {"initial": [[0.5, 1.0]]}, ValueError, "initial must be a 2-D array of integer"),
        ({}, {"initial": [[0, 1], [2, 6]]}, ValueError, r"initial row 1, \[2, 6\], has probability 0"),
        ({}, {"initial": [[0, 0]]}, ValueError, r"initial row 0, \[0, 0\], has probability 0"),
        ({}, {"initial": [[0, 99]]}, ValueError, r"\[0, 99\], has probability 0"),
        ({}, {"initial": [[0, 1]], "n_samples": 2}, ValueError, "one row for each of the 2 samples, got 1"),
        ({}, {"random_state": [1, 2]}, TypeError, "must hold numpy Generators"),
        ({}, {"random_state": spawn_generators(0, 2), "n_samples": 3}, ValueError, "3 samples, got 2"),
        ({}, {"random_state": "seed"}, ValueError, "cannot be used to seed"),
    ],
)
def test_bad_arguments(signed, parameters, arguments, error, message):
    with pytest.raises(error, match=message):
        GibbsSampler(**parameters).sample(signed, **arguments)


def test_no_fit():
    with pytest.raises(NotFittedError):
        GibbsSampler().sample(MarkovSupports())
