"""The table: its rows against the metrics themselves, its controls, and what it refuses."""

import json

import numpy as np
import pytest

from sparsegen_classic import open_images
from sparsegen_classic.metrics import (
    DigitNetwork,
    Judge,
    evaluate,
    frechet_distance,
    mmd,
    nearest_images,
    precision_recall,
)
from tests.metrics.recording import Recording

ALWAYS = ["real images", "held-out images", "copies", "independent pixels"]


@pytest.fixture(scope="module")
def digits():
    images = open_images("digits").images
    order = np.random.default_rng(0).permutation(len(images))
    return images[order]


@pytest.fixture(scope="module")
def parts(digits):
    """Training images, held-out images, and fresh images that pose as samples."""
    return digits[:1000], digits[1000:1400], digits[1400:1700]


@pytest.fixture(scope="module")
def result(parts):
    training, held_out, fresh = parts
    blurred = (fresh + np.roll(fresh, 1, axis=0)) / 2
    return evaluate({"fresh": fresh, "blurred": blurred}, training, held_out, controls={"noise": fresh[::-1]})


def test_rows_come_in_order_and_at_one_count(result):
    assert list(result.sets) == ["fresh", "blurred", *ALWAYS[:2], "noise", *ALWAYS[2:]]
    assert [part.kind for part in result.sets.values()] == ["samples"] * 2 + ["real"] * 2 + ["control"] * 3
    assert {result[name]["n"] for name in result.sets if name != "held-out images"} == {300}
    assert result["held-out images"]["n"] == 400


def test_figures_are_those_of_the_metrics(result, parts):
    training, held_out, fresh = parts
    flat = training.reshape(len(training), -1).astype(float)
    axes = np.linalg.eigh(np.cov(flat.T))[1][:, ::-1][:, :50]
    rows, reference, seen = (p.reshape(len(p), -1) @ axes for p in (fresh, held_out, training))
    own = result["fresh"]
    assert own["frechet"] == pytest.approx(frechet_distance(rows, reference), rel=1e-3)
    # the cubic kernel is not invariant to the origin, which the components have at the mean
    centre = flat.mean(axis=0) @ axes
    assert own["kid"] == pytest.approx(mmd(rows - centre, reference - centre).value, rel=1e-2, abs=1e-4)
    near = precision_recall(rows, reference)
    for name in ("precision", "recall", "density", "coverage"):
        assert own[name] == pytest.approx(getattr(near, name), abs=0.01)
    distances, unseen = (nearest_images(part, seen)[1] for part in (rows, reference))
    p = (distances[:, None] > unseen).mean()
    assert own["copy"] == pytest.approx(p, abs=0.005)
    assert own["distance"] == pytest.approx(np.median(distances), rel=1e-3)
    assert result.settings["features"] == "50 principal components of the training images"


