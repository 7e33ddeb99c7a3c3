"""Checks on the project itself: what reviewers would otherwise have to look for."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.children import ends
from tests.conftest import FIRST, GROUPS, pytest_collection_modifyitems

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("medchain", "consent", "fhir_bridge")
TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "benchmarks",
    "consent",
    "docs",
    "fhir_bridge",
    "medchain",
    "pyproject.toml",
    "requirements",
    "sample_data",
    "setup.cfg",
    "tests",
}
# Written in two halves, or this file would find itself.
FOREIGN = [
    first + second
    for first, second in [
        ("../", "shared"),
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("py", "pi.org"),
        ("python", "hosted.org"),
        ("registry.", "npmjs"),
        ("registry.", "yarnpkg"),
        ("proxy.", "golang.org"),
    ]
]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def _tracked() -> list[Path]:
    """Return what git tracks or would with `git add .`, so that a new file is judged before its commit."""
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in sorted(set(listed.split("\0"))) if name and (ROOT / name).is_file()]


def _setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _pyproject() -> dict[str, dict]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _normal(requirement: str) -> str:
    """Return a requirement's project name as PEP 503 normalises it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def _pins(name: str) -> dict[str, tuple[str, list[str]]]:
    """Read a compiled requirements file: project → (version, hashes)."""
    text = (ROOT / "requirements" / name).read_text("utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]
    pins = {}
    for line in lines:
        found = re.fullmatch(r"([a-z0-9.-]+)(?:\[[a-z0-9,-]+\])?==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        assert found, f"{name}: not an exact, hashed pin: {line[:80]}"
        pins[_normal(found[1])] = (found[2], re.findall(r"[0-9a-f]{64}", found[3]))
    return pins


def _python_files() -> list[Path]:
    return [file for file in _tracked() if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in PACKAGES]


def _names(file: str) -> set[str]:
    """Read a requirements/*.in file: the projects asked for."""
    lines = (ROOT / "requirements" / file).read_text("utf-8").splitlines()
    return {_normal(line) for line in lines if line and not line.startswith(("#", "-"))}


def test_ruff_selects_every_rule():
    assert _pyproject()["tool"]["ruff"]["lint"]["select"] == ["ALL"]


def test_every_ignored_rule_stands_alone_with_its_reason():
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    ignored = [line for line in settings.splitlines() if re.match(r'\s+"[A-Z]+\d*",?', line)]
    lint = _pyproject()["tool"]["ruff"]["lint"]
    assert len(ignored) == len(lint["ignore"]) + sum(len(rules) for rules in lint["per-file-ignores"].values())
    assert [line for line in ignored if not re.search(r"# \S+", line)] == []


def test_every_suppression_in_code_has_its_rule_and_its_reason():
    suppressed = re.compile(
        r"# (?:noqa|type: ignore)(?!(?:: [A-Z]+\d+(?:, ?[A-Z]+\d+)*|\[[a-z, -]+\])\s+(?:[#–-] ?)\S)"
    )
    bare = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in _tracked()
        if file.suffix == ".py" and file != Path(__file__)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if suppressed.search(line)
    ]
    assert bare == []


def test_pyproject_holds_the_build_backend_and_ruff_only():
    settings = _pyproject()
    assert set(settings) == {"build-system", "tool"}
    assert set(settings["tool"]) == {"ruff"}


@pytest.mark.parametrize("name", ["base.txt", "dev.txt"])
def test_every_requirement_is_pinned_with_hashes(name):
    pins = _pins(name)
    assert len(pins) > len(_names(name.replace(".txt", ".in")))
    assert all(hashes for _, hashes in pins.values())


def test_running_and_developing_use_the_same_versions():
    assert _pins("base.txt").items() <= _pins("dev.txt").items()


def test_requirements_name_what_setup_cfg_asks_for():
    setup = _setup()
    running = {_normal(line) for line in setup["options"]["install_requires"].split("\n") if line}
    testing = {_normal(line) for line in setup["options.extras_require"]["test"].split("\n") if line}
    # setuptools installs our own package and is no part of it.
    assert _names("base.in") == running | {"setuptools"}
    assert _names("dev.in") == testing


def test_every_package_that_running_needs_has_its_reason_in_the_record_of_dependencies():
    record = (ROOT / "docs/adr/0002-dependencies.md").read_text("utf-8").lower().replace("_", "-").replace(".", "-")
    assert [name for name in [*_pins("base.txt"), *_names("dev.in")] if name not in record] == []


def test_the_top_level_holds_only_what_belongs_there():
    assert {file.relative_to(ROOT).parts[0] for file in _tracked()} <= TOP_LEVEL


def test_no_file_names_a_machine_or_a_package_registry():
    found = [
        f"{file.relative_to(ROOT)}: {text}"
        for file in _tracked()
        for text in FOREIGN
        if text.encode() in file.read_bytes()
    ]
    assert found == []


def test_no_package_re_exports():
    busy = [
        str(file.relative_to(ROOT))
        for file in _python_files()
        if file.name == "__init__.py"
        and not (len(body := ast.parse(file.read_text("utf-8")).body) == 1 and isinstance(body[0], ast.Expr))
    ]
    assert busy == []


def test_no_function_is_longer_than_sixty_lines():
    long = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in _python_files()
        if "versions" not in file.parts  # a migration is a table of columns
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.body[ast.get_docstring(node) is not None and len(node.body) > 1].lineno >= 60
    ]
    assert long == []


