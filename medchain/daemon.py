"""The roof over the ledger daemon: ``python -m medchain.daemon NODE.TOML``, started by the supervisor.

Brings the decision from the consent floor down to the node's parts. A roof of its own beside `medchain/app.py`, because
the daemon must not load the web framework.
Source: `docs/architecture.md`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from consent.decision import ConsentDecision
from consent.release import ReleaseRules
from medchain.node.assembly import daemon_parts
from medchain.web.daemon import run


def main(arguments: list[str]) -> int:
    """Run the daemon; the argument is the path of the configuration, the answer the exit status."""
    return run(Path(arguments[0]), lambda node: daemon_parts(node, ConsentDecision(), ReleaseRules()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
