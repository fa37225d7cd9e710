"""A generator measured: controls of its own making, and supports beside real ones."""

import numpy as np
import pytest
from scipy import sparse

from sparsegen_classic import SparseImageGenerator, evaluate_generator, open_images
from sparsegen_classic._codes import states_from_codes
from sparsegen_classic._random import seed_sequence
from sparsegen_classic._rows import Rows
from sparsegen_classic.dictionary import KSVD
from sparsegen_classic.evaluation import _compare_supports
from sparsegen_classic.support import report_supports
from tests.metrics.recording import Recording


@pytest.fixture(scope="module")
def data():
    digits = open_images("digits")
    order = np.random.default_rng(0).permutation(len(digits))
    return digits.images[order], digits.labels[order]


@pytest.fixture(scope="module")
def generator(data):
    images, labels = data
    return SparseImageGenerator(KSVD(n_components=40, n_nonzero_coefs=4), per_class=True, random_state=0).fit(
        images[:1200], labels[:1200]
    )


@pytest.fixture(scope="module")
def result(data, generator):
    images, labels = data
    return evaluate_generator(
        generator,
        images[:1200],
        images[1200:],
        training_labels=labels[:1200],
        held_out_labels=labels[1200:],
        n_samples=200,
        samples={"fresh": images[1200:1400]},
        random_state=0,
    )


def test_the_rows_of_the_model_stand_in_the_table(result):
    assert result.names("samples") == ["generator", "fresh"]
    assert result.names("control") == [
        "reconstructions",
        "random combinations",
        "copies",
        "independent pixels",
    ]
    assert result["random combinations"]["frechet"] > result["reconstructions"]["frechet"]


def test_reconstructions_are_training_images_over_the_dictionary(result, data, generator):
    rebuilt = result.images["reconstructions"].reshape(200, -1)
    training = data[0][:1200].reshape(1200, -1)
    distance = np.sqrt(((rebuilt[:, None] - training[None]) ** 2).sum(axis=2)).min(axis=1)
    typical = np.sqrt(((training[:100, None] - training[None, 100:]) ** 2).sum(axis=2)).min(axis=1)
    assert np.median(distance) < 0.6 * np.median(typical)
    labels = data[1][:1200]
    expected = generator.reconstruct(training[labels == 3].reshape(-1, 8, 8), labels[labels == 3])
    found = sum(np.isclose(rebuilt, row.ravel(), atol=1e-5).all(axis=1).any() for row in expected)
    assert found >= 10  # about a tenth of 200 are threes


def test_supports_are_compared_class_by_class(result, data, generator):
    supports = result.supports["generator"]
    images, labels = data
    assert supports.overlaps.sum() == pytest.approx(1)
    assert supports.sizes @ np.arange(len(supports.sizes)) == pytest.approx(4, abs=0.5)
    # held-out overlaps by sets
    shared = []
    for model in range(10):
        codes = [
            generator.dictionaries_[model].transform(
                part[labels[where] == model].reshape(-1, 64) - generator.means_[model]
            )
            for part, where in ((images[:1200], slice(1200)), (images[1200:], slice(1200, None)))
        ]
        seen, unseen = ([set(row[row >= 0]) for row in states_from_codes(part)[0]] for part in codes)
        shared += [max(len(one & other) for other in seen) for one in unseen]
    expected = np.bincount(shared, minlength=len(supports.real_overlaps)) / len(shared)
    np.testing.assert_allclose(supports.real_overlaps, expected)


def test_likelihoods_and_energies_of_supports_are_those_of_the_networks(result, data, generator):
    images, labels = data
    supports, draws = (
        result.supports["generator"],
        generator.draw(200, int(seed_sequence(0).generate_state(4)[0])),
    )
    reports, shares = [], []
    for model in range(10):
        seen, unseen = (
            generator.encode(
                images[part][labels[part] == model], np.full((labels[part] == model).sum(), model)
            )
            for part in (slice(1200), slice(1200, None))
        )
        drawn = draws.codes[draws.labels == model]
        reports.append(report_supports(generator.supports_[model], seen, unseen, drawn=drawn))
        shares.append(drawn.shape[0] / 200)
    assert supports.held_out_likelihood == pytest.approx(shares @ np.array([r.held_out for r in reports]))
    assert supports.drawn_weight == pytest.approx(shares @ np.array([r.drawn_weights[0] for r in reports]))
    assert supports.training_likelihood > supports.held_out_likelihood
    assert f"held out ({supports.independent_likelihood:.3f} for independent atoms)" in str(result)