def test_a_judge_says_of_a_set_what_the_table_does(result, parts):
    training, held_out, fresh = parts
    judge = Judge(training, held_out)
    assert judge.settings.items() <= result.settings.items()
    for name, kind in (("fresh", "samples"), ("noise", "control")):
        own, expected = judge.measure(fresh[:: 1 if name == "fresh" else -1], kind=kind), result.sets[name]
        assert (own.kind, own.figures) == (kind, expected.figures)
        np.testing.assert_array_equal(own.copies.distances, expected.copies.distances)
    assert judge.measure_held_out().figures == result["held-out images"]
    last = judge.measure_training(np.arange(900, 1000))
    assert last.kind == "real"
    assert last.figures == judge.measure_training(np.arange(-100, 0)).figures
    assert (last.copies.nearest != np.arange(900, 1000)).all()
    for call, message in (
        (lambda: judge.measure(fresh[:, :4]), "images are 4x8 but training images are 8x8"),
        (lambda: judge.measure(fresh[:5]), "images must be at least 6 images"),
        (lambda: judge.measure(fresh, np.zeros(300)), "labels need the digit network"),
        (lambda: judge.measure(fresh, kind="real"), "kind must be one of 'samples', 'control'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_real_images_and_fresh_ones_pass_and_the_controls_do_not(result):
    for name in ("fresh", "real images", "held-out images"):
        part = result[name]
        assert abs(part["copy"] - 0.5) < 4 * part["copy_error"]
        assert part["near_copies"] < 0.04
    assert result["copies"]["copy"] == 0
    assert (result.sets["copies"].copies.distances == 0).all()
    assert result["copies"]["near_copies"] == 1
    assert result["copies"]["coverage"] > 0.5
    frechet = {name: result[name].get("frechet") for name in result.sets}
    assert frechet["fresh"] < 3 * frechet["real images"]
    assert frechet["real images"] < frechet["blurred"] < frechet["independent pixels"]
    assert "frechet" not in result["held-out images"]


def test_a_training_image_is_no_neighbour_of_itself(parts):
    training, held_out, _ = parts
    result = evaluate(training, training, held_out)
    seen = result.sets["real images"].copies
    assert len(seen.distances) == 1000
    projected = training.reshape(1000, -1) - training.reshape(1000, -1).mean(axis=0)
    projected = projected @ np.linalg.svd(projected, full_matrices=False)[2][:50].T
    distance = np.sqrt(((projected[:, None] - projected[None]) ** 2).sum(axis=2))
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_allclose(seen.distances, distance.min(axis=1), rtol=1e-3)
    assert (seen.nearest == distance.argmin(axis=1)).mean() > 0.99
    assert result["samples"]["copy"] == 0


def test_independent_pixels_keep_the_marginals_and_lose_the_rest(parts):
    colour = np.stack([parts[0], 1 - parts[0], parts[0] ** 2], axis=-1)
    result = evaluate(colour[:50], colour, colour[:400, ::-1])
    noise = result.images["independent pixels"]
    assert noise.shape == (50, 8, 8, 3)
    np.testing.assert_allclose(noise[..., 1], 1 - noise[..., 0], atol=1e-6)  # a pixel keeps its colour
    flat = result.images["independent pixels"].reshape(50, -1)
    for column in (10, 100):
        assert np.isin(flat[:, column], colour.reshape(1000, -1)[:, column]).all()


def test_the_same_figures_for_any_jobs_and_seed(parts):
    training, held_out, fresh = parts
    results = [evaluate(fresh[:100], training, held_out, n_jobs=jobs).to_dict() for jobs in (1, 3)]
    assert results[0] == results[1]
    other = evaluate(fresh[:100], training, held_out, random_state=1).to_dict()
    assert other["sets"]["samples"]["frechet"] == results[0]["sets"]["samples"]["frechet"]
    assert other["sets"]["copies"] != results[0]["sets"]["copies"]


def test_text_and_json_hold_the_table(result):
    text = str(result)
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["n", "Frechet", "KID"]
    for name in result.sets:
        assert sum(line.startswith(name) for line in lines) == 1
    assert "conf." not in text
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["sets"]["fresh"]["frechet"] == result["fresh"]["frechet"]
    assert document["sets"]["copies"]["kind"] == "control"
    assert repr(result) == "Evaluation(fresh, blurred; 50 principal components of the training images)"


def test_the_verdict_names_copies_and_blur(result, parts):
    training, held_out, _ = parts
    assert "about as far from the training images as unseen images" in result.verdict("fresh")[-1]
    assert "With 300 images all figures are rough" in result.verdict("fresh")[0]
    copies = evaluate({"thief": training[:100]}, training, held_out)
    assert "copies, or averages" in copies.verdict("thief")[-1]
    assert "100.0% are near copies" in copies.verdict("thief")[-1]
    noise = np.random.default_rng(0).random((100, 8, 8), np.float32)
    far = evaluate({"noise": noise}, training, held_out)
    assert "further from the training images" in far.verdict("noise")[-1]
    assert "less varied" in far.verdict("noise")[1]


def test_digits_of_28_pixels_are_seen_by_the_network():
    rng = np.random.default_rng(0)
    small = open_images("digits", size=28, fit="resize").images
    training, held_out, samples = small[:600], small[600:900], small[900:1000]
    labels = DigitNetwork().probabilities(samples).argmax(axis=1)
    result = evaluate({"a": samples}, training, held_out, labels={"a": labels})
    assert result.settings["features"].startswith("digit network")
    own = result["a"]
    assert own["accuracy"] == 1
    assert 0.3 < own["confidence"] <= 1
    header, rows = result.class_table()
    assert header == [
        "class",
        "share, a",
        "confidence, a",
        "share, held-out images",
        "confidence, held-out images",
    ]
    assert sum(row[1] for row in rows) == pytest.approx(1)
    by_components = evaluate(samples, training, held_out, features="pca")
    assert "confidence" not in by_components["samples"]
    assert by_components.class_table() == (["class"], [])
    chosen = rng.normal(size=(784, 5))
    by_function = evaluate(
        samples, training, held_out, features=lambda images: images.reshape(-1, 784) @ chosen
    )
    expected = frechet_distance(samples.reshape(-1, 784) @ chosen, held_out.reshape(-1, 784) @ chosen)
    assert by_function["samples"]["frechet"] == pytest.approx(expected, rel=1e-6)
    assert by_function.settings["features"] == "the function <lambda>"


def test_held_out_images_among_the_training_images_are_warned_of(parts):
    training, _, fresh = parts
    with pytest.warns(UserWarning, match=r"100.0% of the held-out images equal a training image"):
        evaluate(fresh[:20], training, training[:50].copy())


def test_bad_input_is_named(parts):
    training, held_out, fresh = parts
    sets = {"a": fresh, "b": fresh[:100]}
    cases = [
        (lambda: evaluate(sets, training, held_out), "must be equally many, .* got 300 of a, 100 of b"),
        (lambda: evaluate({}, training, held_out), "samples must hold at least one set"),
        (lambda: evaluate({"copies": fresh}, training, held_out), "the name 'copies' is taken"),
        (lambda: evaluate(fresh * 2, training, held_out), r"samples must be finite and lie in \[0, 1\]"),
        (lambda: evaluate(fresh, training[:, :4], held_out), "samples are 8x8 but training images are 4x8"),
        (lambda: evaluate(fresh, training, held_out[:5]), "held_out must be at least 10 images"),
        (lambda: evaluate(fresh[:5], training, held_out), "samples must be at least 6 images"),
        (
            lambda: evaluate(fresh, training, held_out, features="x"),
            "features must be one of 'auto', 'digits'",
        ),
        (lambda: evaluate(fresh, training, held_out, features="digits"), r"must be \(n, 28, 28\)"),
        (lambda: evaluate(fresh, training, held_out, labels=[0] * 300), "labels need the digit network"),
        (lambda: evaluate(fresh, training, held_out, n_bins=1), "n_bins must be at least 2"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_training_images_on_disk_are_read_in_parts(parts, result, tmp_path, monkeypatch):
    training, held_out, fresh = parts
    monkeypatch.setattr("sparsegen_classic.metrics.training._PART", 300)
    np.save(tmp_path / "training.npy", training)
    source = Recording(training)
    in_memory = evaluate(fresh, training, held_out)
    for form in (source, np.load(tmp_path / "training.npy", mmap_mode="r")):
        on_disk = evaluate(fresh, form, held_out)
        assert on_disk.to_dict() == in_memory.to_dict()
        np.testing.assert_array_equal(on_disk.training[np.array([5, 3])], training[[5, 3]])
    assert max(source.asked[:4]) == 300


def test_large_training_sets_are_sampled_and_the_table_says_so(parts, monkeypatch):
    training, held_out, fresh = parts
    monkeypatch.setattr("sparsegen_classic.metrics.training._PART", 128)
    monkeypatch.setattr("sparsegen_classic.metrics.training._VALUES", 200 * 64)
    source = Recording(training)
    result = evaluate({"copies of some": training[:300]}, source, held_out)
    assert max(source.asked) == 300  # the controls; components and bins take 200
    assert "training_sample: 200 images, for components, bins and pixels" in str(result)
    assert result["copies of some"]["copy"] == pytest.approx(0, abs=0.01)  # their originals are all found
    assert result.to_dict() == evaluate({"copies of some": training[:300]}, training, held_out).to_dict()
    with pytest.raises(ValueError, match="training must be finite and lie in"):
        evaluate(fresh, Recording(training * 2), held_out)
    with pytest.raises(ValueError, match=r"training must be at least 10 images.*found shape \(9, 8, 8\)"):
        evaluate(fresh, Recording(training[:9]), held_out)
