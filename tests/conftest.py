"""What all tests share: hypothesis profiles, the coverage floors, and what runs beside what on several cores.

`--floors core,rest` makes the run fail when the coverage of a group in setup.cfg's section `floors` is too low. It is
done here, not after pytest, so that pytest's closing line and exit status are those of the whole run.

With `-n` the tests of one file stay together, in their order, and so do those of one group of `GROUPS`. What takes
minutes comes first (`FIRST`): in the end no worker waits for another one's long file.
"""

from __future__ import annotations

import configparser
import io
import os
import types
from collections.abc import Generator
from pathlib import Path

import coverage
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

ROOT = Path(__file__).resolve().parent.parent
_LINES = pytest.StashKey[list[str]]()
_LOST = pytest.StashKey[list[str]]()

GROUPS = {
    # One demo for all, and one browser at a time: a second one beside it makes its driver fail on a small machine. Who
    # needs a running demo comes before `test_demo`, which ends it: files run in the order of their names.
    "demo": (
        "test_across_hosts",
        "test_browse_browser",
        "test_browser_of_claims",
        "test_browser_of_patients",
        "test_browser_of_visitors",
        "test_c2sp_tools",
        "test_counter",
        "test_demo",
        "test_smart_browser",
        "test_stories",
        "test_verify_page",
    ),
    # One node for all.
    "node": ("test_clients", "test_faults", "test_rest_conformance", "test_search_conformance", "test_surface"),
}
"""Files of `tests/e2e` that run one after the other."""

FIRST = ("tests/e2e/", "tests/unit/test_consortium.py")
"""How the names of those begin that come before all others, in their order."""

_GROUP_OF = {f"tests/e2e/{file}.py": group for group, files in GROUPS.items() for file in files}

# Derandomised: a change is judged by the same examples everywhere; `make soak` looks for new ones, and for more
# (`tests.tries` where their number is a test's own). How long it takes to draw an example, or to try it, tells how busy
# the machine is.
BY_NO_CLOCK = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("default", derandomize=True, **BY_NO_CLOCK)
hypothesis.settings.register_profile("soak", max_examples=5000, **BY_NO_CLOCK)
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--floors` and `--leftovers`, and the data of others that tests can be given."""
    parser.addoption("--floors", default="", help="comma-separated groups of setup.cfg's [floors] to enforce")
    parser.addoption(
        "--leftovers", action="store_true", help="fail each file of unit tests that leaves threads, processes, settings"
    )
    parser.addoption("--fhir-examples", default="", help="HL7's R4 examples, a folder or archive, instead of a choice")
    parser.addoption("--synthea", default="", help="folder of Synthea's FHIR bundles, instead of our own sample data")


def pytest_configure() -> None:
    """Have the many processes that tests start find the bytecode of those before, whatever the environment asks for."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of `FIRST` before all others."""
    items.sort(key=lambda item: [not item.nodeid.startswith(start) for start in FIRST])


class FileScheduling(LoadScopeScheduling):
    """Gives each worker the files, or groups of files, in the order in which they stand."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        """Keep that order."""
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _GROUP_OF.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileScheduling:
    """Have it so with any `-n`: what a test file needs is made once for its tests, which may go by their order."""
    return FileScheduling(config, log)


def pytest_testnodedown(node: WorkerController, error: object) -> None:
    """Note a worker that died, which xdist alone takes for no failure if it died between two tests."""
    if error:
        node.config.stash.setdefault(_LOST, []).append(f"worker {node.gateway.id} died: {error}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Judge the floors once pytest-cov, which this wraps, has combined and saved its data."""
    result = yield
    names = [name for name in session.config.getoption("--floors").split(",") if name]
    on_worker = hasattr(session.config, "workerinput")
    if names and not on_worker and not session.config.option.collectonly:
        lines = [line for name in names for line in _shortfall(name)]
        session.config.stash[_LINES] = lines
        session.testsfailed += bool(lines)
    session.testsfailed += len(session.config.stash.get(_LOST, []))
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which files are below their floor and which workers died, in the closing line too."""
    lines, lost = config.stash.get(_LINES, []), config.stash.get(_LOST, [])
    for line in (*lines, *lost):
        terminalreporter.write_line(line, red=True)
    if lost:
        terminalreporter.stats["worker lost"] = [types.SimpleNamespace() for _ in lost]
    missed = [types.SimpleNamespace() for line in lines if line.startswith("coverage of ")]
    if missed:
        terminalreporter.stats["coverage floor missed"] = missed


def _shortfall(name: str) -> list[str]:
    """Measure one group; return what to report if it is below its floor, nothing otherwise."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    percent, *files = settings["floors"][name].split()
    # A file counts in the first group that names it.
    groups = list(settings["floors"])
    earlier = [file for group in groups[: groups.index(name)] for file in settings["floors"][group].split()[1:]]
    measured = coverage.Coverage(config_file=str(ROOT / "setup.cfg"), data_file=str(ROOT / ".coverage"))
    measured.load()
    report = io.StringIO()
    try:
        total = measured.report(include=files, omit=earlier or None, file=report)
    except coverage.exceptions.NoDataError:
        return []
    if total >= float(percent):
        return []
    return [f"coverage of {name}: {total:.2f} %, floor {percent} %", *report.getvalue().splitlines()]
