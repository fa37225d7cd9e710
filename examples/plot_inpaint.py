"""
Inpainting: what a sparse code says about pixels it has not seen
================================================================

A patch is coded by its observed pixels alone. The atoms it uses say what the missing ones are. The dictionary
is learned from the same incomplete image (Mairal, Elad, Sapiro 2008).
"""

# %%
# Half of the pixels are lost, and a scratch goes through the rest. Cubic interpolation stands beside it.
import matplotlib.pyplot as plt
import numpy as np
from scipy.interpolate import griddata
from sklearn.datasets import load_sample_image

from sparsegen_classic.restoration import inpaint

clean = load_sample_image("china.jpg")[60:220, 180:380].mean(axis=2) / 255
y, x = np.indices(clean.shape)
mask = np.random.default_rng(0).random(clean.shape) < 0.5
mask &= abs(y - 30 - 0.5 * x) > 2
given = np.where(mask, clean, np.nan)

restored = inpaint(given, mask, random_state=0)
known, everywhere = np.argwhere(mask), np.argwhere(np.ones_like(mask))
cubic = griddata(known, clean[mask], everywhere, "cubic", fill_value=0.5).reshape(clean.shape)


# %%
def psnr(image):
    return -10 * np.log10(np.mean((np.clip(image, 0, 1) - clean) ** 2))


results = {
    "original": clean,
    f"given: {mask.mean():.0%} of the pixels": given,
    f"cubic interpolation, {psnr(cubic):.2f} dB": cubic,
    f"sparse code, {psnr(restored):.2f} dB": restored,
}
figure, axes = plt.subplots(2, 2, figsize=(9, 7.6), layout="constrained")
for ax, (name, image) in zip(axes.flat, results.items(), strict=True):
    ax.set_facecolor("tab:red")
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set(title=name, xticks=[], yticks=[])
plt.show()
