"""The worker process for large batches and transactions, see `medchain.node.jobs`.

Keeps true: it does what a web worker would do with the same request, by the same code. Trusts the web worker for who
sent it.
Source: `docs/adr/0019-jobs-in-processes.md`, `docs/adr/0032-job-processes-are-forked.md`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from fhir_bridge.mount import make_core
from fhir_bridge.rest.batch import done_in_job
from fhir_bridge.rest.routes import attempt
from fhir_bridge.search import indexer
from fhir_bridge.smart.mount import make_parts
from fhir_bridge.validation import check
from medchain.crypto.keywrap import KEY_BYTES, SecretBytes
from medchain.encoding import unhex
from medchain.node.assembly import open_web_node, read_genesis
from medchain.node.clock import system_clock
from medchain.node.config import load_config
from medchain.node.jobs import bound, read_secret, serve
from medchain.node.keystore import Layout, Unlock
from medchain.store import versions


def prepare() -> Iterator[None]:
    """Make in the process that others are forked from what each of them would make for itself, step by step."""
    return chain(versions.prepare(), check.prepare(), indexer.prepare())


def main(arguments: list[str]) -> int:
    """Do transactions as a worker process, forked by a `medchain.node.fork_server`.

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
        serve(
            lambda document, content: done_in_job(core, attempt, document, content), node.records.database.forget_pages
        )
    return 0
