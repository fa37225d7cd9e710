"""What learning in steps needs to be stopped after any of them and to go on elsewhere with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from tqdm import tqdm

State = dict[str, Any]  # arrays, ints, floats, None, and dicts of such that JSON can hold
_NO_MATTER = {"max_iter", "random_state", "n_jobs", "verbose", "warm_start"}  # to what a step does


class Run:
    """A fit in steps: what may not change between them, and which attributes of the model do."""

    def __init__(self, model: BaseEstimator, X: Any, names: tuple[str, ...]):
        plain = {
            name: value
            for name, value in model.get_params().items()
            if name not in _NO_MATTER and isinstance(value, bool | int | float | str | None)
        }
        kind = {"class": type(model).__name__, "shape of X": list(X.shape), "dtype of X": str(X.dtype)}
        self.model, self.names, self.about = model, names, plain | kind

    def state(self, **more: Any) -> State:
        """Return the attributes of the model, what else there is, and of which run they are."""
        return {name: getattr(self.model, name) for name in self.names} | more | {"run": self.about}

    def restore(self, state: State) -> None:
        """Give the model the attributes of a state, as copies, if the state is of the same run."""
        about = state.get("run") if isinstance(state, dict) else None
        if not isinstance(about, dict) or not set(self.names) <= state.keys():
            raise ValueError("state must be None or a dict that learn_steps of the same class yielded")
        for name in about.keys() & self.about.keys():
            if about[name] != self.about[name]:
                raise ValueError(
                    f"state is of a run with {name} {about[name]}, but now it is {self.about[name]}; "
                    "go on with the same parameters and data, or start anew with state=None"
                )
        for name in self.names:
            value = state[name]
            setattr(self.model, name, value.copy() if isinstance(value, np.ndarray) else value)


def generator_at(position: Mapping[str, Any]) -> np.random.Generator:
    """Return a generator that goes on from ``rng.bit_generator.state``."""
    rng = np.random.default_rng(0)
    rng.bit_generator.state = position
    return rng


def progress(model: Any, total: int, done: int = 0) -> tqdm:
    """Return a progress bar over steps."""
    name, disable = type(model).__name__, None if model.verbose else True
    return tqdm(total=total, initial=done, desc=name, disable=disable, leave=False)


class Course:
    """Where learning is in its shuffled passes over mini-batches.

    Attributes
    ----------
    position : dict
        Of the random numbers where the running pass begins: its order comes first, and then what is drawn for
        each of its batches.
    batch : int
        How many batches of the pass are done.
    squared_error, weight : float
        Of these batches.
    """

    def __init__(
        self, position: Mapping[str, Any], batch: int = 0, squared_error: float = 0.0, weight: float = 0.0
    ):
        self.position, self.batch, self.squared_error, self.weight = position, batch, squared_error, weight

    def batches(
        self, model: Any, n_samples: int, draw: Callable[[np.random.Generator], Any] = lambda rng: None
    ) -> Iterator[tuple[NDArray[np.intp], Any]]:
        """Yield the indices of each batch that is left, ascending, and what is drawn for it.

        Each has to be recorded before the next is asked for.
        """
        self._n_batches = -(-n_samples // model.batch_size)
        done = model.n_iter_ * self._n_batches + self.batch
        with progress(model, model.max_iter * self._n_batches, done) as bar:
            while model.n_iter_ < model.max_iter:
                self._rng = generator_at(self.position)
                shuffled = np.array_split(self._rng.permutation(n_samples), self._n_batches)
                n_done = self.batch
                for i, rows in enumerate(shuffled):
                    drawn = draw(self._rng)
                    if i >= n_done:
                        yield np.sort(rows), drawn
                        bar.update()

    def record(self, model: Any, squared_error: float, weight: float) -> None:
        """Count a batch; after the last one of a pass, add its error to those of the model."""
        self.batch += 1
        self.squared_error += squared_error
        self.weight += weight
        if self.batch == self._n_batches:
            model.errors_ = np.append(model.errors_, np.sqrt(self.squared_error / self.weight))
            model.n_iter_ += 1
            self.position = self._rng.bit_generator.state
            self.batch, self.squared_error, self.weight = 0, 0.0, 0.0

    def state(self) -> dict[str, Any]:
        """Return the arguments from which to go on."""
        return {name: value for name, value in vars(self).items() if name[0] != "_"}
