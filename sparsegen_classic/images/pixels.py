"""From stored pixels to float32 in [0, 1]: range, grey or colour, transparency, size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparsegen_classic._validation import check_choice, check_integer, check_real

_BAND = 2**20  # numbers
FITS = ("error", "resize", "crop", "pad")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as Pillow's mode "L"


@dataclass(frozen=True)
class PixelRules:
    """What every image of a set is turned into; checked when made."""

    mode: str = "L"
    size: Any = None
    fit: str = "error"
    background: float = 0.0

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("L", "RGB"))
        check_choice("fit", self.fit, FITS)
        object.__setattr__(self, "background", check_real("background", self.background, 0, 1))
        if self.size is not None:
            pair = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
            if len(pair) != 2:
                raise ValueError(f"size must be an integer or (height, width), got {self.size!r}")
            object.__setattr__(self, "size", tuple(check_integer("size", side, 1) for side in pair))
        elif self.fit != "error":
            raise ValueError(f"fit={self.fit!r} needs the size to fit to; pass e.g. size=64 or size=(64, 48)")

    def output_shape(self, height: int, width: int, resized: bool = True) -> tuple[int, ...]:
        """Shape of one image that is (height, width) in its source, before or after it is resized."""
        sides = self.size if resized and self.size else (height, width)
        return (*sides, *((3,) if self.mode == "RGB" else ()))


def check_pixels(name: str, pixels: NDArray[Any]) -> None:
    """Raise unless the type declares its range (bool, uint8, uint16) or holds floats in [0, 1]."""
    if pixels.dtype.kind == "f":
        low, high = pixels.min(), pixels.max()
        if not (low >= 0 and high <= 1):  # false for nan as well
            raise ValueError(
                f"{name} of floats must be finite and lie in [0, 1], found values from {low:.6g} to "
                f"{high:.6g}; divide by the largest possible value (X / 255), or clip (numpy.clip(X, 0, 1))"
            )
    elif pixels.dtype.kind != "b" and not (pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2):
        raise ValueError(
            f"{name} must be bool, uint8, uint16 or float in [0, 1], found {pixels.dtype}, which declares no "
            "range; convert it, e.g. X.astype(numpy.uint8) for values in 0-255"
        )


def to_unit(pixels: NDArray[Any], rules: PixelRules) -> NDArray[np.float32]:
    """Turn pixels (..., h, w, c) into float32 in [0, 1]: (..., h, w) for "L", (..., h, w, 3) for "RGB".

    ``c`` is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA). Opaque 8-bit colour becomes grey exactly as in
    Pillow, rounded to 8 bits; anything else uses the same weights unrounded. Large images are turned band by
    band, so that what is needed beside the result stays small.
    """
    *batch, height, width, _ = pixels.shape
    unit = np.empty((*batch, *rules.output_shape(height, width, resized=False)), np.float32)
    rows = max(1, _BAND // max(1, pixels.size // height))
    for top in range(0, height, rows):
        band = (..., slice(top, top + rows), slice(None)) + (slice(None),) * (rules.mode == "RGB")
        unit[band] = _to_unit(pixels[..., top : top + rows, :, :], rules)
    return unit


def _to_unit(pixels: NDArray[Any], rules: PixelRules) -> NDArray[np.float32]:
    if rules.mode == "L" and pixels.shape[-1] == 3 and pixels.dtype == np.uint8:
        red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
        grey = (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16  # Pillow's own integers
        pixels = grey.astype(np.uint8)[..., np.newaxis]
    highest = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    unit = np.divide(pixels, np.float32(highest), dtype=np.float32, casting="unsafe")
    if unit.shape[-1] in (2, 4):
        colour, alpha = unit[..., :-1], unit[..., -1:]
        unit = np.clip(colour * alpha + np.float32(rules.background) * (1 - alpha), 0, 1)
    if rules.mode == "L":
        return unit[..., 0] if unit.shape[-1] == 1 else np.clip(unit @ _LUMA, 0, 1)
    return unit if unit.shape[-1] == 3 else np.repeat(unit, 3, axis=-1)


def to_size(image: NDArray[np.float32], rules: PixelRules, name: str) -> NDArray[np.float32]:
    """Bring one image (h, w[, 3]) to ``rules.size`` (None = as it is), by the rule of ``rules.fit``."""
    height, width = image.shape[:2]
    if rules.size is None or rules.size == (height, width):
        return image
    out_height, out_width = rules.size
    if rules.fit == "error":
        raise ValueError(
            f"{name} is {height}x{width} (height x width), not size={out_height}x{out_width}; "
            "pass fit='resize', 'crop' or 'pad' to change sizes"
        )
    if rules.fit == "resize":
        return _lanczos(image, rules.size, (0, 0, width, height))
    if rules.fit == "crop":
        scale = min(height / out_height, width / out_width)
        box_height, box_width = min(out_height * scale, height), min(out_width * scale, width)
        top, left = (height - box_height) // 2, (width - box_width) // 2
        return _lanczos(image, rules.size, (left, top, left + box_width, top + box_height))
    scale = min(out_height / height, out_width / width)
    inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    top, left = (out_height - inner[0]) // 2, (out_width - inner[1]) // 2
    padded = np.full((*rules.size, *image.shape[2:]), rules.background, np.float32)
    padded[top : top + inner[0], left : left + inner[1]] = _lanczos(image, inner, (0, 0, width, height))
    return padded


def _lanczos(
    image: NDArray[np.float32], size: tuple[int, int], box: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """Resample ``box`` (left, top, right, bottom) with Pillow's antialiased Lanczos filter, in float."""
    resized = [
        Image.fromarray(np.ascontiguousarray(channel)).resize(size[::-1], Image.Resampling.LANCZOS, box=box)
        for channel in np.moveaxis(np.atleast_3d(image), -1, 0)
    ]
    stacked = np.clip(np.stack([np.asarray(channel) for channel in resized], axis=-1), 0, 1)
    return stacked.reshape(*size, *image.shape[2:])