def test_no_name_says_nothing():
    empty = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}
    assert [str(file.relative_to(ROOT)) for file in _python_files() if empty & {file.stem, file.parent.name}] == []


def test_the_import_contracts_cover_every_module_of_the_packages():
    layers = set(re.findall(r"[a-z_.]+", _setup()["importlinter:contract:floors"]["layers"]))
    modules = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in _python_files()}
    rooms = {re.sub(r"\.__init__$", "", ".".join(module.split(".")[:2])) for module in modules}
    uncovered = {room for room in rooms if room not in layers and room.split(".")[0] not in layers}
    assert uncovered == {"medchain"}


def test_installing_gives_every_file_of_the_packages_and_the_command(tmp_path):
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    for file in _tracked():
        if file.relative_to(ROOT).parts[0] in {*PACKAGES, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"}:
            (source / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, source / file.relative_to(ROOT))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", wheels, source], check=True, capture_output=True)
    with zipfile.ZipFile(next(wheels.iterdir())) as wheel:
        packed = {name for name in wheel.namelist() if name.split("/")[0] in PACKAGES}
        commands = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("entry_points.txt")]
    ours = {str(file.relative_to(ROOT)) for file in _tracked() if file.relative_to(ROOT).parts[0] in PACKAGES}
    assert packed == ours
    assert [line.strip() for line in commands[0].splitlines() if line] == [
        "[console_scripts]",
        "medchain = medchain.cli:main",
    ]


