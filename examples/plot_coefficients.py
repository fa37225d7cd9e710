"""
Coefficients of a support nobody has seen: EM with missing data
===============================================================

A generated support rarely occurs in the training set. Vaksman and Elad therefore collect every training
code that shares atoms with it and treat the atoms it lacks as missing values. EM finds the mean and
covariance of the whole support's coefficients, from which the new ones are drawn.
"""

# %%
# EM on published data
# --------------------
# Size of an apple crop and percentage of wormy fruits; the last six trees were not examined for worms
# (Little and Rubin). The mean of the examined trees is 45 %. EM learns from the sizes of the others that
# theirs must be worse.
import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic.coefficients import GaussianCoefficients, MissingDataGaussian

size = [8, 6, 11, 22, 14, 17, 18, 24, 19, 23, 26, 40, 4, 4, 5, 6, 8, 10]
worms = [59, 58, 56, 53, 50, 45, 43, 42, 39, 38, 30, 27] + 6 * [np.nan]
apples = MissingDataGaussian().fit(np.column_stack([size, worms]))
print(f"mean percentage of wormy fruits: {apples.mean_[1]:.2f} after {apples.n_iter_} iterations")

# %%
# Three atoms, never more than two at a time
# ------------------------------------------
# Each training code uses two of three atoms, so no code shows all three coefficients together. Their joint
# covariance comes back all the same.
rng = np.random.default_rng(0)
planted_mean = np.array([2.0, 1.0, 3.0])
planted = np.array([[0.5, 0.3, -0.2], [0.3, 0.5, 0.1], [-0.2, 0.1, 0.5]])
codes = rng.multivariate_normal(planted_mean, planted, 3_000)
codes = np.abs(codes)
codes[np.arange(3_000), rng.integers(3, size=3_000)] = 0
model = GaussianCoefficients().fit(codes)
mean, covariance = model.conditional([0, 1, 2])
print("mean:", mean.round(2))
print("covariance:", covariance.round(2), sep="\n")

# %%
# Three ways to draw
# ------------------
# The second coefficient is within 1.5 standard deviations of zero. Drawing from the truncated normal keeps it
# positive, but moves its mean up, since EM has already fitted the positive training values; "clip" puts
# exact zeros; "gaussian", the plain model, lets the atom change sign.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(apples.log_likelihoods_, "o-")
left.set(xlabel="EM iteration", ylabel="log-likelihood", title="Apples")
supports = np.ones((3_000, 3))
for draw in ("truncated", "clip", "gaussian"):
    drawn = model.set_params(draw=draw).sample(supports, random_state=1).toarray()[:, 1]
    label = f"{draw}, mean {drawn.mean():.2f}"
    right.hist(drawn, bins=np.linspace(-1.5, 5.5, 71), histtype="step", label=label)
seen = codes[codes[:, 1] > 0, 1]
right.axvline(seen.mean(), color="k", lw=0.8, label=f"training mean {seen.mean():.2f}")
right.set(xlabel="second coefficient", ylabel="codes", title="Draws")
right.legend()
plt.show()
