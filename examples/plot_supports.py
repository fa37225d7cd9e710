"""
Which atoms go together: a Markov network over supports
=======================================================

Vaksman and Elad give a support - the set of atoms that an image uses - a probability with one factor for
each atom and one for each pair of atoms, all read off from counts. Here the codes come from a pairwise
model that we plant, so the fitted law can be held against the true one, and the Gibbs sampler against both.
"""

# %%
# Plant a law and draw codes from it
# ----------------------------------
# Eight atoms, three in use at a time: 56 supports. Neighbouring atoms attract each other.
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np

from sparsegen_classic.support import (
    GibbsSampler,
    MarkovSupports,
    enumerate_supports,
    largest_overlaps,
    matching_share,
)

rng = np.random.default_rng(0)
all_supports = np.array(list(combinations(range(8), 3)))
distance = np.abs(all_supports[:, [0, 0, 1]] - all_supports[:, [1, 2, 2]])
planted = np.exp(1.5 * (distance == 1).sum(axis=1) - 0.15 * all_supports.sum(axis=1))
planted /= planted.sum()

codes = np.zeros((2_000, 8))
drawn = all_supports[rng.choice(len(all_supports), size=len(codes), p=planted)]
np.put_along_axis(codes, drawn, rng.uniform(0.5, 2.0, drawn.shape), axis=1)

# %%
# Fit, enumerate, sample
# ----------------------
# ``pair_exponent=0`` switches the pairs off: atoms are then independent but for their number.
model = MarkovSupports().fit(codes)
independent = MarkovSupports(pair_exponent=0).fit(codes)
_, law = enumerate_supports(model, 3)
_, law_independent = enumerate_supports(independent, 3)
sampled = GibbsSampler(burn_in=20).sample(model, 20_000, random_state=0)
frequency = (sampled[:, None] == all_supports).all(axis=2).mean(axis=0)

for name, q in (("independent atoms", law_independent), ("pairwise network", law)):
    print(f"KL(planted || {name}) = {np.sum(planted * np.log(planted / q)):.3f} nats")

order = np.argsort(-planted)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(planted[order], "k-", label="planted")
left.plot(law[order], "C0-", label="pairwise network")
left.plot(law_independent[order], "C1--", label="independent atoms")
left.set(xlabel="support, by planted probability", ylabel="probability", title="What the factors catch")
left.legend()

error = 2 * np.sqrt(law * (1 - law) / len(sampled))
right.errorbar(law, frequency, yerr=error, fmt=".", label="20,000 chains, two standard errors")
right.plot([0, law.max()], [0, law.max()], "k-", lw=0.8)
right.set(xlabel="exact probability", ylabel="sampled frequency", title="Gibbs against enumeration")
right.legend()

# %%
# Are the samples new?
# --------------------
# In a small model they cannot be: every likely support is in the data. With 60 atoms, and only 300
# training supports, most drawn supports are.
many = np.zeros((300, 60))
for row in many:
    row[(rng.integers(60) + rng.choice(12, size=5, replace=False)) % 60] = rng.choice([-1, 1], size=5)
model = MarkovSupports().fit(many)
training = model.states_[model.supports_]
new = GibbsSampler().sample(model, 2_000, random_state=0)
print(f"drawn supports that equal a training support: {matching_share(new, training):.1%}")

overlaps = np.bincount(largest_overlaps(new, training), minlength=6) / len(new)
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.bar(range(6), overlaps)
axis.set(xlabel="most atoms shared with a training support, of 5", ylabel="share of samples")
plt.show()
