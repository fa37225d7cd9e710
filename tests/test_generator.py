"""The generator: the law it draws from, shapes, seeds, classes, copies and bad input."""

from collections import Counter

import joblib
import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsegen_classic import (
    KSVD,
    GaussianCoefficients,
    MarkovSupports,
    SketchedCodes,
    SparseImageGenerator,
    nearest_images,
    open_images,
)
from sparsegen_classic._codes import states_from_codes
from sparsegen_classic.images import apply_tone
from sparsegen_classic.support import enumerate_supports


@parametrize_with_checks([SparseImageGenerator(), SparseImageGenerator(mean="none")])
def test_estimator_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return open_images("digits")


@pytest.fixture(scope="module")
def per_class(digits):
    return SparseImageGenerator(per_class=True, random_state=0).fit(digits.images, digits.labels)


def planted_images(n, seed):
    """Draw images of three fixed squares, two at a time, with correlated Gaussian brightness."""
    rng = np.random.default_rng(seed)
    atoms = np.zeros((3, 6, 6), np.float32)
    atoms[0, :2, :2], atoms[1, 2:4, 2:4], atoms[2, 4:, 4:] = 0.5, 0.5, 0.5  # unit norm
    pairs = np.array([[0, 1], [0, 2], [1, 2]])[rng.choice(3, n, p=[0.5, 0.3, 0.2])]
    brightness = rng.multivariate_normal([1.0, 0.8], [[0.01, 0.006], [0.006, 0.01]], n)
    return (brightness[:, :, None, None] * atoms[pairs]).sum(axis=1).astype(np.float32), atoms


