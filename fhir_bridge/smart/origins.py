"""Where a node is reached: its origins, the base URLs of its API, and the names that its pages bear.

Keeps true: addresses come from the ledger and the configuration, never from a request. Trusts the daemon of this node.
Source: `docs/spec/smart.md`.
"""

from __future__ import annotations

import time
from typing import Final

from fhir_bridge.references import API
from medchain.encoding import members
from medchain.errors import MedchainError
from medchain.ledger.genesis import Genesis
from medchain.node.assembly import WebNode
from medchain.node.directory import MEMBER_KEYS
from medchain.node.peers import Limits
from medchain.web.pages import LANGUAGES

_LIMITS: Final = Limits(timeout_s=2.0)
_REMEMBER_S: Final = 1.0


class OwnOrigins:
    """The addresses at which systems and browsers reach this node, the one that they are told first. Threads share it.

    They come from the ledger and the configuration, never from a request: an assertion that was made for another server
    must not count here because somebody names that server in a header. The ledger's are asked of the daemon, since an
    organisation may have joined after the genesis, or have moved; until it first answers, the genesis' count.
    """

    __slots__ = ("_asked", "_listed", "_node")

    def __init__(self, node: WebNode, genesis: Genesis) -> None:
        """Start with what the genesis says."""
        founder = genesis.members.organisations.get(node.config.org_id)
        self._node = node
        self._listed = () if founder is None else founder.origins
        self._asked = -_REMEMBER_S

    def __call__(self) -> tuple[str, ...]:
        """List them, as of a second ago at most; while the daemon does not answer, as it answered last."""
        now = time.monotonic()
        if now - self._asked >= _REMEMBER_S:
            self._asked = now
            self._ask()
        config = self._node.config
        scheme = "http" if config.web_tls is None else "https"
        host = f"[{config.web_listen.host}]" if ":" in config.web_listen.host else config.web_listen.host
        chosen = (config.web_origin,) if config.web_origin else ()
        return tuple(dict.fromkeys((*chosen, *self._listed, f"{scheme}://{host}:{config.web_listen.port}")))

    def _ask(self) -> None:
        """Ask the daemon; it answers nothing of an organisation that its copy of the ledger does not name yet."""
        try:
            answer = self._node.local.call(MEMBER_KEYS, {"org_id": self._node.config.org_id}, _LIMITS)
            rows = members(answer, {"keys": list, "origins": list})["origins"]
        except MedchainError:
            return
        if isinstance(rows, list) and rows:
            self._listed = tuple(str(row) for row in rows)


def public_origins(node: WebNode, genesis: Genesis) -> tuple[str, ...]:
    """List the addresses at which systems and browsers reach this node now, see `OwnOrigins`."""
    return OwnOrigins(node, genesis)()


def own_names(node: WebNode, genesis: Genesis) -> tuple[str, str]:
    """Return how the organisation is named on its pages, one name for each of `LANGUAGES`."""
    organisation = genesis.members.organisations.get(node.config.org_id)
    # The ledger asks no member for a name in each language.
    given = {} if organisation is None else organisation.name
    first, second = (str(given.get(one) or next(iter(given.values()), node.config.org_id)) for one in LANGUAGES)
    return first, second


def api_bases(node: WebNode, genesis: Genesis) -> frozenset[str]:
    """List the base URLs of this node's API, without a slash at the end."""
    return frozenset(origin + API for origin in public_origins(node, genesis))
