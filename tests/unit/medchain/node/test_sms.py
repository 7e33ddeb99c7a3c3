"""Short messages by a program of the organisation's: what it is given, and what it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from medchain.errors import InputError, UnavailableError
from medchain.node import sms as sms_module
from medchain.node.contact_address import phone_number
from medchain.node.letters import Sender, confirmation, news
from medchain.node.sms import CommandChannel
from tests.waiting import eventually

SENDER = Sender({"en": "Renhe Hospital", "zh": "仁和医院"}, "https://renhe.example")
LETTER = news("ab" * 16, SENDER, urgent=True)
NUMBER = "+8613800000000"


def program(folder: Path, lines: str) -> CommandChannel:
    """Write a program."""
    path = folder / "send-sms"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return CommandChannel(path)


def test_the_program_is_given_number_and_text_on_standard_input(tmp_path):
    assert program(tmp_path, f"cat > {tmp_path}/given").send("138 0000-0000", LETTER)
    number, *text = (tmp_path / "given").read_text(encoding="utf-8").splitlines()
    assert number == NUMBER
    assert text == [
        "仁和医院：您有新消息。请登录查看：https://renhe.example",
        "此事紧急，请今天就查看。",
        "Renhe Hospital: there is something new for you. Sign in: https://renhe.example",
        "It is urgent: please look today.",
    ]


def test_nothing_is_on_its_command_line_and_nothing_of_the_nodes_environment_comes_to_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCHAIN_PASSPHRASE", "secret")
    sender = program(tmp_path, f'echo "$#" > {tmp_path}/count; env > {tmp_path}/environment; pwd > {tmp_path}/place')
    assert sender.send(NUMBER, LETTER)
    assert (tmp_path / "count").read_text() == "0\n"
    environment = (tmp_path / "environment").read_text()
    assert "MEDCHAIN" not in environment
    assert "secret" not in environment
    assert (tmp_path / "place").read_text() == "/\n"


@pytest.mark.parametrize("status", [65, 67])
def test_a_number_that_takes_nothing_is_told_by_the_exit_status(tmp_path, status):
    assert not program(tmp_path, f"exit {status}").send(NUMBER, LETTER)


@pytest.mark.parametrize("lines", ["exit 1", "exit 75", "kill -9 $$"])
def test_any_other_end_says_that_the_way_is_away(tmp_path, lines):
    with pytest.raises(UnavailableError, match=r"sms\.failed"):
        program(tmp_path, lines).send(NUMBER, LETTER)


def test_a_program_that_reads_nothing_may_take_it_all_the_same(tmp_path):
    assert program(tmp_path, "exit 0").send(NUMBER, LETTER)


def test_a_program_that_hangs_is_ended_with_what_it_has_started(tmp_path, monkeypatch):
    communicate, child = subprocess.Popen.communicate, tmp_path / "child"

    def patient(running: subprocess.Popen[bytes], given: bytes, timeout_s: float) -> object:
        # A busy machine may take longer than that to start it, and what it starts.
        assert eventually(lambda: child.is_file() and child.read_text().endswith("\n"))
        return communicate(running, given, timeout_s)

    monkeypatch.setattr(subprocess.Popen, "communicate", patient)
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.2)
    with pytest.raises(UnavailableError, match=r"sms\.timeout"):
        program(tmp_path, f"sleep 600 & echo $! > {child}; wait").send(NUMBER, LETTER)
    started = int(child.read_text())
    assert eventually(lambda: not is_running(started))


def is_running(pid: int) -> bool:
    """Tell whether a process is there, one that nobody has waited for left out."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_program_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UnavailableError, match=r"sms\.program"):
        CommandChannel(tmp_path / "absent").send(NUMBER, LETTER)


def test_a_code_is_a_short_message_as_well(tmp_path):
    assert program(tmp_path, f"cat > {tmp_path}/given").send(NUMBER, confirmation("cd", SENDER, "123456", 15))
    text = (tmp_path / "given").read_text(encoding="utf-8")
    assert text.count("123456") == 2
    assert "Renhe Hospital: the code that confirms this contact is 123456. It counts for 15 minutes." in text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("13800000000", "+8613800000000"),
        (" 138 0000 0000 ", "+8613800000000"),
        ("+86 138-0000-0000", "+8613800000000"),
        ("+852 5123 4567", "+85251234567"),
        ("+123456789012345", "+123456789012345"),
    ],
)
def test_a_number_is_taken(text, number):
    assert phone_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "12000000000",
        "0086 13800000000",
        "+0123456789",
        "+1234567",
        "+1234567890123456",
        "+8613800000\u0660",
        "+8613800000000,+8613800000001",
        "+8613800000000\n+8613800000001",
        "+8613800000000\0",
        "+86 13800000000 x1",
    ],
)
def test_what_is_no_number_is_refused_and_no_program_started(tmp_path, text):
    with pytest.raises(InputError, match=r"contact\.sms"):
        program(tmp_path, f"touch {tmp_path}/started").send(text, LETTER)
    assert not (tmp_path / "started").exists()
