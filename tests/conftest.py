"""What all tests share: hypothesis profiles and the coverage floors.

`--floors core,rest` makes the run fail when the coverage of a group in setup.cfg's section `floors` is too low. It is
done here, not after pytest, so that pytest's closing line and exit status are those of the whole run.
"""

from __future__ import annotations

import configparser
import io
import types
from collections.abc import Generator
from pathlib import Path

import coverage
import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
_LINES = pytest.StashKey[list[str]]()

# Derandomised: a change is judged by the same examples everywhere; `make soak` looks for new ones.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--floors`, and the data of others that tests can be given."""
    parser.addoption("--floors", default="", help="comma-separated groups of setup.cfg's [floors] to enforce")
    parser.addoption("--fhir-examples", default="", help="HL7's R4 examples, a folder or archive, instead of a choice")
    parser.addoption("--synthea", default="", help="folder of Synthea's FHIR bundles, instead of our own sample data")


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
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which files are below their floor, in the closing line too."""
    lines = config.stash.get(_LINES, [])
    for line in lines:
        terminalreporter.write_line(line, red=True)
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
