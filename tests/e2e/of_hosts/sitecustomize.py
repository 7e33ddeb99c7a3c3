"""Loaded by each process of the nodes of `running_hosts`: names of the test's domain, and software that lies.

No machine that runs tests knows the names; nodes find them here, as they would in DNS. An organisation whose daemon
finds its part named in the file `MEDCHAIN_TEST_CARELESS` does not check what it brings (``creator``), endorses
(``independent``) or releases (``custodian``): the others must notice.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_DOMAIN = os.environ.get("MEDCHAIN_TEST_DOMAIN", "")
_CARELESS = os.environ.get("MEDCHAIN_TEST_CARELESS", "")
_ASKED = socket.getaddrinfo


def _getaddrinfo(host: object, *more: object, **named: object) -> object:
    is_ours = isinstance(host, str) and bool(_DOMAIN) and host.endswith(f".{_DOMAIN}")
    return _ASKED("127.0.0.1" if is_ours else host, *more, **named)


def _is_careless(role: str) -> bool:
    return role in Path(_CARELESS).read_text().split()


def _lie() -> None:
    # Of the other processes none has to wait for these.
    from medchain.node import endorse, relying  # noqa: PLC0415  # as said

    checked, relied = endorse.Judge.check, relying.Reliance.check

    def check(self, transaction, own, role, others=None):
        if not _is_careless(role):
            checked(self, transaction, own, role, others)

    def rely(self, ref):
        if not _is_careless("custodian"):
            relied(self, ref)

    endorse.Judge.check, relying.Reliance.check = check, rely


socket.getaddrinfo = _getaddrinfo
if _CARELESS and "medchain.daemon" in sys.orig_argv:
    _lie()