def test_planted_supports_and_coefficients_are_drawn_with_their_law():
    images, atoms = planted_images(4000, 0)
    generator = SparseImageGenerator(
        KSVD(3, n_nonzero_coefs=2, init=atoms.reshape(3, -1), max_iter=2),
        MarkovSupports(smoothing=0.0),
        GaussianCoefficients(prior_strength=0.0),
        sketches="none",
        mean="none",
        tone="clip",
        n_groups=1,
        random_state=0,
    ).fit(images)
    draws = generator.draw(4000, 1)
    on = np.abs(draws.codes.toarray()) > 0
    shares = [(on[:, [i, j]].all(axis=1)).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=4 * np.sqrt(0.25 / 4000) * 2)
    rows, expected = (part.reshape(4000, -1).astype(float) for part in (draws.images, images))
    np.testing.assert_allclose(rows.mean(axis=0), expected.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(np.cov(rows.T), np.cov(expected.T), atol=0.012)
    assert draws.in_training.all()  # there are only three supports


def test_supports_follow_the_fitted_network_exactly(digits):
    ones = digits.images[digits.labels == 1]
    generator = SparseImageGenerator(
        KSVD(4, n_nonzero_coefs=2), MarkovSupports(burn_in=30), sketches="none", n_groups=1, random_state=0
    ).fit(ones)
    network = generator.supports_[0]
    supports, probabilities = enumerate_supports(network, 2)
    draws = generator.draw(3000, 0).codes
    drawn = network.log_weights(draws)
    keys = {tuple(row): p for row, p in zip(supports.tolist(), probabilities, strict=True)}
    assert np.isfinite(drawn).all()
    counts = Counter(map(tuple, states_from_codes(draws)[0].tolist()))
    for states, p in keys.items():
        assert abs(counts[states] / 3000 - p) < 4.5 * np.sqrt(p * (1 - p) / 3000) + 1e-3


def test_per_class_draws_have_the_shape_range_and_look_of_their_class(digits, per_class):
    labels = np.repeat(np.arange(10), 30)
    draws = per_class.draw(300, 1, class_=labels)
    assert draws.images.shape == (300, 8, 8)
    assert draws.images.dtype == np.float32
    assert draws.images.min() >= 0
    assert draws.images.max() <= 1
    np.testing.assert_array_equal(draws.labels, labels)
    nearest, distances = nearest_images(draws.images, digits.images)
    assert (digits.labels[nearest] == labels).mean() > 0.95
    assert distances.min() > 0.1  # no copies
    assert draws.in_training.mean() < 0.1


def test_random_combinations_are_worse_than_draws(digits):
    generator = SparseImageGenerator.paper(per_class=True, random_state=0)
    generator.fit(digits.images, digits.labels)
    labels = np.repeat(np.arange(10), 30)
    right = [
        (digits.labels[nearest_images(images, digits.images)[0]] == labels).mean()
        for images in (
            generator.sample(300, 0, class_=labels),
            generator.random_combinations(300, 0, class_=labels),
        )
    ]
    assert right[0] > right[1] + 0.15
    unclipped = generator.random_combinations(20, 0, class_=3, clip=False)
    assert unclipped.min() < 0
    np.testing.assert_array_equal(unclipped.clip(0, 1), generator.random_combinations(20, 0, class_=3))


def test_same_seed_same_bits_for_any_n_jobs_and_the_first_draws_do_not_depend_on_the_rest(digits):
    images, labels = digits.images[:400], digits.labels[:400] // 5
    runs = []
    for n_jobs in (1, 2):
        generator = SparseImageGenerator(KSVD(12), per_class=True, random_state=5, n_jobs=n_jobs)
        runs.append(generator.fit(images, labels).draw(40, 9))
    np.testing.assert_array_equal(runs[0].images, runs[1].images)
    np.testing.assert_array_equal(generator.draw(7, 9).images, runs[0].images[:7])
    np.testing.assert_array_equal(generator.draw(7, 9).labels, runs[0].labels[:7])
    assert not np.array_equal(generator.sample(7, 10), runs[0].images[:7])


def test_classes_are_drawn_as_often_as_in_training(digits):
    few = np.concatenate([np.flatnonzero(digits.labels == 0)[:150], np.flatnonzero(digits.labels == 1)[:50]])
    generator = SparseImageGenerator(KSVD(10), per_class=True, random_state=0)
    labels = generator.fit(digits.images[few], digits.labels[few]).draw(800, 0).labels
    assert abs((labels == 0).mean() - 0.75) < 4.5 * np.sqrt(0.75 * 0.25 / 800)


def test_rows_colour_and_other_ranges(digits):
    rows = 10 + 200 * digits.images[:150].reshape(150, -1)
    generator = SparseImageGenerator(random_state=0).fit(rows)
    sample = generator.sample(5, 0)
    assert sample.shape == (5, 64)
    assert generator.pixel_range_.tolist() == [10, 210]
    assert sample.min() >= 10
    colour = np.repeat(digits.images[:150, :, :, None], 3, axis=3)
    assert SparseImageGenerator(random_state=0).fit(colour).sample(2, 0).shape == (2, 8, 8, 3)


def test_unclipped_draws_are_the_codes_times_the_dictionary(per_class):
    draws = per_class.draw(30, 3, class_=7, clip=False)
    model = list(per_class.classes_).index(7)
    expected = draws.codes @ per_class.dictionaries_[model].components_ + per_class.means_[model]
    np.testing.assert_allclose(draws.images.reshape(30, -1), expected, atol=1e-6)
    assert draws.images.min() < 0
    sample = per_class.sample(30, 3, class_=7)
    mean, contrast = per_class.means_[model].reshape(8, 8), per_class.draw_contrasts_[model]
    spread = mean + contrast * (draws.images - mean)
    toned = apply_tone(spread, per_class.draw_curves_[model])
    np.testing.assert_allclose(sample, toned, atol=1e-4)
    np.testing.assert_array_equal(sample, per_class.decode(draws.codes, draws.labels, drawn=True))
    sums = per_class.decode(draws.codes, draws.labels, clip=False)
    rebuilt = apply_tone(sums, per_class.tone_curves_[model])
    np.testing.assert_array_equal(per_class.decode(draws.codes, draws.labels), rebuilt.astype(np.float32))


def test_in_training_says_which_supports_are_known(per_class):
    training = per_class.coefficients_[0].magnitudes_.tocsr()
    signed = training[:, : training.shape[1] // 2] - training[:, training.shape[1] // 2 :]
    assert per_class.supports_[0].in_training(signed).all()
    assert not per_class.supports_[0].in_training(signed[:, ::-1]).all()


def test_the_support_drawn_counts_not_the_signs_of_plain_gaussian_coefficients():
    images, atoms = planted_images(300, 1)
    generator = SparseImageGenerator(
        KSVD(3, n_nonzero_coefs=2, init=atoms.reshape(3, -1), max_iter=1),
        MarkovSupports(smoothing=0.0),
        GaussianCoefficients(prior_strength=1000.0, draw="gaussian"),
        sketches="none",
        mean="none",
        n_groups=1,
    ).fit(images - 0.2 * (images > 0))
    generator.coefficients_[0].state_means_[:] = 0.0  # half of all coefficients flip their sign
    generator.coefficients_[0].min_overlap = 3
    draws = generator.draw(100, 0)
    assert (draws.codes.data < 0).mean() > 0.3
    assert draws.in_training.all()


def test_sizes_given_by_the_caller_are_kept_and_missing_ones_are_chosen(digits):
    generator = SparseImageGenerator(KSVD(n_nonzero_coefs=3), random_state=0).fit(digits.images[:100])
    assert len(generator.dictionaries_[0].components_) == 25
    assert generator.dictionaries_[0].n_nonzero_coefs == 3
    assert generator.dictionary.n_components is None  # the parameter itself is left alone
    assert generator.summary()["n_images"] == [100]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sketches": "some"}, "sketches must be one of 'none', got 'some'"),
        ({"sketches": SketchedCodes(noise=0)}, "noise must be greater than 0"),
        ({"tone": "gamma"}, "tone must be one of 'auto', 'match', 'clip', got 'gamma'"),
        ({"n_groups": 91}, "n_groups must be at least 1 and at most 90, got 91; each needs an image"),
        ({"mean": "image"}, "mean must be one of 'pixel', 'none', got 'image'"),
        ({"per_class": True}, "per_class=True needs labels: give y, or set per_class=False"),
        ({"dictionary": KSVD(500)}, "n_components=500 atoms need at least as many .* got 90 of n_samples"),
        ({"dictionary": KSVD(5, n_nonzero_coefs=6)}, "n_nonzero_coefs must be at least 1 and at most 5"),
        ({"supports": MarkovSupports(smoothing=-1.0)}, "smoothing must be at least 0.0, got -1.0"),
        ({"coefficients": GaussianCoefficients(draw="abs")}, "draw must be one of 'truncated', 'gaussian'"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        SparseImageGenerator(random_state=0, **parameters).fit(digits.images[:90])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((20, 8, 8), 0.25), "all 20 images are equal; there is nothing to learn"),
        (np.where(np.arange(20 * 64).reshape(20, 8, 8) == 70, np.nan, 0.5), "Input X contains NaN"),
        (np.tile(np.linspace(0, 1, 64).reshape(8, 8), (20, 1, 1)), "all 20 images are equal"),
    ],
)
def test_images_without_content_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        SparseImageGenerator(random_state=0).fit(images)


