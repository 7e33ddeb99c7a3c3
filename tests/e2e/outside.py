"""Clients and tools of others, installed by `tests/clients/build.sh`."""

from __future__ import annotations

import subprocess
from pathlib import Path

STEPS = Path(__file__).resolve().parents[1] / "clients"
"""What the clients do."""

BUILT = STEPS.parents[1] / "var" / "clients"
"""Where they are installed."""


def install_clients() -> None:
    """Install them, or find that they are."""
    done = subprocess.run([STEPS / "build.sh"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
