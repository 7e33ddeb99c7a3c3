"""Where a node's processes keep the numbers that they count together: in memory, not on the node's disk.

prometheus_client maps files that have holes. A process that writes to such a page while the disk is full gets SIGBUS
and is gone, and so is the next one in its place: a full disk would end a node that could still read. Keeps true: the
folder is this node's alone and is gone when the node ends; what a killed node has left goes at the next start of any
node of the same user, who knows it by the lock that nobody holds. Trusts the system to have shared memory at `MEMORY`;
without it the folder is in the node's own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")  # noqa: S108  # the folder made there has a random name and is its owner's alone
"""Files in memory."""

_NAME: Final = "metrics"
_PREFIX: Final = "medchain-"
_LOCK: Final = "lock"


@contextmanager
def counting_folder(run: Path) -> Iterator[Path]:
    """Give an empty folder for as long as a node runs.

    Args:
        run: the node's folder of what lives only while it runs.

    Yields:
        The folder.
    """
    place = run / _NAME
    _remove(place)
    _sweep()
    with ExitStack() as held:
        held.callback(_remove, place)
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=MEMORY))
            _lock(folder, held)
            place.symlink_to(folder)
        except OSError:
            place.mkdir(mode=0o700)
        yield place.resolve()


def _lock(folder: Path, held: ExitStack) -> None:
    """Hold a folder's lock for as long as this process lives; it gets its name when it is held."""
    file = held.enter_context(folder.joinpath(_LOCK + ".new").open("wb"))
    fcntl.flock(file, fcntl.LOCK_EX)
    folder.joinpath(_LOCK + ".new").rename(folder / _LOCK)


def _sweep() -> None:
    """Remove folders whose lock nobody holds: their nodes were killed."""
    for lock in MEMORY.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            if lock.parent.lstat().st_uid != os.getuid():
                # Anybody may put anything there: a pipe, say, that no reader comes back from.
                continue
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent)
        except OSError:
            # Somebody counts there.
            continue


def _remove(place: Path) -> None:
    """Remove a folder, and where it leads if that is one of ours."""
    if place.is_symlink():
        target = place.readlink()
        if target.parent == MEMORY and target.name.startswith(_PREFIX):
            shutil.rmtree(target, ignore_errors=True)
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)
