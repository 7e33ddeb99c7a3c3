"""The command line as a whole: help, languages, errors and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import string
import subprocess
import sys
from pathlib import Path

import pytest

from medchain import errors
from medchain.cli import main, make_parser, run
from medchain.commands import error_texts, messages, proposal_texts, witnessing_texts
from medchain.commands.command import Command, Context, Exit, Text, visible
from medchain.commands.registry import GROUPS, MODULES, load_commands

COMMANDS = load_commands()
NAMES = [" ".join(command.path) for command in COMMANDS]
PAGE = Path(__file__).parents[4] / "docs" / "commands.md"
NOTHING = Text("无", "nothing")


def texts() -> dict[str, Text]:
    found = {name: value for name, value in vars(messages).items() if isinstance(value, Text)}
    for more in (proposal_texts, witnessing_texts):
        found |= {name: value for name, value in vars(more).items() if isinstance(value, Text)}
    worded = (proposal_texts.STATES, proposal_texts.DECISIONS, proposal_texts.FIELDS, proposal_texts.ROLES)
    for table in (error_texts.ERRORS, messages.DOCTOR_CHECKS, *worded):
        found |= dict(table)
    return found | {kind.__name__: text for kind, text in error_texts.ERROR_KINDS.items()}


def fields(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def broken(error: BaseException, *, as_json: bool = False, language: str = "en") -> tuple[int, str]:
    """Run a command that raises; returns exit code and what was said."""

    def fail(_context: Context) -> int:
        raise error

    arguments = make_parser("en", COMMANDS).parse_args(["status"])
    err = io.StringIO()
    context = Context(arguments, language, as_json, io.StringIO(), err, lambda: 0, {})
    return run(Command(("x",), NOTHING, NOTHING, fail), context), err.getvalue()


def test_what_a_command_starts_leaves_no_memory_on_the_disk_when_it_crashes():
    """A file of a crashed process would hold keys and records in clear."""
    limits = "import resource; print(*resource.getrlimit(resource.RLIMIT_CORE))"

    def show(context: Context) -> int:
        ran = subprocess.run([sys.executable, "-c", limits], check=True, capture_output=True, text=True)
        context.out.write(ran.stdout)
        return Exit.DONE

    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        out = io.StringIO()
        arguments = make_parser("en", COMMANDS).parse_args(["status"])
        context = Context(arguments, "en", as_json=False, out=out, err=io.StringIO(), clock=lambda: 0, environment={})
        assert run(Command(("x",), NOTHING, NOTHING, show), context) == Exit.DONE
        assert out.getvalue().split() == ["0", str(before[1])]
        # It is the command's own: what called it goes on as it was.
        assert resource.getrlimit(resource.RLIMIT_CORE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.parametrize("name", texts())
def test_a_text_says_the_same_in_both_languages(name):
    text = texts()[name]
    assert fields(text.zh) == fields(text.en)
    assert text.zh.strip()
    assert text.en.strip()
    assert text.en.isascii() or name in ("TOP_EXAMPLES", "INIT_EXAMPLES", "START_EXAMPLES"), text.en


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_with_an_example(name, language, capsys):
    assert main([*name.split(), "--help", "--lang", language], {}) == 0
    shown = capsys.readouterr().out
    assert f"medchain {name}" in shown.split(":\n", 1)[1]


@pytest.mark.parametrize("path", [command.path for command in COMMANDS], ids=NAMES)
def test_the_page_of_commands_names_it(path):
    # `record show`, `history`, `prove`: a row names the group once.
    rows = [line.split("|")[1] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    named = [row for row in rows if f"`{path[0]}" in row]
    assert any(re.search(rf"`(\w+ )?{path[-1]}[ `]", row) for row in named)


def test_each_group_has_a_command():
    assert {group.name for group in GROUPS} == {command.path[0] for command in COMMANDS if len(command.path) > 1}


def test_the_table_of_modules_names_every_command_and_loads_no_more_than_one_needs():
    assert set(MODULES) == {command.path[0] for command in COMMANDS}
    for word in MODULES:
        assert load_commands(word) == tuple(command for command in COMMANDS if command.path[0] == word)


@pytest.mark.parametrize("words", [("verify",), ("node", "run")])
def test_a_call_loads_what_its_command_needs_and_no_more(words):
    code = "import sys\nfrom medchain.cli import main\nmain(sys.argv[1:])\nprint(*sys.modules)"
    # Our own interpreter and words.
    ran = subprocess.run([sys.executable, "-c", code, *words, "--help"], capture_output=True, check=True)
    loaded = ran.stdout.decode().splitlines()[-1].split()
    assert not {"flask", "sqlalchemy", "fhir", "pydantic", "granian"} & set(loaded)


@pytest.mark.parametrize(
    ("words", "environment", "chinese"),
    [
        ([], {"LANG": "zh_CN.UTF-8"}, True),
        ([], {"LANG": "en_GB.UTF-8"}, False),
        ([], {"LANG": "C"}, False),
        ([], {}, False),
        ([], {"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, False),
        (["--lang", "zh"], {"LANG": "en_GB"}, True),
        (["--lang=en"], {"LANG": "zh_CN"}, False),
    ],
)
def test_the_language_is_that_of_the_flag_or_of_the_system(run, words, environment, chinese, tmp_path):
    ran = run(*words, "config", "check", "--config", tmp_path / "none.toml", **environment)
    assert ("错误" in ran.out) is chinese


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.VerificationError("a.b"), 1),
        (errors.InputError("a.b"), 2),
        (errors.NotFoundError("a.b"), 4),
        (errors.AccessDeniedError("a.b"), 5),
        (errors.ConflictError("a.b", version=3), 6),
        (errors.UnavailableError("a.b"), 7),
    ],
)
def test_an_error_is_one_line_with_its_code_and_the_exit_code_of_its_class(error, code):
    for language in ("zh", "en"):
        exit_code, said = broken(error, language=language)
        assert exit_code == code
        assert said.count("\n") == 1
        assert "(a.b" in said
        assert "Traceback" not in said
    assert ("version=3" in said) is (code == 6)


def test_with_json_the_mistakes_of_a_configuration_are_a_document(run, tmp_path):
    (tmp_path / "node.toml").write_text("[web]\nworkers = 0\n")
    for words in (("status",), ("import", tmp_path), ("log", "mirror", tmp_path / "m")):
        ran = run(*words, "--json", "--config", tmp_path / "node.toml")
        told = json.loads(ran.err)
        assert (ran.code, ran.out, told["code"]) == (2, "", "config.invalid")
        assert told["fields"].keys() == {"problem", "setting"}


def test_a_name_that_is_no_text_is_told_as_a_document_all_the_same(run, tmp_path):
    """Names of files are bytes; a document is text."""
    ran = run("verify", "x", "--policy", f"{tmp_path}/policy\udcff.txt", "--json")
    assert (ran.code, json.loads(ran.err)["fields"]["path"]) == (4, f"{tmp_path}/policy\\udcff.txt")
    init = ("init", f"{tmp_path}/n\udcff", "--org-id", "a", "--role", "insurer", "--name-zh", "名", "--name-en", "N")
    made = run(*init, "--json")
    assert (made.code, made.document["folder"]) == (0, f"{tmp_path}/n\\udcff")
    assert run(*init, "--json").code == 6
    assert run("status", "--json", "--config", f"{tmp_path}/n\udcff/node.toml").code == 7


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gb18030"])
def test_a_stream_that_cannot_write_a_word_ends_no_command(tmp_path, encoding):
    """The locale of a cron job or of a terminal of long ago; documents are UTF-8 whatever it is."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}

    def call(*words: str) -> subprocess.CompletedProcess[bytes]:
        started = (sys.executable, "-m", "medchain.cli", *words)
        return subprocess.run(started, env=environment, capture_output=True, check=False)

    helped = call("--lang", "zh", "--help")
    assert (helped.returncode, helped.stderr) == (0, b"")
    failed = call("status", "--lang", "zh", "--config", str(tmp_path / "无.toml"))
    assert (failed.returncode, b"Traceback" in failed.stderr, b"config.missing" in failed.stderr) == (2, False, True)
    told = call("verify", str(tmp_path / "无"), "--policy", str(tmp_path / "策略"), "--json")
    assert json.loads(told.stderr.decode("utf-8"))["fields"]["path"] == str(tmp_path / "策略")
    made = call("org", "nonsense", "策略", "--json")
    assert (made.returncode, json.loads(made.stderr.decode("utf-8"))["code"]) == (2, "call.usage")


