"""Slow oracles for the support model, by definition: loops over supports, atoms and pairs."""

import math
from itertools import combinations

import numpy as np

from sparsegen_classic.support import PairwiseSupports, enumerate_supports


def codes_of(supports, n_components):
    """Codes with a 1 for every atom of every support, given as digits ("012") or integers."""
    X = np.zeros((len(supports), n_components))
    for row, support in zip(X, supports, strict=True):
        row[[int(atom) for atom in support]] = 1
    return X


def naive_factors(supports, n_states, n_components, smoothing, exponent):
    """log p_m and exponent * log R_ml from a list of supports (sets of states of the doubled dictionary)."""
    total = sum(len(support) for support in supports)
    pairs = sum(len(support) * (len(support) - 1) for support in supports)
    theta, table = np.full(n_states, -np.inf), np.full((n_states, n_states), -np.inf)
    uses = [sum(m in support for support in supports) for m in range(n_states)]
    for m in range(n_states):
        if uses[m]:
            theta[m] = math.log(uses[m] / total)
        for other in range(n_states):
            if m % n_components == other % n_components or not (uses[m] and uses[other]):
                continue
            both = sum(m in support and other in support for support in supports)
            expected = uses[m] * uses[other] * pairs / total**2
            if both + smoothing > 0:
                table[m, other] = exponent * math.log((both + smoothing) / (expected + smoothing))
    return theta, table


def naive_law(theta, table, size):
    """Every support of ``size`` states (tuples) and its probability."""
    supports = list(combinations(range(len(theta)), size))
    weights = [
        math.exp(sum(theta[m] for m in a) + sum(table[m, other] for m, other in combinations(a, 2)))
        for a in supports
    ]
    return supports, np.array(weights) / sum(weights)


def naive_gibbs(theta, table, support, uniforms, random_scan):
    """One chain: a site from the integer part of u * size, a state from the rest by the inverse CDF."""
    support = list(support)
    for flip, u in enumerate(uniforms):
        site = flip % len(support)
        if random_scan:
            site = int(u * len(support))
            u = u * len(support) - site
        rest = support[:site] + support[site + 1 :]
        fields = [theta[m] + sum(table[other, m] for other in rest) for m in range(len(theta))]
        weights = [math.exp(field - max(fields)) for field in fields]
        remaining = u * sum(weights)
        for m, weight in enumerate(weights):  # noqa: B007
            remaining -= weight
            if remaining < 0:
                break
        support[site] = m
    return support


def naive_conditional(theta, table, given):
    """P(next atom | given)."""
    fields = [theta[m] + sum(table[m, other] for other in given) for m in range(len(theta))]
    weights = np.array([math.exp(field) for field in fields])
    return weights / weights.sum()


def inclusion(supports, probabilities, n_states):
    """P(m in support) for every state."""
    law = list(zip(supports, probabilities, strict=True))
    return np.array([sum(p for a, p in law if m in a) for m in range(n_states)])


def planted(seed, n_states, scale=1.0):
    """A pairwise model with Gaussian factors."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(n_states, n_states)) * scale
    return PairwiseSupports(rng.normal(size=n_states) * scale / 2, (table + table.T) / 2)


def boltzmann_machine():
    """The four units of check C9.2, as a pairwise model."""
    table = np.zeros((4, 4))
    table[np.triu_indices(4, 1)] = [0.5, -0.3, 0.2, 0.8, -0.6, 0.4]
    return PairwiseSupports([-0.5, 0.1, 0.3, -0.2], table + table.T)


def draw_rows(supports, law, n, seed):
    """``n`` supports drawn from an exact law."""
    return supports[np.random.default_rng(seed).choice(len(law), n, p=law)]


def divergence(law, factors, size):
    """KL(law || pairwise model with these factors) over the supports of one size, in nats."""
    fitted = enumerate_supports(PairwiseSupports(*factors), size)[1]
    used = law > 0
    return float((law[used] * np.log(law[used] / fitted[used])).sum())
