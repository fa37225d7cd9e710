"""
Fitting pairwise supports: counts, pseudo-likelihood, chains
============================================================

Equation (2) of Vaksman and Elad reads its factors off the data: pair counts over expected pair counts. It is
not the maximum of any likelihood, and with three atoms and more it counts correlations twice. Two better
fits start from it. Held-out supports say when to stop believing pairs.
"""

# %%
# A planted model
# ---------------
# Fifteen states, five in a support: 3,003 supports, few enough to know the law exactly.
import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic.support import (
    MarkovSupports,
    PairwiseSupports,
    enumerate_supports,
    fit_contrastive_divergence,
    fit_pseudo_likelihood,
    pseudo_likelihood,
)

rng = np.random.default_rng(0)
table = rng.normal(size=(15, 15))
planted = PairwiseSupports(0.5 * rng.normal(size=15), (table + table.T) / 2)
supports, law = enumerate_supports(planted, 5)


def draw_codes(n):
    codes = np.zeros((n, 15))
    np.put_along_axis(codes, supports[rng.choice(len(law), n, p=law)], 1.0, axis=1)
    return codes


def divergence(theta, pairs):
    """KL(planted || fitted), in nats a support."""
    return np.sum(law * np.log(law / enumerate_supports(PairwiseSupports(theta, pairs), 5)[1]))


# %%
# How near each fit comes
# -----------------------
# Maximum likelihood would lose half a nat for each of its 105 pair parameters, over the number of supports.
sizes = np.array([200, 500, 1_000, 3_000, 10_000])
losses = {
    name: [] for name in ("independent atoms", "equation (2)", "contrastive divergence", "pseudo-likelihood")
}
for n in sizes:
    model = MarkovSupports().fit(draw_codes(n))
    start = model.log_factors_, model.log_pair_factors_
    rows = model.supports_
    nothing = np.where(np.isfinite(start[1]), 0.0, -np.inf)
    losses["independent atoms"].append(divergence(start[0], nothing))
    losses["equation (2)"].append(divergence(*start))
    chains = fit_contrastive_divergence(
        rows, *start, l2=5.0, towards="zero", learning_rate=0.5, random_state=0
    )
    losses["contrastive divergence"].append(divergence(*chains[:2]))
    losses["pseudo-likelihood"].append(
        divergence(*fit_pseudo_likelihood(rows, *start, l2=5.0, towards="zero")[:2])
    )

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, values), style in zip(losses.items(), ("C7--", "C1o-", "C2^-", "C0s-"), strict=True):
    axis.loglog(sizes, values, style, label=name)
axis.loglog(sizes, 105 / (2 * sizes), "k:", label="maximum likelihood, in theory")
axis.set(xlabel="training supports", ylabel="KL to the planted law (nats)", title="Counts do not converge")
axis.legend()

# %%
# Held-out supports decide
# ------------------------
# From 200 supports, without penalty, the fit soon learns the sample by heart. With held-out supports it
# returns the step that was best on them; low rank and a penalty are other ways to keep it honest.
model = MarkovSupports().fit(draw_codes(200))
start = model.log_factors_, model.log_pair_factors_
held_out = np.nonzero(draw_codes(2_000))[1].reshape(-1, 5)
best = np.mean(pseudo_likelihood(held_out, planted.log_factors_, planted.log_pair_factors_))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
_, _, history = fit_pseudo_likelihood(
    model.supports_, *start, l2=0.0, validation=held_out, patience=30, max_iter=30
)
left.plot(history["train"], "C0-", label="training supports")
left.plot(history["validation"], "C3-", label="held-out supports")
left.plot(np.argmax(history["validation"]), history["validation"].max(), "k*", ms=12, label="returned")
left.axhline(best, color="k", lw=0.8, ls=":", label="planted model, held out")
left.set(xlabel="step", ylabel="log P(atom | rest), nats", title="No penalty, 200 supports")
left.legend()

penalties = np.geomspace(0.1, 300, 12)
for label, options in (
    ("towards equation (2)", {"towards": "start"}),
    ("towards independent atoms", {"towards": "zero"}),
    ("rank 4 beside equation (2)", {"rank": 4}),
):
    values = [
        np.mean(
            pseudo_likelihood(held_out, *fit_pseudo_likelihood(model.supports_, *start, l2=l2, **options)[:2])
        )
        for l2 in penalties
    ]
    right.semilogx(penalties, values, ".-", label=label)
right.axhline(np.mean(pseudo_likelihood(held_out, *start)), color="C1", ls="--", lw=0.8, label="equation (2)")
right.axhline(best, color="k", lw=0.8, ls=":", label="planted model")
right.set(xlabel="l2", ylabel="held-out log P(atom | rest), nats", title="What the penalty does")
right.legend()
plt.show()
