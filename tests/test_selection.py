"""Settings chosen by samples: the rule, the split, reproducibility and bad input."""

import numpy as np
import pytest

from sparsegen_classic import KSVD, MarkovSupports, SparseImageGenerator, open_images, select_settings


@pytest.fixture(scope="module")
def digits():
    return open_images("digits")


@pytest.fixture(scope="module")
def selection(digits):
    generator = SparseImageGenerator(KSVD(60), MarkovSupports(), n_jobs=2)
    grid = {"n_groups": [1, 12], "supports__pair_exponent": [0.4, 5.0]}
    return select_settings(generator, digits.images, grid=grid, n_samples=300)


def test_the_least_frechet_distance_among_honest_candidates_wins(selection):
    figures = {name: selection.evaluation[name] for name in selection.candidates}
    assert len(figures) == 4
    honest = {name: row["frechet"] for name, row in figures.items() if row["copy"] >= 0.4}
    assert selection.candidates[min(honest, key=honest.get)] == selection.best_params
    assert selection.best_params["supports__pair_exponent"] == 0.4  # 5 sits on a few modes


def test_a_strict_copy_test_takes_the_candidate_furthest_from_copying(digits):
    generator = SparseImageGenerator(KSVD(20), MarkovSupports())
    selection = select_settings(
        generator, digits.images[:500], grid={"n_groups": [1, 8]}, n_samples=100, least_copy_test=1.0
    )
    copies = {name: selection.evaluation[name]["copy"] for name in selection.candidates}
    assert selection.candidates[max(copies, key=copies.get)] == selection.best_params


def test_memorised_pairs_show_in_the_pseudo_likelihood(selection):
    assert all(train > aside for train, aside in selection.pseudo_likelihoods.values())
    assert "chosen: n_groups=" in str(selection)


def test_images_set_aside_are_not_trained_on_and_classes_are_kept(digits):
    data = digits.images[:600], digits.labels[:600], {"n_groups": [1, 2]}
    generator = SparseImageGenerator(KSVD(15), per_class=True)
    selection = select_settings(generator, *data, n_samples=50, random_state=3)
    training = {image.tobytes() for image in selection.evaluation.training}
    aside = {image.tobytes() for image in selection.evaluation.held_out}
    assert not training & aside
    assert len(aside) == 90
    assert str(select_settings(generator, *data, n_samples=50, random_state=3)) == str(selection)


def test_a_class_may_be_too_rare_for_the_images_set_aside(digits):
    rows = np.concatenate([np.flatnonzero(digits.labels == 0)[:170], np.flatnonzero(digits.labels == 1)[:5]])
    generator, share = SparseImageGenerator(KSVD(3, max_iter=1), per_class=True), 0.07
    data = digits.images[rows], digits.labels[rows], {"n_groups": [1, 2]}
    selection = select_settings(generator, *data, n_samples=20, validation_share=share)
    assert len(selection.evaluation.held_out) == 13
    assert np.isfinite([train for train, _ in selection.pseudo_likelihoods.values()]).all()


def test_the_default_grid_goes_by_the_number_of_images(digits):
    selection = select_settings(SparseImageGenerator(KSVD(15)), digits.images[:282], n_samples=50)
    assert sorted(selection.candidates) == [
        "n_groups=1", "n_groups=16", "n_groups=2", "n_groups=8",
        "n_groups=8, sketches=SketchedCodes(bandwidth=3.0, noise=0.25)",
        "n_groups=8, sketches=SketchedCodes(noise=0.6)",
        "n_groups=8, sketches=none", "n_groups=8, tone=clip",
    ]  # fmt: skip


def test_what_is_left_out_already_is_not_left_out_again(digits):
    bare = SparseImageGenerator(KSVD(5), sketches="none", tone="clip")
    selection = select_settings(bare, digits.images[:69], n_samples=20)
    assert list(selection.candidates) == ["n_groups=1", "n_groups=2", "n_groups=4"]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (40, ["1 all 0.4", "2 all 0.4", "2 all 0.8"]),  # 30 % of them are set aside
        (
            88,
            ["1 all 0.4", "2 all 0.4", "2 all 0.8", "2 groups 0.2", "2 groups 0.4", "4 all 0.4", "4 all 0.8"],
        ),
    ],
)
def test_the_default_grid_of_networks(digits, n, expected):
    rng = np.random.default_rng(0)
    few = digits.images[rng.permutation(len(digits.images))[:n]]
    generator = SparseImageGenerator(KSVD(15), MarkovSupports(burn_in=1), random_state=0)
    selection = select_settings(generator, few, n_samples=12, validation_share=0.3)
    names = ("n_groups", "supports__pair_reference", "supports__pair_exponent")
    usual = [params for params in selection.candidates.values() if set(names) == set(params)]
    assert sorted(" ".join(str(params[name]) for name in names) for params in usual) == expected
    added = [set(params) - set(names) for params in selection.candidates.values() if params not in usual]
    of_groups = ["group_smoothing", "group_pair_smoothing"] if n > 40 else []  # there are groups
    networks = [{f"supports__{name}"} for name in (*of_groups, "smoothing", "smoothing")]
    assert added == [*networks, {"tone"}, {"sketches"}, {"sketches"}, {"sketches"}]
    generator.set_params(**selection.best_params).fit(few)
    assert generator.supports_[0].get_params()["pair_reference"] == selection.best_params[names[1]]


def test_several_grids(digits):
    grids = [{"n_groups": [1]}, {"n_groups": [3], "tone": ["match", "clip"]}]
    selection = select_settings(SparseImageGenerator(KSVD(15)), digits.images[:200], grid=grids, n_samples=20)
    assert list(selection.candidates) == ["n_groups=1", "n_groups=3, tone=match", "n_groups=3, tone=clip"]


def test_bad_input(digits):
    generator, images = SparseImageGenerator(KSVD(10)), digits.images[:100]
    with pytest.raises(ValueError, match="validation_share must be at least 0.01 and at most 0.9"):
        select_settings(generator, images, validation_share=1.5)
    with pytest.raises(ValueError, match="n_samples must be at least 10, got 3"):
        select_settings(generator, images, n_samples=3)
    with pytest.raises(ValueError, match="least_copy_test must be at least 0 and at most 1, got 5"):
        select_settings(generator, images, least_copy_test=5)
    with pytest.raises(ValueError, match="Invalid parameter 'groups' for estimator SparseImageGenerator"):
        select_settings(generator, images, grid={"groups": [1]})
    with pytest.raises(ValueError, match="per_class=True needs labels"):
        select_settings(SparseImageGenerator(per_class=True), images)


def test_nothing_given_is_changed(digits):
    generator = SparseImageGenerator(KSVD(10), n_groups=4)
    select_settings(generator, digits.images[:200], grid={"n_groups": [2]}, n_samples=50)
    assert generator.n_groups == 4
    assert not hasattr(generator, "means_")
