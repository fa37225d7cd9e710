"""Denoising of the five classic images of Set12 beside the published table of K-SVD, and for scale.

PSNR in dB at sigma 10, 25 and 50 of 255, the mean over three seeds of the noise: ours (image-adapted, the
defaults; and the DCT), the adaptive dictionary of Elad and Aharon (2006), and scikit-image's non-local means
(h = 0.6 sigma, patches 5, distance 6, fast mode, as in its example) and wavelet (BayesShrink,
cycle-spun over 4 x 4 shifts) denoisers, which run in an environment of their own (``.venv/skimage`` beside
this file, made at the first run). All are told sigma. Nothing is clipped before it is denoised. Seconds are
those of one image on two threads.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from surroundings import DATA, python_with

SET12 = DATA / "natural/Set12"
IMAGES = {"house": "02", "peppers": "03", "lena": "08", "barbara": "09", "boat": "10"}
SIGMAS, SEEDS = (10, 25, 50), (0, 1, 2)
PUBLISHED = {
    "house": (36.01, 32.15, 28.05),
    "peppers": (34.19, 29.73, 26.15),
    "lena": (35.48, 31.32, 27.81),
    "barbara": (34.39, 29.60, 25.38),
    "boat": (33.64, 29.28, 25.88),
}
PEER = """
import sys
import numpy as np
from skimage.restoration import cycle_spin, denoise_nl_means, denoise_wavelet

with np.load(sys.argv[1]) as data:
    noisy = {name: data[name] for name in data.files}
out = {}
for name, image in noisy.items():
    sigma = int(name.split()[1]) / 255
    out[f"nlm {name}"] = denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True
    )
    options = dict(sigma=sigma, rescale_sigma=True)
    out[f"wavelet {name}"] = cycle_spin(image, denoise_wavelet, max_shifts=3, func_kw=options, workers=1)
np.savez(sys.argv[2], **out)
"""


def psnr(image, clean):
    return -10 * np.log10(np.mean((np.clip(image, 0, 1) - clean) ** 2))


def peers(noisy):
    """Return what scikit-image makes of the noisy images, by ``"method image sigma"``."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "noisy.npz"), Path(folder, "out.npz")
        np.savez(source, **noisy)
        subprocess.run([python_with("skimage"), "-c", PEER, source, target], check=True)
        with np.load(target) as data:
            return {name: data[name] for name in data.files}


def main():
    from sparsegen_classic.images import open_images
    from sparsegen_classic.restoration import denoise

    if not SET12.is_dir():
        print(f"no images at {SET12}: set SPARSEGEN_DATA to the folder that holds natural/Set12; skipped")
        return
    clean = {name: open_images(SET12 / f"{n}.png").images[0].astype(float) for name, n in IMAGES.items()}

    def noisy(name, sigma, seed):
        noise = np.random.default_rng(seed).standard_normal(clean[name].shape)
        return clean[name] + sigma / 255 * noise

    first = {f"{name} {sigma}": noisy(name, sigma, 0) for name in IMAGES for sigma in SIGMAS}
    other = peers(first)
    denoise(first["house 50"], 50 / 255, n_jobs=2)  # compiles
    print("                  ours  +/-  published  diff     DCT   wavelet  NLM (one seed each)   seconds")
    differences = []
    for name in IMAGES:
        for sigma, published in zip(SIGMAS, PUBLISHED[name], strict=True):
            values, start = [], time.perf_counter()
            for seed in SEEDS:
                restored = denoise(noisy(name, sigma, seed), sigma / 255, random_state=seed, n_jobs=2)
                values.append(psnr(restored, clean[name]))
            seconds = (time.perf_counter() - start) / len(SEEDS)
            key = f"{name} {sigma}"
            dct = psnr(denoise(first[key], sigma / 255, dictionary="dct", n_jobs=2), clean[name])
            wavelet, nlm = (psnr(other[f"{method} {key}"], clean[name]) for method in ("wavelet", "nlm"))
            differences.append(np.mean(values) - published)
            print(
                f"{name:>9} {sigma:>3}   {np.mean(values):6.2f} {np.std(values):4.2f}  {published:8.2f}  "
                f"{differences[-1]:+5.2f}  {dct:6.2f}   {wavelet:6.2f}  {nlm:6.2f} {seconds:19.1f}",
                flush=True,
            )
    print(f"ours less published: mean {np.mean(differences):+.2f}, lowest {min(differences):+.2f} dB")


if __name__ == "__main__":
    main()
