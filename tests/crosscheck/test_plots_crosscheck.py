"""Figures and the page of a crosscheck."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sparsegen_classic import crosscheck_layer
from sparsegen_classic.crosscheck import Example
from sparsegen_classic.plots_crosscheck import layer_page, plot_example, plot_verdicts


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def report():
    return crosscheck_layer(lambda x: np.maximum(x - 0.5, 0), "soft-threshold", k=0.5, shape=(1, 3, 4, 4))


def test_every_check_has_a_field(report):
    ax = plot_verdicts(report)
    assert [text.get_text() for text in ax.texts] == [v.check for v in report.verdicts]
    assert len(ax.patches) == len(report.verdicts)
    assert f"{len(report.failures)} failed" in ax.get_title()
    assert plot_verdicts(report, ax=ax) is ax


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 3, 1, 1)])
def test_examples_are_drawn_sample_by_sample(shape):
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    example = Example(x, x + 1, x, "float32", "")
    sheet = np.asarray(plot_example(example, show="x").images[0].get_array().filled(np.nan))
    np.testing.assert_array_equal(np.sort(sheet[np.isfinite(sheet)]), x.ravel())
    difference = np.asarray(plot_example(example).images[0].get_array().filled(np.nan))
    assert np.nanmin(difference) == np.nanmax(difference) == 1


def test_what_cannot_be_drawn_is_said():
    example = Example(np.zeros((2, 3)), None, np.array(1.0), "float32", "")
    for show in ("got", "expected", "difference"):
        with pytest.raises(ValueError, match=f"show='{show}'"):
            plot_example(example, show=show)
    with pytest.raises(ValueError, match="show must be one of"):
        plot_example(example, show="y")


def test_the_page_has_all_failures_and_leaves_no_figure(report, tmp_path):
    page = layer_page(report).html()
    assert not plt.get_fignums()
    for verdict in report.failures:
        assert f"<h2>{verdict.check} fails</h2>" in page
    assert "a ReLU with bias -k" in page
    assert "np.array([" in page
    for check in report.verdicts:
        assert check.check in page


def test_a_page_of_a_layer_that_agrees_and_of_one_that_does_not_run():
    agrees = layer_page(crosscheck_layer(np.zeros_like, "l0", k=0, shape=(1, 3, 4, 4))).html()
    assert "agrees in all" in agrees
    assert " fails</h2>" not in agrees
    broken = layer_page(crosscheck_layer(lambda x: None, "l0", k=1, shape=(1, 3, 4, 4))).html()
    assert "did it forget to return" in broken