def test_labels_and_classes_are_checked(digits, per_class):
    with pytest.raises(ValueError, match="y must hold one integer or string label for each of the 90"):
        SparseImageGenerator(per_class=True).fit(digits.images[:90], digits.labels[:80])
    with pytest.raises(ValueError, match=r"class_ must be one of the classes 0, 1, .*, 9, got 12"):
        per_class.sample(3, class_=12)
    with pytest.raises(ValueError, match="class_ must be one label or one for each of the 3 images"):
        per_class.sample(3, class_=[1, 2])
    single = SparseImageGenerator(random_state=0).fit(digits.images[:90])
    with pytest.raises(ValueError, match="class_=1 needs a model per class"):
        single.sample(1, class_=1)
    with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
        single.sample(0)


def two_families(n, seed):
    """Images of one of two pairs of squares: {0, 1} or {2, 3}, and rarely another pair of one family."""
    rng = np.random.default_rng(seed)
    atoms = np.zeros((4, 8, 8), np.float32)
    for m, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        atoms[m, row : row + 2, column : column + 2] = 0.5
    family = rng.integers(2, size=n)
    brightness = rng.uniform([0.8, 0.4], [1.2, 0.6], (n, 2)).astype(np.float32)
    pairs = np.array([[0, 1], [2, 3]])[family]
    return (brightness[:, :, None, None] * atoms[pairs]).sum(axis=1), atoms, family


def test_groups_are_families_and_their_draws_stay_in_them():
    images, atoms, family = two_families(400, 0)
    generator = SparseImageGenerator(
        KSVD(4, n_nonzero_coefs=2, init=atoms.reshape(4, -1), max_iter=1),
        MarkovSupports(pair_exponent=0.0, group_smoothing=1e-6),  # nothing but groups ties atoms together
        mean="none",
        n_groups=2,
        random_state=0,
    ).fit(images)
    groups = generator.supports_[0].groups_
    assert (groups == family).all() or (groups == 1 - family).all()
    draws = generator.draw(500, 1)
    on = draws.codes.toarray() != 0
    first = on[:, 0]
    np.testing.assert_array_equal(on, np.stack([first, first, ~first, ~first], axis=1))
    assert len(set(zip(first.tolist(), draws.groups.tolist(), strict=True))) == 2
    assert abs(first.mean() - (family == 0).mean()) < 4 * np.sqrt(0.25 / 500)
    one = SparseImageGenerator(
        KSVD(4, n_nonzero_coefs=2, init=atoms.reshape(4, -1), max_iter=1),
        MarkovSupports(pair_exponent=0.0),
        sketches="none",
        mean="none",
        n_groups=1,
    ).fit(images)
    mixed = one.draw(500, 1).codes.toarray() != 0
    assert 0.5 < (mixed[:, :2].sum(axis=1) == 1).mean() < 0.8  # 2/3 of all pairs cross the families


