"""What ``fit`` may be told of a model, and what it refuses."""

import json

import numpy as np

from sparsegen_classic import MarkovSupports, load_model, open_images, save_images
from tests.cli.test_commands import run


def test_the_model_of_the_paper_is_one_flag_away_and_contradictions_are_refused(tmp_path):
    code, _, _ = run("fit", "digits", "-o", tmp_path / "a.npz", "--paper", "--seed", 0, "--n-components", 30)
    assert code == 0
    model = load_model(tmp_path / "a.npz")
    assert (model.mean, model.tone, model.n_groups, model.supports.smoothing) == ("none", "clip", 1, 0.0)
    assert model.dictionary.n_components == 30
    assert model.sketches == "none"
    for option in (
        ("--smoothing", 0.5), ("--n-groups", 2), ("--tone", "match"), ("--select",), ("--noise", 0.5),
        ("--bandwidth", 2), ("--sketches",), ("--burn-in", 7), ("--min-overlap", 2), ("--group-smoothing", 2),
    ):  # fmt: skip
        code, _, err = run("fit", "digits", "-o", tmp_path / "b.npz", "--paper", *option)
        assert code == 2
        assert f"--paper decides about {option[0]}; leave one of them out" in err
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_every_parameter_of_the_parts_can_be_given(tmp_path):
    arguments = ("fit", "digits", "--seed", 0, "--n-components", 30, "--max-iter", 2, "-o")
    given = ("--sketch-components", 9, "--shrinkage", 2, "--burn-in", 3, "--group-smoothing", 4)
    given += ("--group-pair-smoothing", 0.5)
    assert run(*arguments, tmp_path / "a.npz", *given)[0] == 0
    model = load_model(tmp_path / "a.npz")
    sketches = model.sketches_[0]
    assert (sketches.n_components, sketches.shrinkage, sketches.burn_in) == (9, 2, 3)
    supports = model.supports_[0]
    assert (supports.group_smoothing, supports.group_pair_smoothing) == (4, 0.5)
    assert supports.burn_in == MarkovSupports().burn_in
    given = (
        *("--no-sketches", "--n-groups", 1, "--support-method", "pseudo-likelihood", "--rank", 2, "--l2", 9),
        *("--coefficient-method", "pooled", "--coefficient-scale", "log", "--burn-in", 3),
        *("--min-overlap", 2, "--overlap-power", 0.5, "--group-weight", 0.25),
    )
    assert run(*arguments, tmp_path / "b.npz", *given)[0] == 0
    model = load_model(tmp_path / "b.npz")
    supports, coefficients = model.supports_[0], model.coefficients_[0]
    assert (supports.method, supports.rank, supports.l2, supports.burn_in) == ("pseudo-likelihood", 2, 9, 3)
    assert (coefficients.method, coefficients.scale, coefficients.min_overlap) == ("pooled", "log", 2)
    assert (coefficients.overlap_power, coefficients.group_weight) == (0.5, 0.25)


def test_sketches_may_be_changed_or_left_out(tmp_path):
    arguments = ("fit", "digits", "--seed", 0, "--n-components", 30, "-o")
    assert run(*arguments, tmp_path / "a.npz", "--noise", 0.3, "--bandwidth", 2)[0] == 0
    model = load_model(tmp_path / "a.npz")
    assert (model.sketches_[0].noise, model.sketches_[0].bandwidth) == (0.3, 2)
    assert run(*arguments, tmp_path / "b.npz", "--no-sketches")[0] == 0
    assert load_model(tmp_path / "b.npz").sketches_ is None
    code, _, err = run(*arguments, tmp_path / "c.npz", "--noise", 0)
    assert code == 1
    assert "noise must be greater than 0.0, got 0.0" in err
    code, _, err = run(*arguments, tmp_path / "c.npz", "--no-sketches", "--noise", 0.3)
    assert code == 2
    assert "--no-sketches decides about --noise; leave one of them out" in err
    code, _, err = run(*arguments, tmp_path / "c.npz", "--rank", 3)
    assert code == 2
    assert "--support-method counts, the default, decides about --rank; leave one of them out" in err
    for option in (("--min-overlap", 7), ("--draw", "clip"), ("--coefficient-method", "pooled")):
        code, _, err = run(*arguments, tmp_path / "c.npz", *option)
        assert code == 2
        assert f"decides about {option[0]}; add --no-sketches, or leave it out" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_select_reports_its_table_and_fits_with_the_winner(tmp_path):
    rng = np.random.default_rng(0)
    images = open_images("digits").images[rng.permutation(1797)[:350]]
    save_images(images, tmp_path / "some.npz")
    arguments = ("fit", tmp_path / "some.npz", "--n-components", 20, "--seed", 1, "--select")
    code, out, err = run(*arguments, "-o", tmp_path / "a.npz", "--json")
    assert code == 0
    assert "pair_exponent=0.2, pair_reference=groups" in err
    assert "group_smoothing=4.0" in err
    assert "group_pair_smoothing=1.0" in err
    assert ", smoothing=0.05" in err
    assert "bandwidth=3.0, noise=0.25" in err
    assert "chosen: " in err
    selected = json.loads(out)["selected"]
    model = load_model(tmp_path / "a.npz")
    assert model.n_groups == selected["n_groups"]
    assert model.supports.pair_exponent == selected["supports__pair_exponent"]
    for option in ("--n-groups", "--smoothing", "--bandwidth"):
        code, _, err = run(*arguments, "-o", tmp_path / "b.npz", option, 3)
        assert code == 2
        assert f"--select decides about {option}" in err