def test_with_json_an_error_is_a_document():
    code, said = broken(errors.ConflictError("record.version", expected=2, newest=None), as_json=True)
    assert code == 6
    assert json.loads(said) == {"code": "record.version", "fields": {"expected": 2, "newest": ""}}


def test_what_nobody_foresaw_is_one_line_without_its_text():
    code, said = broken(ValueError("a patient's name"))
    assert code == Exit.INTERNAL
    assert said.startswith("Internal error ValueError at test_cli.py:")
    assert said.count("\n") == 1
    assert "patient" not in said


def test_a_refusal_of_the_system_names_the_file():
    code, said = broken(PermissionError(13, "Permission denied", "/some/file"))
    assert code == Exit.UNAVAILABLE
    assert "Permission denied /some/file (system.io)" in said


def test_an_interrupt_is_no_error():
    assert broken(KeyboardInterrupt()) == (130, "")


def test_an_error_whose_text_lacks_a_field_is_still_told():
    code, said = broken(errors.NotFoundError("file.missing"))
    assert (code, said) == (4, f"{error_texts.ERROR_KINDS[errors.NotFoundError].en} (file.missing)\n")


@pytest.mark.parametrize("words", [[], ["nonsense"], ["verify"], ["status", "--nonsense"], ["--lang", "fr", "status"]])
def test_a_wrong_call_has_exit_code_2(words, capsys):
    assert main(words, {}) == 2
    assert "usage: medchain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "medchain：缺少：命令\n"),
        (["nonsense"], "medchain：命令：'nonsense' 不在可选值之中（"),
        (["verify", "b"], "medchain verify：缺少：--policy\n"),
        (["record", "show", "Patient/1", "2"], "medchain record show：无法识别：2\n"),
        (["record", "show", "Patient/1", "--version", "x"], "medchain record show：--version：值 'x' 无效（应为 int）"),
        (["record", "show", "Patient/1", "--version"], "medchain record show：--version：需要一个值\n"),
        (["record", "show", "Patient/1", "--json=1"], "medchain record show：--json：不带值，却给了 '1'\n"),
        (["import"], "medchain import：缺少：PATH\n"),
        (["backup", "x", "--conf=1"], "medchain backup：无法识别：--conf=1\n"),
    ],
)
def test_a_wrong_call_is_told_in_the_readers_language_by_the_command_that_was_called(words, said, capsys):
    assert main([*words, "--lang", "zh"], {}) == 2
    err = capsys.readouterr().err
    assert err.startswith("用法: medchain")
    assert said in err
    assert main(words, {"LANG": "en_GB.UTF-8"}) == 2
    assert capsys.readouterr().err.startswith("usage: medchain")


