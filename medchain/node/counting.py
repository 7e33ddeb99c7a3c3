"""Where a node's processes keep the numbers that they count together: in memory, not on the node's disk.

prometheus_client maps files that have holes. A process that writes to such a page while the disk is full gets SIGBUS
and is gone, and so is the next one in its place: a full disk would end a node that could still read. Keeps true: the
folder is this node's alone, is gone when the node ends, and what a killed node has left goes at its next start. Trusts
the system to have shared memory at `MEMORY`; without it the folder is in the node's own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")  # noqa: S108  # the folder made there has a random name and is its owner's alone
"""Files in memory."""

_NAME: Final = "metrics"
_PREFIX: Final = "medchain-"


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
    try:
        place.symlink_to(tempfile.mkdtemp(prefix=_PREFIX, dir=MEMORY))
    except OSError:
        place.mkdir(mode=0o700)
    try:
        yield place.resolve()
    finally:
        _remove(place)


def _remove(place: Path) -> None:
    """Remove a folder, and where it leads if that is one of ours."""
    if place.is_symlink():
        target = place.readlink()
        if target.parent == MEMORY and target.name.startswith(_PREFIX):
            shutil.rmtree(target, ignore_errors=True)
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)
