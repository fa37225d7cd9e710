"""A folder that keeps what long work has done, so that the same work, begun again, goes on from there.

``checkpoint.json`` says what work it is. Each stage has an archive with its state, or a folder of finished
blocks. Every file is written whole or not at all; what is damaged is done again. The process may be killed at
any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numba
import numpy as np
import scipy
import sklearn
from sklearn.base import BaseEstimator

from sparsegen_classic._archive import ArchiveError, open_archive
from sparsegen_classic._blocks import remove_partial, writing_kept
from sparsegen_classic._files import atomic_write, make_folder
from sparsegen_classic._states import Classes, decode, encode, read_state, write_state
from sparsegen_classic._version import __version__

_ABOUT = "checkpoint.json"
_SHARE = 0.05  # of the time may go into saving


class CheckpointError(ValueError):
    """A checkpoint is of other work, in use by another process, or no checkpoint at all."""


class Stages:
    """The stages of a checkpoint in a folder; what workers get of it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the file, or folder, of a stage."""
        return self.folder / name

    def within(self, name: str) -> Stages:
        """Return the stages of a part of the work, in a folder inside."""
        self.path(name).mkdir(exist_ok=True)
        return Stages(self.path(name))

    def remove(self, name: str) -> None:
        """Forget what was saved."""
        self.path(f"{name}.npz").unlink(missing_ok=True)

    def save(self, name: str, state: Any, classes: Classes | None = None) -> None:
        """Keep arrays, numbers, text, lists and dicts of them, and estimators of the classes."""
        arrays: dict[str, np.ndarray] = {}
        node = encode(state, arrays, "state", classes or {})
        with writing_kept(self.path(f"{name}.npz")) as file:
            write_state(file, {"stage": name, "state": node}, arrays, compress=False)

    def load(self, name: str, classes: Classes | None = None) -> Any:
        """Return what was saved; None if nothing was, or, with a warning, if that is damaged."""
        path = self.path(f"{name}.npz")
        if not path.exists():
            return None
        try:
            return load_saved(path, classes)
        except ArchiveError as error:
            warnings.warn(f"{path} is damaged ({error}); what it held is done again", stacklevel=2)
            return None

    def follow(self, name: str, steps: Callable[[Any], Iterable[Any]]) -> None:
        """Go through ``steps(last saved state)`` and save, as often as is cheap, the states that come."""
        last, cost = time.monotonic(), 0.0
        begun = self.load(name)
        following = iter(steps(begun))
        while True:
            try:
                state = next(following, None)
            except Exception as error:  # whatever a foreign state leads to
                if begun is None or isinstance(error, OSError | MemoryError):
                    raise
                raise CheckpointError(
                    f"{self.path(name)}.npz does not lead on ({error}); remove it, and run the same again"
                ) from error
            if state is None:
                return
            begun = None
            start = time.monotonic()
            if start - last > cost / _SHARE:
                self.save(name, state)
                last = time.monotonic()
                cost = last - start

    def learn(self, name: str, learner: Any, X: Any) -> Any:
        """Return the learner fitted to ``X`` step by step, from where that was left, or as it was saved."""
        classes = {type(learner).__name__: type(learner)}
        learned = self.load(name, classes)
        if learned is not None:
            return learned.set_params(n_jobs=learner.n_jobs, verbose=learner.verbose)
        self.follow("steps", lambda state: learner.learn_steps(X, state))
        self.save(name, learner, classes)
        self.remove("steps")
        return learner


class Checkpoint(Stages):
    """The checkpoint of some work in a folder, new or begun before.

    Parameters
    ----------
    folder : path
        Made if it is not there; else it must be empty or hold a checkpoint of the same work.
    work : dict of str to JSON values
        What the work is: its parameters, its data. Versions of the libraries are added. Anything that a
        result could depend on belongs here, and nothing else.

    Raises
    ------
    CheckpointError
        If the folder holds something else, other work, or is in use.
    """

    def __init__(self, folder: str | os.PathLike[str], work: dict[str, Any]):
        super().__init__(make_folder(folder).resolve())
        self._lock = _lock(self.folder)
        try:
            work = json.loads(json.dumps(work | {"version of " + key: value for key, value in _versions()}))
            found = read_work(self.folder)
            if found is None:
                others = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
                if others:
                    raise CheckpointError(
                        f"{self.folder} is no checkpoint, it holds {others[0]}; give a new or an empty folder"
                    )
                with atomic_write(self.folder / _ABOUT, overwrite=True) as file:
                    file.write(json.dumps(work, indent=1).encode())
            elif found != work:
                raise CheckpointError(
                    f"the checkpoint {self.folder} is of other work: {_difference(found, work)}; "
                    "go back to that, or give another folder"
                )
            remove_partial(self.folder)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return Stages, (self.folder,)

    def close(self) -> None:
        """Let other processes use the folder."""
        self._lock.close()


def load_saved(path: str | os.PathLike[str], classes: Classes | None = None) -> Any:
    """Return what :meth:`Checkpoint.save` wrote to a file, or raise an ArchiveError."""
    with open_archive(path) as archive:
        header, arrays = read_state(archive)
        if header.get("stage") != Path(path).stem:
            raise ArchiveError(f"it is of another stage, {header.get('stage')!r:.80}")
        return decode(header["state"], arrays, classes or {})


def describe(value: Any) -> Any:
    """Return a value, or the parameters of an estimator that a result depends on, as JSON can carry them."""
    if isinstance(value, BaseEstimator):
        parameters = sorted(value.get_params(deep=False).items())
        return {"class": type(value).__name__} | {
            name: describe(given) for name, given in parameters if name not in ("n_jobs", "verbose")
        }
    if isinstance(value, np.random.Generator | np.random.RandomState | np.random.SeedSequence):
        return "drawn once"  # what it gave is in the checkpoint
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        content = f"{value.dtype}{value.shape}".encode() + value.tobytes()
        return f"array {hashlib.sha256(content).hexdigest()}"
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def read_work(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what the checkpoint in a folder is of; None if there is none."""
    path = Path(folder) / _ABOUT
    try:
        work = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove the folder to begin anew") from error
    if not isinstance(work, dict):
        raise CheckpointError(f"{path} is no description of work; give another folder")
    return work


def _versions() -> list[tuple[str, str]]:
    """Return the versions that results may depend on in the last bits."""
    libraries = (np, scipy, sklearn, numba)
    return [("sparsegen_classic", __version__), *((one.__name__, one.__version__) for one in libraries)]


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Name the first thing in which two descriptions differ."""
    for key in [*wanted, *found]:
        there, here = (work.get(key, "absent") for work in (found, wanted))
        if isinstance(there, dict) and isinstance(here, dict) and there != here:
            return f"{key}, {_difference(there, here)}"
        if there != here:
            there, here = (it.get("class", "given") if isinstance(it, dict) else it for it in (there, here))
            return f"{key} is {there!r} there and {here!r} here"
    return "nothing"


def _lock(folder: Path) -> IO[bytes]:
    """Return the open lock file of a folder; the system forgets the lock with the process."""
    file = open(folder / ".lock", "wb")  # noqa: SIM115
    try:
        import fcntl
    except ImportError:  # Windows: nobody keeps two processes from one folder
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise CheckpointError(
            f"{folder} is in use by another process; wait for it, or give another folder"
        ) from None
    except OSError:  # a file system without locks
        return file
    return file
