"""Write the folder ``shapes/``: 12 grey images of 24x24 in three classes, made here, free to use.

Run ``python data/make_shapes.py`` anywhere; the pixels depend on nothing but this file.
"""

from pathlib import Path

import numpy as np

from sparsegen_classic.images import save_images

SIZE, N_PER_CLASS = 24, 4


def draw(shape: str, radius: float, x: float, y: float) -> np.ndarray:
    """Draw one white shape on black, every pixel the mean of 8x8 points."""
    axis = (np.arange(8 * SIZE) + 0.5) / (8 * SIZE) * 2 - 1
    across, down = axis[np.newaxis, :] - x, axis[:, np.newaxis] - y
    inside = {
        "circle": np.hypot(across, down) < radius,
        "square": np.maximum(np.abs(across), np.abs(down)) < radius,
        "triangle": (down < radius) & (np.abs(across) * 2 - radius < down),
    }[shape]
    return inside.reshape(SIZE, 8, SIZE, 8).mean(axis=(1, 3))


def main() -> None:
    """Draw every shape at four places and sizes."""
    labels = np.repeat(["circle", "square", "triangle"], N_PER_CLASS)
    places = [(0.6, 0.0, 0.0), (0.4, -0.3, 0.2), (0.5, 0.2, -0.2), (0.3, 0.3, 0.3)] * 3
    images = [draw(label, *place) for label, place in zip(labels, places, strict=True)]
    save_images(np.array(images), Path(__file__).parent / "shapes", labels=labels, overwrite=True)


if __name__ == "__main__":
    main()
