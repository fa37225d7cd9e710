"""Reading files that wish us ill: what may happen, and a watch over what must not."""

import os
import resource
import signal
import sys
import warnings
from contextlib import contextmanager

import numpy as np

SECONDS, MEGABYTES = 20, 1500  # what reading a small damaged file may cost at the very most
_FORBIDDEN = ("pickle.find_class", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork")
_FORBIDDEN += ("socket.", "os.remove", "os.rename", "shutil.", "urllib.", "ctypes.dlopen")
_watched = []  # of the file that is being read, what it made Python do, and the folder that is its own


def _audit(event, arguments):
    if _watched and (event.startswith(_FORBIDDEN) or (event == "open" and "w" in str(arguments[1]))):
        events, own = _watched[0]
        places = [place for place in arguments[: 1 if event == "open" else 2] if not isinstance(place, int)]
        if event not in ("open", "os.remove", "os.rename") or not all(
            os.fsdecode(place).startswith(f"{own}/") for place in places
        ):
            events.append((event, arguments))


sys.addaudithook(_audit)


@contextmanager
def watch(own=None):
    """Yield a list of programs run, sockets, writes and pickles; fail at a hang or if memory is eaten.

    In the folder ``own`` files may be written, renamed and removed.
    """
    events = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _watched.append((events, own))
    old = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield events
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        _watched.clear()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES, f"memory grew by {grown:.0f} MB"


def _too_long(signum, frame):
    raise AssertionError(f"no answer within {SECONDS} s")


def outcome(path, load, use, errors=ValueError, named=True):
    """Return "refused" if ``load(path)`` gives a clear error, else what ``use`` makes of it, as bytes.

    Anything else, an error of another kind or, if ``named``, one without the name of the file, is raised.
    """
    with watch(path if path.is_dir() else None) as events:
        try:
            loaded = load(path)
        except errors as error:
            message = str(error)
        else:
            message = ""
        assert not events, events
        if not message:
            return print_of(use(loaded))
    assert path.name in message or not named, f"the error does not name the file: {message}"
    assert len(message) < 1000 or not named, "the error is longer than anybody reads"
    return "refused"


def print_of(value):
    """Return bytes that tell results apart."""
    if isinstance(value, list | tuple):
        return b"|".join(print_of(item) for item in value)
    if hasattr(value, "toarray"):
        value = value.toarray()
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()


class Tally:
    """Counts of what became of mutated files, and the failures."""

    def __init__(self):
        self.refused = self.same = self.other = 0
        self.failures = []

    def __repr__(self):
        total = self.refused + self.same + self.other + len(self.failures)
        return (
            f"{total} files: {self.refused} refused, {self.same} as before, {self.other} another valid "
            f"content, {len(self.failures)} failures"
        )

    def judge(self, path, load, use, expected, may_differ, what, errors=ValueError, named=True):
        """Read one mutated file; ``may_differ`` if it was made a valid file with other content."""
        try:
            found = outcome(path, load, use, errors, named)
        except Exception as error:
            self.failures.append((what, f"{type(error).__name__}: {error}"))
            return
        if found == "refused":
            self.refused += 1
        elif found == expected:
            self.same += 1
        elif may_differ:
            self.other += 1
        else:
            self.failures.append((what, "it loads as something else"))
