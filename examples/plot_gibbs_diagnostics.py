"""
Have the chains mixed? Diagnostics, tempering and evidence
==========================================================

A Gibbs sampler changes one atom at a time. Where groups of atoms exclude each other it can stay in one group
for ages, and look converged. Here is how to see it, what parallel tempering does about it, how to draw given
that some atoms are in the support and others are not, and what the normalising constant is.
"""

# %%
# Two camps
# ---------
# Ten states in two camps of five. Within a camp states attract each other, between camps they repel: a
# support of four goes over only through supports that are a thousand times less probable.
import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic.support import (
    GibbsSampler,
    PairwiseSupports,
    effective_sample_size,
    enumerate_supports,
    log_partition,
    split_rhat,
)

camp = np.arange(10) < 5
table = np.where(camp[:, None] == camp, 1.5, -1.5)
theta = np.where(camp, 0.12, 0.0)  # the first camp is a little more popular
model = PairwiseSupports(theta, table, supports=[[0, 1, 2, 3], [6, 7, 8, 9]])
supports, law = enumerate_supports(model, 4)
exact = law @ camp[supports].mean(axis=1)

# %%
# R-hat and effective sample size
# -------------------------------
# Four chains of each sampler, followed for 500 draws: the share of a support that is in the first camp.
samplers = {
    "one temperature": GibbsSampler(burn_in=20),
    "parallel tempering": GibbsSampler(burn_in=20, betas=(1, 0.75, 0.5, 0.25, 0)),
}
figure, axes = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
for axis, (name, sampler) in zip(axes, samplers.items(), strict=True):
    trace = sampler.trace(model, n_chains=4, n_draws=500, random_state=0)
    share = camp[trace].mean(axis=2)
    rhat, size = split_rhat(share), effective_sample_size(share, "mean")
    axis.plot(share[:, :150].T + 0.03 * np.arange(4), lw=1, drawstyle="steps-mid")
    axis.set(
        ylabel="share in camp one",
        title=f"{name}: split R-hat {rhat:.2f}, {size:.0f} effective draws of {share.size:,},"
        f" mean {share.mean():.2f} (exact {exact:.2f})",
    )
    if sampler.betas is not None:
        print("swaps accepted between neighbouring temperatures:", sampler.swap_rates_.round(2))
axes[1].set(xlabel="draw (the first 150; chains are set off a little from each other)")

# %%
# Evidence
# --------
# State 0 is in, state 1 is not: clamping and forbidding give draws from the conditional law. Now in a model
# with random factors, where the remaining supports differ more.
rng = np.random.default_rng(0)
noise = rng.normal(size=(10, 10))
varied = PairwiseSupports(0.5 * rng.normal(size=10), (noise + noise.T) / 2)
law = enumerate_supports(varied, 4)[1]
holds = (supports == 0).any(axis=1) & ~(supports == 1).any(axis=1)
given = np.where(holds, law, 0) / law[holds].sum()
drawn = GibbsSampler(burn_in=50).sample(varied, 20_000, random_state=0, size=4, clamp=[0], forbid=[1])
frequency = (drawn[:, None] == supports).all(axis=2).mean(axis=0)
figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
error = 2 * np.sqrt(given * (1 - given) / len(drawn))
axis.errorbar(given[holds], frequency[holds], yerr=error[holds], fmt=".", label="20,000 chains, two s.e.")
axis.axline((0, 0), slope=1, color="k", lw=0.8)
axis.set(xlabel="exact conditional probability", ylabel="frequency", title="0 clamped, 1 forbidden")
axis.legend()

# %%
# The normalising constant
# ------------------------
# Annealed importance sampling errs low on average and, run backwards from draws of the model, high. More
# temperatures close the bracket.
true = log_partition(model, 4).value
ends = GibbsSampler(burn_in=200, betas=(1, 0.75, 0.5, 0.25, 0)).sample(model, 100, 0, size=4)
steps = np.array([3, 6, 12, 25, 50, 100, 200, 400])
results = [
    log_partition(model, 4, method="ais", n_temperatures=n, supports=ends, random_state=0) for n in steps
]
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.errorbar(
    steps, [r.value for r in results], yerr=[2 * r.standard_error for r in results], fmt="C0o-",
    label="forwards, two s.e.",
)  # fmt: skip
axis.plot(steps, [r.upper for r in results], "C1s-", label="backwards")
axis.axhline(true, color="k", lw=0.8, label="exact")
axis.set(xscale="log", xlabel="temperatures", ylabel="log Z", title="Annealing, 100 chains")
axis.legend()
plt.show()
