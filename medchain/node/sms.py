"""Letters by short message: each is given to a program of the organisation's, which knows a gateway.

The program is started for each message, with the number in the first line of standard input and the text after it, and
says by its exit status what became of it. Keeps true: number and text are on no command line and in no environment,
which others on the machine can read; the program is given nothing of the node's environment, and is ended where it does
not end by itself; what it prints is kept nowhere. Trusts the program for a message that it took, and whoever may write
it (`medchain.node.config` lets nobody else).
Source: sysexits.h; ITU-T E.164; `docs/spec/notice.md` 11; `docs/operations.md`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Final

from medchain.errors import UnavailableError
from medchain.node.contact_address import SMS, phone_number
from medchain.node.letters import Letter

TIMEOUT_S: Final = 30.0
"""How long the program may take for a message."""

REFUSED: Final = frozenset({65, 67})
"""Exit statuses with which it says that this number does not take messages: ``EX_DATAERR``, ``EX_NOUSER``."""

_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}


class CommandChannel:
    """Sends letters by a program (`medchain.node.dispatching.Channel`)."""

    __slots__ = ("_program",)

    name: Final = SMS

    def __init__(self, program: Path) -> None:
        """Prepare.

        Args:
            program: absolute path.
        """
        self._program = program

    def send(self, address: str, letter: Letter) -> bool:
        """Give a letter to the program.

        Args:
            address: telephone number of who gets it.
            letter: what is sent; its short text.

        Returns:
            Whether the program took it; not so where it says that this number does not.

        Raises:
            UnavailableError: ``sms.program`` where it cannot be started, ``sms.timeout``, ``sms.failed``.
            InputError: ``contact.sms``.
        """
        status = self._run(f"{phone_number(address)}\n{letter.short}\n".encode())
        if status != 0 and status not in REFUSED:
            raise UnavailableError("sms.failed", status=status)
        return status == 0

    def _run(self, given: bytes) -> int:
        """Run the program to its end; returns its exit status."""
        try:
            running = subprocess.Popen(  # noqa: S603  # the program that the configuration names, no shell
                [self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError("sms.program") from error
        with running:
            try:
                running.communicate(given, TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                # What it has started ends with it: the group is its own.
                os.killpg(running.pid, signal.SIGKILL)
                raise UnavailableError("sms.timeout") from error
        return running.returncode