def test_a_wrong_call_is_a_document_with_json(capsys):
    assert main(["verify", "--json"], {}) == 2
    mistake = "the following arguments are required: BUNDLE, --policy"
    fields = {"call": "medchain verify", "mistake": mistake}
    assert json.loads(capsys.readouterr().err) == {"code": "call.usage", "fields": fields}


def test_help_has_no_english_heading_in_chinese(capsys):
    assert main(["restore", "--help", "--lang", "zh"], {}) == 0
    shown = capsys.readouterr().out
    assert not {"usage:", "options:", "arguments:", "show"} & set(shown.split())


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("名 a-Z 0.9 ·　全", "名 a-Z 0.9 ·　全"),
        # ECMA-48: escape, the one-character CSI, carriage return, backspace; Unicode: right-to-left override and marks.
        ("\x1b[2K\r", "\\u001b[2K\\u000d"),
        ("\x9b8m\b", "\\u009b8m\\u0008"),
        ("a\u202eb\u2066c\u200bd\u2028e\nf", "a\\u202eb\\u2066c\\u200bd\\u2028e\\u000af"),
    ],
)
def test_what_others_wrote_is_shown_and_not_obeyed(given, seen):
    assert visible(given) == seen
    assert visible(seen) == seen


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_refused_bundle_cannot_overwrite_its_verdict(run, tmp_path, language):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in (
        "answer.json",
        "entry.bin",
        "entry.tlog-proof",
        "policy.txt",
        "state.bin",
        "state.tlog-proof",
        "\x1b[2K\rVerified: it holds now.\x1b[8m",
    ):
        (folder / name).write_bytes(b"x")
    (tmp_path / "policy.txt").write_bytes(b"x")
    ran = run("verify", folder, "--policy", tmp_path / "policy.txt", "--lang", language)
    assert ran.code != 0
    assert "Verified" in ran.err
    assert not {"\x1b", "\r"} & set(ran.out + ran.err)
