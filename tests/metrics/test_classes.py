"""Class statistics of probabilities given by hand."""

import numpy as np
import pytest

from sparsegen_classic.metrics import class_statistics


def test_certain_and_uniform_probabilities():
    certain = class_statistics(np.repeat(np.eye(4), 3, axis=0), labels=np.repeat(np.arange(4), 3))
    assert certain.shares.tolist() == [0.25] * 4
    assert certain.class_confidence.tolist() == [1] * 4
    assert certain.confidence == certain.confident_share == certain.accuracy == 1
    assert certain.entropy == pytest.approx(np.log(4))
    assert certain.score == pytest.approx(4)
    blurred = class_statistics(np.full((5, 4), 0.25))
    assert blurred.confidence == 0.25
    assert blurred.confident_share == 0
    assert blurred.score == pytest.approx(1)
    assert blurred.entropy == 0  # the first class takes all ties
    assert np.isnan(blurred.accuracy)
    assert np.isnan(blurred.class_confidence[1:]).all()


def test_by_hand():
    p = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.0, 0.05, 0.95]])
    found = class_statistics(p, labels=[0, 1, 2])
    np.testing.assert_allclose(found.shares, [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(found.class_confidence, [0.65, np.nan, 0.95])
    assert found.confidence == pytest.approx(0.75)
    assert found.confident_share == pytest.approx(1 / 3)
    assert found.accuracy == pytest.approx(2 / 3)
    mean = p.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.nansum(p * np.log(p / mean), axis=1).mean()
    assert found.score == pytest.approx(np.exp(divergence))


@pytest.mark.parametrize("p", [[0.5, 0.5], [[0.5, 0.6]], [[1.2, -0.2]], np.zeros((0, 3)), [[np.nan, 1]]])
def test_rows_that_are_no_probabilities_are_refused(p):
    with pytest.raises(ValueError, match="probabilities must be"):
        class_statistics(p)


def test_labels_must_fit():
    with pytest.raises(ValueError, match=r"one for each of the 2 samples, got shape \(3,\)"):
        class_statistics(np.eye(2), labels=[0, 1, 1])
