import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from sparsegen_classic.images import image_grid, open_images
from sparsegen_classic.plots import (
    plot_atoms,
    plot_images,
    plot_neighbours,
    plot_random_combinations,
    save_figure,
)


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


@pytest.fixture
def images():
    return open_images("digits").images[:12]


@pytest.fixture(params=["grey", "colour"])
def either(request, images):
    return images if request.param == "grey" else np.stack([images, 1 - images, images], axis=-1)


def shown(ax):
    (image,) = ax.images
    assert image.get_clim() == (0, 1)
    return np.asarray(image.get_array())


def test_images_are_shown_as_they_are(either):
    ax = plot_images(either, n_columns=4)
    np.testing.assert_array_equal(shown(ax), image_grid(either, 4))
    assert shown(plot_images(either * 0.1)).max() == 1  # the ground; values are not stretched
    assert shown(plot_images(either * 0.1)).min() == 0


def test_labels_stand_above_their_images(images):
    ax = plot_images(images, labels=[f"class {i}" for i in range(12)], n_columns=4)
    assert [text.get_text() for text in ax.texts] == [f"class {i}" for i in range(12)]
    sheet = shown(ax)
    for i, text in enumerate(ax.texts):
        x, y = text.get_position()
        assert x == 1 + 9 * (i % 4) + 3.5  # over the middle of its tile; pixel centres are whole numbers
        band = 2
        assert (1 + 10 * 0) <= y - (i // 4) * (8 + band + 1) <= band + 1
        assert sheet[round(y), round(x)] == 1
    assert [text.get_text() for text in plot_images(images, labels=[""] * 12).texts] == [""] * 12
    with pytest.raises(ValueError, match="labels must be one per image, expected 12, found 2"):
        plot_images(images, labels=[1, 2])


def test_atoms_are_sorted_and_scaled_about_grey():
    atoms = np.diag([1.0, 2.0, -4.0, 0.0])
    ax = plot_atoms(atoms, image_shape=(2, 2), usage=[5, 9, 7, 1], n_columns=4)
    expected = np.full((4, 2, 2), 0.5)
    expected[0, 0, 1] = expected[2, 0, 0] = 1  # atoms 1, 2, 0, 3
    expected[1, 1, 0] = 0
    np.testing.assert_array_equal(shown(ax), image_grid(expected, 4))
    assert ax.get_title() == "4 atoms, usage 9 to 1"
    assert plot_atoms(atoms, image_shape=(2, 2)).get_title() == "4 atoms"
    assert plot_atoms(atoms, image_shape=(2, 2), n_atoms=9).get_title() == "4 atoms"
    assert plot_atoms(atoms, image_shape=(2, 2), n_atoms=3).get_title() == "3 of 4 atoms"
    ax = plot_atoms(atoms, image_shape=(2, 2), n_atoms=3, usage=[5, 9, 7, 1])
    assert ax.get_title() == "3 most used of 4 atoms, usage 9 to 5"
    assert shown(plot_atoms(np.eye(12), image_shape=(2, 2, 3))).shape[-1] == 3


def test_bad_atoms():
    with pytest.raises(
        ValueError, match=r"n_features the product of image_shape = \(2, 3\), found shape \(4, 4\)"
    ):
        plot_atoms(np.eye(4), image_shape=(2, 3))
    with pytest.raises(ValueError, match=r"usage must be one number per atom, shape \(4,\), found \(3,\)"):
        plot_atoms(np.eye(4), image_shape=(2, 2), usage=[1, 2, 3])
    with pytest.raises(ValueError, match="n_atoms must be at least 1, got 0"):
        plot_atoms(np.eye(4), image_shape=(2, 2), n_atoms=0)


@pytest.mark.parametrize("k", [None, 1, 2])
def test_neighbours_stand_below_their_samples(either, k):
    samples = either[:4]
    neighbours = either[4:8] if k is None else either[4 : 4 + 4 * k].reshape(4, k, *either.shape[1:])
    ax = plot_neighbours(samples, neighbours, n_columns=4)
    sheet, stacked = shown(ax), neighbours.reshape(4, k or 1, *either.shape[1:])
    for i in range(4):
        left = i * (8 + 3)
        np.testing.assert_array_equal(sheet[:8, left : left + 8], samples[i])
        for j in range(k or 1):
            np.testing.assert_array_equal(
                sheet[9 * (j + 1) : 9 * (j + 1) + 8, left : left + 8], stacked[i, j]
            )
    below = "2 nearest training images" if k == 2 else "nearest training image"
    assert ax.get_title() == f"above: generated, below: {below}"


def test_bad_neighbours(images):
    for neighbours in (images[:3], images[:4, :7], images):
        with pytest.raises(ValueError, match=r"neighbours must be .* of samples \(4, 8, 8\), found shape"):
            plot_neighbours(images[:4], neighbours)


def test_random_combinations_before_and_after(either):
    before = either * 4 - 2
    ax = plot_random_combinations(before, before.clip(0, 1))
    sheet = shown(ax)
    raw, clipped = image_grid(before / 2 / 2 + 0.5), image_grid(before.clip(0, 1))
    np.testing.assert_allclose(sheet[:, : raw.shape[1]], raw.clip(0, 1), atol=1e-6)
    np.testing.assert_array_equal(sheet[:, -clipped.shape[1] :], clipped)
    assert ax.get_title().startswith("left: before clipping, -2 (black) to 2 (white)")
    plot_random_combinations(before * 0, before * 0)
    with pytest.raises(
        ValueError, match=r"before and after must have the same shape, found \(12, .* and \(3, "
    ):
        plot_random_combinations(before, before[:3])


@pytest.mark.parametrize("n", [1, 12, 700])
def test_new_figures_follow_their_content(n):
    ax = plot_images(np.zeros((n, 8, 8)))
    box, (rows, columns) = ax.get_window_extent(), shown(ax).shape
    assert box.width / columns == pytest.approx(round(box.width / columns))  # whole pixels
    assert box.height / rows == pytest.approx(box.width / columns)
    assert 1 <= ax.figure.get_figwidth() <= 8
    assert 1 <= ax.figure.get_figheight() <= 9


def test_axes_are_used_as_given(images):
    figure, axes = plt.subplots(2, 2)
    assert plot_images(images, labels=range(12), ax=axes[0, 0]) is axes[0, 0]
    assert plot_atoms(np.eye(4), image_shape=(2, 2), ax=axes[0, 1]) is axes[0, 1]
    assert plot_neighbours(images, images, ax=axes[1, 0]) is axes[1, 0]
    assert plot_random_combinations(images, images, ax=axes[1, 1]) is axes[1, 1]
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_saved_figures_have_the_same_bytes(tmp_path, images, suffix, monkeypatch):
    first = save_figure(plot_images(images, labels=range(12)), tmp_path / f"1.{suffix}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    second = save_figure(plot_images(images, labels=range(12)).figure, str(tmp_path / f"2.{suffix}"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite it on purpose"):
        save_figure(plot_images(images), first)
    save_figure(plot_images(images), first, overwrite=True)
    assert first.read_bytes() != second.read_bytes()


def test_saved_pixels_are_crisp_and_hold_no_metadata(tmp_path):
    board = (np.indices((16, 16)).sum(axis=0) % 2).astype(float)
    path = save_figure(plot_images(board[np.newaxis]), tmp_path / "x.png")
    with Image.open(path) as image:
        assert "Software" not in image.info
        assert set(np.unique(np.asarray(image.convert("L")))) == {0, 255}


def test_bad_figure_paths(tmp_path, images):
    with pytest.raises(ValueError, match=r"path must end in \.png, \.pdf or \.svg, got .*x\.gif"):
        save_figure(plot_images(images), tmp_path / "x.gif")
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        save_figure(plot_images(images), tmp_path / "nowhere" / "x.png")
