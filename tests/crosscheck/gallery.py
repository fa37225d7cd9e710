"""What the galleries share: a list that layers enter with what they claim and what must be found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Exhibit:
    """A layer, its claim, and the checks that must fail; with ``only`` no others may."""

    name: str
    layer: Any
    constraint: str
    k: Any
    must: frozenset
    only: bool
    options: dict = field(default_factory=dict)


class Gallery(list):
    def shows(self, constraint, k, *must, only=False, **options):
        """Decorate a layer, or the class of one."""

        def enter(layer):
            self.append(Exhibit(layer.__name__, layer, constraint, k, frozenset(must), only, options))
            return layer

        return enter


def largest(keys, k, axis):
    """Mark the k largest along an axis, the earlier among equals."""
    order = np.argsort(-keys, axis=axis, kind="stable")
    marks = np.zeros(keys.shape, bool)
    np.put_along_axis(marks, np.take(order, range(min(k, keys.shape[axis])), axis=axis), True, axis=axis)
    return marks


def keep_rows(x, keys, k):
    """Keep the k largest keys of every sample."""
    rows = largest(keys.reshape(len(x), -1), k, 1).reshape(x.shape)
    return np.where(rows, x, x.dtype.type(0))