def test_the_same_for_any_jobs_and_one_model_needs_no_labels(data):
    images, _ = data
    single = SparseImageGenerator(KSVD(n_components=30, n_nonzero_coefs=4), random_state=0).fit(images[:600])
    results = [
        evaluate_generator(single, images[:600], images[600:900], n_samples=50, n_jobs=jobs).to_dict()
        for jobs in (1, 2)
    ]
    assert results[0] == results[1]
    assert results[0]["supports"]["generator"]["real_overlaps"] is not None
    assert results[0]["settings"]["seed"] == 0


def test_missing_labels_and_other_sizes_are_named(data, generator):
    images, labels = data
    with pytest.raises(ValueError, match="training_labels must be one of the classes 0, 1, .* got None"):
        evaluate_generator(generator, images[:1200], images[1200:], n_samples=20)
    with pytest.raises(ValueError, match=r"got shape \(1200,\)"):
        evaluate_generator(
            generator, images[:1200], images[1200:], n_samples=20, training_labels=labels[:1200] + 1
        )
    with pytest.raises(
        ValueError, match="training images must be 8x8, as those that the model was fitted on"
    ):
        evaluate_generator(generator, images[:, :4], images[1200:], n_samples=20)
    with pytest.raises(ValueError, match="the name 'generator' is that of the generator's own row"):
        evaluate_generator(generator, images[:1200], images[1200:], samples={"generator": images[:20]})
    without = evaluate_generator(
        generator, images[:1200], images[1200:], n_samples=20, training_labels=labels[:1200]
    )
    assert without.supports["generator"].real_overlaps is None
    assert np.isnan(without.supports["generator"].held_out_likelihood)
    assert "log-weight" not in str(without)


def test_classes_drawn_but_not_given_are_named(data):
    images, labels = data
    few = np.flatnonzero(labels == 0)[:50], np.flatnonzero(labels == 1)[:50]
    both = np.concatenate(few)
    model = SparseImageGenerator(KSVD(n_components=5, n_nonzero_coefs=2), per_class=True, random_state=0)
    model.fit(images[both], labels[both])
    with pytest.raises(ValueError, match="training holds no image of a class that was drawn"):
        _compare_supports(
            model.draw(10, 0, class_=0),
            [model.encode(images[few[0]], labels[few[0]]), sparse.csr_array((0, 5))],
            [sparse.csr_array((0, 5)), model.encode(images[few[1]], labels[few[1]])],
            None,
        )


def test_the_network_checks_the_digits_that_were_drawn():
    digits = open_images("digits", size=28, fit="resize")
    images, labels = digits.images, digits.labels
    dictionary = KSVD(n_components=30, n_nonzero_coefs=5, max_iter=3)
    generator = SparseImageGenerator(dictionary, per_class=True, random_state=0).fit(
        images[:900], labels[:900]
    )
    result = evaluate_generator(
        generator,
        images[:900],
        images[900:1400],
        training_labels=labels[:900],
        n_samples=100,
        samples={"fresh": images[1400:1500]},
        labels={"fresh": labels[1400:1500]},
    )
    assert result["fresh"]["accuracy"] > 0.3
    assert result["generator"]["accuracy"] > 0.3
    assert "accuracy" in result["reconstructions"]
    assert np.isnan(result["reconstructions"]["accuracy"])
    assert result.to_dict()["sets"]["reconstructions"]["accuracy"] is None


def test_training_images_on_disk_give_the_same_figures(data, monkeypatch):
    monkeypatch.setattr("sparsegen_classic.metrics.training._PART", 256)
    images, _ = data
    model = SparseImageGenerator(KSVD(n_components=40, n_nonzero_coefs=4), random_state=0).fit(images[:1200])
    expected = evaluate_generator(model, images[:1200], images[1200:], n_samples=100).to_dict()
    for source in (Recording(images[:1200]), Rows(images, np.arange(1200))):
        assert evaluate_generator(model, source, images[1200:], n_samples=100).to_dict() == expected
