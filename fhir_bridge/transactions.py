"""The worker process for large batches and transactions, see `medchain.node.jobs`.

Keeps true: it does what a web worker would do with the same request, by the same code. Trusts the web worker for who
sent it.
Source: `docs/adr/0019-jobs-in-processes.md`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from fhir_bridge.mount import make_core
from fhir_bridge.rest.batch import done_in_job
from fhir_bridge.rest.routes import attempt
from fhir_bridge.smart.mount import make_parts
from medchain.crypto.keywrap import KEY_BYTES, SecretBytes
from medchain.encoding import unhex
from medchain.node.assembly import open_web_node, read_genesis
from medchain.node.clock import system_clock
from medchain.node.config import load_config
from medchain.node.jobs import bound, read_secret, serve
from medchain.node.keystore import Layout, Unlock

MODULE: Final = "fhir_bridge.transactions"
"""What a `medchain.node.jobs.JobPool` runs."""


def main(arguments: list[str]) -> int:
    """Do transactions as a worker process.

    Args:
        arguments: path of the configuration.

    Returns:
        0.
    """
    bound()
    halves = Unlock(SecretBytes(unhex(read_secret().decode("ascii"), KEY_BYTES)), None)
    config = load_config(Path(arguments[0]), os.environ, {})
    genesis, _ = read_genesis(Layout(config.folder))
    with open_web_node(config, halves, system_clock) as node:
        core = make_core(node, genesis, make_parts(node, genesis))
        serve(lambda document, content: done_in_job(core, attempt, document, content))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
