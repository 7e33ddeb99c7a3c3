"""Starts a program of a node: ``python -m medchain.node.start MODULE ARGUMENT…``.

What a program is made of is some hundred thousand objects, made within a second, that stay until it ends. Python's
collector looks through them again and again while they come and finds next to nothing: a fifth of the processor time of
a start. Keeps true: the collector is off while modules are loaded and at no other time; what they have made is not
looked at again, so that a process forked from this one shares it for good. Trusts the module that it is given.
Source: Python's `gc` module.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from types import ModuleType


def load(module: str) -> ModuleType:
    """Import a module that stays, with all that it needs.

    Args:
        module: its name.

    Returns:
        The module.

    Raises:
        ImportError: it, or one that it needs, is not there.
    """
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def main(arguments: list[str]) -> int:
    """Run a program.

    Args:
        arguments: the name of a module whose `main` takes the rest and returns the exit status.

    Returns:
        That status.
    """
    status: int = load(arguments[0]).main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
