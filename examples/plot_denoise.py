"""
Denoising over a dictionary learned from the noisy image itself
===============================================================

White noise has no sparse code; images have one. So every overlapping patch is coded only as far as the noise
reaches, and the patches are put back and averaged (Elad and Aharon 2006). The photograph is one of the two
that come with scikit-learn.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from sparsegen_classic.restoration import denoise, estimate_sigma

clean = load_sample_image("china.jpg")[40:240, 150:400] / 255
sigma = 25 / 255
noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
print(f"sigma: {sigma:.4f}, estimated {estimate_sigma(noisy):.4f}")

# %%
# A fixed dictionary of cosines, then 256 atoms learned from the noisy patches. Without ``sigma`` it would be
# estimated. Of colour, grey and two colour differences are denoised, each for itself.


def psnr(image):
    return -10 * np.log10(np.mean((np.clip(image, 0, 1) - clean) ** 2))


results = {
    "clean": clean,
    "noisy": noisy,
    "cosines": denoise(noisy, sigma, dictionary="dct"),
    "learned from the image": denoise(noisy, sigma, random_state=0),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 7.6), layout="constrained")
for ax, (name, image) in zip(axes.flat, results.items(), strict=True):
    ax.imshow(np.clip(image, 0, 1))
    ax.set_title(name if name == "clean" else f"{name}, {psnr(image):.2f} dB")
    ax.axis("off")
plt.show()
