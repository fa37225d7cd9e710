"""Small image files of every kind, made here, and what can be wrong with them."""

import gzip
import io
import struct
import zlib

import numpy as np
from PIL import Image

from sparsegen_classic import open_images
from tests.hostile import Tally, print_of
from tests.hostile_archives import damaged


def corpus():
    """Return {file name: content} of whole files of all formats and modes that are read."""
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (9, 7), np.uint8), rng.integers(0, 256, (9, 7, 3), np.uint8)
    deep = rng.integers(0, 65536, (9, 7)).astype(np.uint16)
    rgb, palette = Image.fromarray(colour), Image.fromarray(colour).quantize(8)
    clear = palette.copy()
    clear.info["transparency"] = 3
    frames = [palette, Image.fromarray(colour[::-1].copy()).quantize(8)]
    turned = Image.Exif()
    turned[0x0112] = 6
    cmyk = rgb.convert("CMYK")
    made = {}
    for name, image, options in (
        *[(f"{mode}.png", rgb.convert(mode), {}) for mode in ("1", "L", "LA", "RGB", "RGBA", "P")],
        *[(f"{mode}.tif", rgb.convert(mode), {}) for mode in ("1", "L", "RGB", "RGBA", "P", "CMYK")],
        *[
            (f"{mode}.{kind}", rgb.convert(mode), {})
            for mode in ("L", "RGB")
            for kind in ("jpg", "bmp", "webp")
        ],
        *[(f"{kind}.tiff", rgb, {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "jpeg")],
        ("clear.png", clear, {"transparency": 3}),
        ("deep.png", Image.fromarray(deep), {}),
        ("deep.tif", Image.fromarray(deep), {}),
        ("float.tif", Image.fromarray(np.float32(grey) / 255), {}),
        ("cmyk.jpg", cmyk, {}),
        ("turned.jpg", rgb, {"exif": turned}),
        ("turned.png", rgb, {"exif": turned}),
        ("turned.tif", rgb, {"exif": turned}),
        ("progressive.jpg", rgb, {"progressive": True}),
        ("interlaced.gif", palette, {"interlace": 1}),
        ("animated.gif", frames[0], {"save_all": True, "append_images": frames[1:], "duration": 50}),
        ("animated.png", rgb, {"save_all": True, "append_images": [rgb.rotate(180)]}),
        ("animated.webp", rgb, {"save_all": True, "append_images": [rgb.rotate(180)]}),
        ("pages.tif", rgb, {"save_all": True, "append_images": [rgb.rotate(180)]}),
        ("one.png", Image.fromarray(grey[:1, :1]), {}),
        ("wide.png", Image.new("L", (100000, 1), 7), {}),
        ("high.png", Image.new("L", (1, 100000), 7), {}),
        ("grey.pgm", Image.fromarray(grey), {}),
        ("colour.ppm", rgb, {}),
        ("float.pfm", Image.fromarray(np.float32(grey) / 255), {}),
    ):
        stream = io.BytesIO()
        kind = {"jpg": "jpeg", "tif": "tiff", "pgm": "ppm"}.get(name.split(".")[1], name.split(".")[1])
        image.save(stream, "ppm" if kind == "pfm" else kind, **options)
        made[name] = stream.getvalue()
    digits = b"\0\0\x08\x03" + struct.pack(">III", 3, 9, 7) + rng.bytes(189)
    for prefix in ("a", "train-images"):
        made[f"{prefix}-idx3-ubyte"] = digits
    made["b-idx3-ubyte.gz"] = gzip.compress(digits)
    for name, save in (("x.npz", lambda f: np.savez_compressed(f, images=grey[None], labels=[3])),
                       ("x.npy", lambda f: np.save(f, np.float64(colour[None]) / 255))):  # fmt: skip
        stream = io.BytesIO()
        save(stream)
        made[name] = stream.getvalue()
    return made


def png(width, height, rows=b"", bits=8, kind=0, chunks=()):
    """Return a PNG that declares what it is told to."""
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def bombs():
    """Return {file name: content} of files that must be refused."""
    zeros = bytes(2**26)
    text = zlib.compress(zeros)
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\x01\0\0;"
    size = struct.pack(">III", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    return {
        "pixels.png": png(2**31 - 1, 2**31 - 1),
        "area.png": png(20000, 20000, bytes(1000)),
        "empty.png": png(9000, 9000),
        "zero.png": png(0, 0),
        "text.png": png(3, 3, bytes(12), chunks=[(b"zTXt", b"x\0\0" + text)] * 3),
        "profile.png": png(3, 3, bytes(9), chunks=[(b"iCCP", b"x\0\0" + text)]),
        "wide.gif": gif + frame,
        "wide.bmp": b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, 2**30, 2**30, 1, 24, 0) + bytes(20),
        "tags.tif": b"II*\0\x08\0\0\0\xff\xff" + b"\0\1\4\0\xff\xff\xff\x7f\0\0\0\0" * 50,
        "loop.tif": b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIII", 256, 4, 1, 3, 8),
        "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch ran) system\n%%EOF\n",
        "program.jpg": b"\xc5\xd0\xd3\xc6" + bytes(26) + b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "huge.ppm": b"P6 99999999999 99999999999 255\n",
        "long.pgm": b"P5 " + b"9" * 10**6,
        "size-idx3-ubyte": b"\0\0\x08\x03" + size,
        "none-idx3-ubyte": b"\0\0\x08\x03" + struct.pack(">III", 0, 2**32 - 1, 2**32 - 1),
        "bomb-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\x03" + struct.pack(">III", 2**16, 2**16, 9) + zeros),
        "object.npy": b"\x93NUMPY\1\0\x40\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "shape.npy": b"\x93NUMPY\1\0\x51\0"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000, 3), }".ljust(80) + b"\n",
    }  # fmt: skip


def read(path):
    return open_images(path, mode="RGB")


def values(found):
    """Return the pixels; finite and in [0, 1], or the test fails."""
    assert found.images.dtype == np.float32
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    return found.images


def run(folder, n_files, seed):
    """Return what became of ``n_files`` damaged image files: {"images": Tally}."""
    rng = np.random.default_rng(seed)
    whole = corpus()
    names = list(whole)
    tally = Tally()
    for i in range(n_files):
        name = names[i % len(names)]
        content = whole[name]
        for _ in range(int(rng.integers(1, 4))):
            what, content = damaged(content, rng) if content else ("empty", b"")
        path = folder / name
        path.write_bytes(content)
        tally.judge(path, read, values, print_of(None), True, f"{name}: {what}")
        path.unlink()
    return {"images": tally}