def test_continuous_integration_runs_make_test():
    commands = [line for line in (ROOT / ".ci/run").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert [line for line in commands if "make" in line.split()] == [line for line in commands if "make test " in line]


def _integrated(folder: Path, recipe: str) -> list[str]:
    """Give the script of continuous integration a project whose `make test` does something."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", folder / ".ci")
    (folder / "Makefile").write_text(f"test:\n\t@{recipe}\n")
    return [str(folder / ".ci/run")]


@pytest.mark.parametrize(("recipe", "status"), [("echo closing", 0), ("echo closing; exit 1", 2)])
def test_continuous_integration_ends_as_make_does_with_the_closing_line(tmp_path, recipe, status):
    done = subprocess.run(
        _integrated(tmp_path, recipe), env=_without_make(), capture_output=True, text=True, check=False, timeout=600
    )
    assert (done.returncode, done.stdout.splitlines()) == (status, ["closing"])


def test_continuous_integration_that_is_stopped_stops_what_it_started(tmp_path):
    words = _integrated(tmp_path, "sleep 600 & echo $$!; wait")
    with subprocess.Popen(words, env=_without_make(), stdout=subprocess.PIPE, text=True) as running:
        sleeper = int(running.stdout.readline())
        running.terminate()
    assert running.returncode == 143
    assert ends(sleeper)


def _without_make() -> dict[str, str]:
    """Return this process's environment without what `make test` tells the makes below it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


@pytest.mark.parametrize(
    ("user", "says", "status", "calls"),
    [
        (
            0,
            "E: Could not get lock /var/lib/apt/lists/lock",
            0,
            ["update", "sleep", "update", "sleep", "update", "install"],
        ),
        (0, "E: Temporary failure resolving", 0, ["update", "install"]),
        (1000, "", 1, []),
    ],
)
def test_packages_are_installed_after_whoever_else_installs_some(tmp_path, user, says, status, calls):
    programs = {
        "apt-get": f"""case "$*" in
            *DPkg::Lock::Timeout=300*install*jq) echo install >>calls ;;
            *) echo update >>calls; test "$(grep -c update calls)" -gt 2 || {{ echo "{says}" >&2; exit 100; }} ;;
        esac""",
        "id": f"echo {user}",
        "sleep": "echo sleep >>calls",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    (tmp_path / "calls").touch()
    done = subprocess.run([ROOT / "tests/debian.sh", "jq"], cwd=tmp_path, env=environment, check=False, timeout=60)
    assert (done.returncode, (tmp_path / "calls").read_text().split()) == (status, calls)


@pytest.mark.parametrize("target", ["help", "demo", "test", "check", "soak", "clean"])
def test_make_has_the_target(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_programs_that_make_starts_write_the_bytecode_that_the_next_ones_load():
    shown = 'shown:\n\t@echo "[$$PYTHONDONTWRITEBYTECODE]"'
    environment = _without_make() | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["make", "--eval", shown, "shown"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert done.stdout.splitlines() == ["[]"]


def _suite(folder: Path, test: str, *words: str, settings: str = "") -> subprocess.CompletedProcess[str]:
    """Run a suite of one test file in a process of its own, with our conftest.py."""
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests/conftest.py", folder / "tests")
    (folder / "setup.cfg").write_text(settings)
    (folder / "tests/test_part.py").write_text(test)
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", "pythonpath=."]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    return subprocess.run(
        [*run, *words, "tests"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("floor", "status", "closing"), [("60", 0, "1 passed in"), ("90", 1, "1 passed, 1 coverage floor missed in")]
)
def test_a_run_below_its_coverage_floor_fails_and_its_closing_line_says_so(tmp_path, workers, floor, status, closing):
    settings = f"[coverage:run]\nbranch = true\nsource = .\n[floors]\ncore = {floor} part.py\n"
    # Four statements, three of them run; two branches, one of them taken: 4 of 6.
    (tmp_path / "part.py").write_text("def choose(x):\n    if x:\n        return 1\n    return 2\n")
    test = "from part import choose\ndef test_it():\n    assert choose(1) == 1\n"
    words = ("-n", workers, "--cov", "--cov-report=", "--floors", "core")
    done = _suite(tmp_path, test, *words, settings=settings)
    assert done.returncode == status, done.stdout + done.stderr
    assert closing in done.stdout.splitlines()[-1]
    assert ("coverage of core: 66.67 %, floor 90 %" in done.stdout) == (status == 1)


def test_a_run_of_which_a_worker_died_fails_though_all_tests_passed(tmp_path):
    # It dies after its last test, when xdist misses none.
    plugin = "import os\ndef pytest_sessionfinish(session):\n    if hasattr(session.config, 'workerinput'):\n"
    (tmp_path / "dies.py").write_text(f"{plugin}        os.kill(os.getpid(), 9)\n")
    words = ("-p", "dies", "-n", "1", "--max-worker-restart", "0")
    done = _suite(tmp_path, "def test_it():\n    pass\n", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed, 1 worker lost in" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("workers", ["0", "1"])
def test_programs_that_tests_start_write_the_bytecode_that_the_next_ones_load(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "part.py").touch()
    started = "subprocess.run([sys.executable, '-c', 'import part'], check=True)"
    done = _suite(tmp_path, f"import subprocess, sys\ndef test_it():\n    {started}\n", "-n", workers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "__pycache__").glob("part.*.pyc"))


def test_what_takes_minutes_comes_before_all_others_and_keeps_its_order():
    others = ["tests/interop/test_vectors.py::test_b", "tests/unit/test_app.py::test_a"]
    first = [f"{start}::{test}" for start in FIRST for test in ("test_b", "test_a")]
    items = [SimpleNamespace(nodeid=name) for name in (others[0], *first[2:], others[1], *first[:2])]
    pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == [*first, *others]
    assert all((ROOT / start).exists() for start in FIRST)


def test_decision_records_are_numbered_in_sequence():
    names = sorted(file.name for file in (ROOT / "docs/adr").iterdir())
    assert names[0] == "0001-layout-and-tools.md"
    assert [re.match(r"(\d{4})-[a-z0-9-]+\.md$", name)[1] for name in names] == [
        f"{number:04}" for number in range(1, len(names) + 1)
    ]


@pytest.mark.parametrize("record", sorted((ROOT / "docs/adr").glob("*.md")), ids=lambda record: record.stem)
def test_a_decision_record_has_its_five_headings(record):
    headings = re.findall(r"^## (.+)$", record.read_text("utf-8"), re.MULTILINE)
    assert headings == ["Context", "Options", "Decision", "Consequences", "Status"]


def test_the_glossary_gives_each_term_once_in_both_languages_with_its_meaning():
    lines = (ROOT / "docs/glossary.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    terms = [row for row in rows if row[0] != "term"]
    assert len(terms) >= 60
    assert [row for row in terms if len(row) != 3 or not CHINESE.search(row[1]) or not row[2].endswith(".")] == []
    assert [row[0].lower() for row in terms] == sorted({row[0].lower() for row in terms})


def test_every_relative_link_in_the_documents_leads_somewhere():
    broken = [
        f"{file.relative_to(ROOT)}: {link}"
        for file in _tracked()
        if file.suffix == ".md" and "vectors" not in file.parts
        for link in re.findall(r"\]\(([^)#\s]+)", file.read_text("utf-8"))
        if "://" not in link and not link.startswith("mailto:") and not (file.parent / link).exists()
    ]
    assert broken == []


def test_the_changelog_speaks_of_the_version_in_setup_cfg():
    version = re.escape(_setup()["metadata"]["version"])
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" or re.fullmatch(version, headings[0])


def test_who_needs_the_running_demo_or_a_browser_runs_beside_no_other_and_before_the_demo_is_ended():
    """Another worker would start a second demo; after `test_demo`, which ends it, there would be none."""
    demo = sorted(GROUPS["demo"])
    for path in sorted((ROOT / "tests" / "e2e").glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        made = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        uses_demo = any(argument.arg == "demo" for node in made for argument in node.args.args)
        if uses_demo or "tests.e2e.browser" in text:
            assert path.stem in demo
        if uses_demo:
            assert path.stem <= "test_demo"
