"""How a node's programs start: loaded with the collector off, and only then."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from medchain.node import start

PROGRAM = """
import gc
LOADED_WITH = gc.isenabled()
KEPT = [[] for _ in range(1000)]
def main(arguments):
    frozen = not any(kept is thing for kept in KEPT[:3] for thing in gc.get_objects())
    print(LOADED_WITH, gc.isenabled(), frozen, *arguments)
    return 7
"""


def test_a_program_is_loaded_without_the_collector_and_runs_with_it(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    ran = subprocess.run(
        [sys.executable, "-m", "medchain.node.start", "program", "one", "two"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"},
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("False True True one two\n", "", 7)


@pytest.fixture
def _thawed():
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_thawed")
def test_a_program_that_is_not_there_leaves_the_collector_on():
    with pytest.raises(ModuleNotFoundError):
        start.load("medchain.no_such_program")
    assert gc.isenabled()