def test_supports_may_find_the_groups_themselves():
    images, atoms, family = two_families(300, 0)
    generator = SparseImageGenerator(
        KSVD(4, n_nonzero_coefs=2, init=atoms.reshape(4, -1), max_iter=1),
        MarkovSupports(n_groups=2, pair_exponent=0.0, group_smoothing=0.01),
        mean="none",
        random_state=3,
    ).fit(images)
    groups = generator.supports_[0].groups_
    assert (groups == family).all() or (groups == 1 - family).all()
    np.testing.assert_array_equal(generator.coefficients_[0].groups_, groups)


def test_one_group_asked_for_is_one_group_whatever_supports_would_find(digits):
    generator = SparseImageGenerator(KSVD(12), MarkovSupports(n_groups=3), n_groups=1, random_state=0)
    assert generator.fit(digits.images[:100]).summary()["n_groups"] == [1]


def test_atoms_drawn_by_way_of_a_sketch_add_up_to_an_image(digits):
    """What lies outside the range of pixels is energy that no image has."""
    outside = {}
    for sketches in (None, "none"):
        generator = SparseImageGenerator(KSVD(50, max_iter=3), sketches=sketches, random_state=0)
        images = generator.fit(digits.images).sample(500, 1, clip=False)
        outside[sketches] = np.square(images - images.clip(0, 1)).sum(axis=(1, 2)).mean()
    assert outside[None] < 0.7 * outside["none"]


def test_a_group_for_thirty_images_by_default(digits):
    images = digits.images[:600]
    for k in (5, 20):
        generator = SparseImageGenerator(KSVD(40, n_nonzero_coefs=k, max_iter=1), random_state=0).fit(images)
        assert generator.summary()["n_groups"] == [20]


def test_variations_resemble_their_images_and_do_not_depend_on_the_others(digits, per_class):
    images, labels = digits.images[:60], digits.labels[:60]
    near, far = per_class.vary(images, labels, 0), per_class.sample(60, 0, class_=labels)
    assert near.shape == images.shape
    assert near.min() >= 0
    assert near.max() <= 1
    assert ((near - images) ** 2).mean() < 0.5 * ((far - images) ** 2).mean()
    fewer = per_class.vary(images[:20], labels[:20], 0)  # whose codes may round otherwise
    np.testing.assert_allclose(fewer, near[:20], atol=1e-4)
    several = per_class.vary(images[:20], labels[:20], 0, n_variations=3)
    assert several.shape == (60, *images.shape[1:])
    repeated = per_class.vary(images[:20].repeat(3, axis=0), labels[:20].repeat(3), 0)
    np.testing.assert_allclose(several, repeated, atol=1e-4)
    with pytest.raises(ValueError, match="n_variations must be at least 1, got 0"):
        per_class.vary(images, labels, n_variations=0)
    bare = SparseImageGenerator(KSVD(5, max_iter=1), sketches="none").fit(images)
    with pytest.raises(ValueError, match="vary needs sketches"):
        bare.vary(images)


def test_encode_is_the_code_of_the_class(digits, per_class):
    codes = per_class.encode(digits.images[:50], digits.labels[:50])
    three = np.flatnonzero(digits.labels[:50] == 3)
    rows = digits.images[three].reshape(len(three), -1) - per_class.means_[3]
    np.testing.assert_array_equal(
        codes[three].toarray(), per_class.dictionaries_[3].transform(rows).toarray()
    )
    with pytest.raises(ValueError, match="y must be one of the classes 0, 1, .* got None"):
        per_class.encode(digits.images[:5])
    with pytest.raises(ValueError, match="y must be one of the classes"):
        per_class.reconstruct(digits.images[:2], [3, 10])


def test_the_model_of_the_paper(digits):
    generator = SparseImageGenerator.paper(KSVD(20), random_state=0).fit(digits.images[:300])
    network = generator.supports_[0]
    assert network.smoothing == 0
    assert network.pair_exponent == 1
    assert len(network.group_shares_) == 1
    assert generator.tone_curves_ is None
    assert generator.sketches_ is None
    assert not generator.means_.any()
    draws = generator.draw(30, 0)
    sums = draws.codes @ generator.dictionaries_[0].components_
    np.testing.assert_allclose(draws.images.reshape(30, -1), sums.clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("class_", [None, 3, np.arange(300) % 4], ids=["any", "one", "each"])
def test_workers_draw_the_same(digits, class_):
    X, y = digits.images, digits.labels
    generator = SparseImageGenerator(random_state=0, per_class=True).fit(X, y)
    here = generator.draw(300, 5, class_=class_)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        there = generator.draw(300, 5, class_=class_)
    for name in ("images", "labels", "in_training", "groups"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    assert (here.codes != there.codes).nnz == 0


def test_no_images_are_refused_by_name(digits, per_class):
    for method in (per_class.encode, per_class.reconstruct, per_class.vary):
        with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\) .* minimum of 1 is required"):
            method(digits.images[:0], digits.labels[:0])
