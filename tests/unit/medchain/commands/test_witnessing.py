"""A witness of one's own at the command line: made, shown, told of other keys, and run as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from medchain.node.witness_file import log_lines, parse_witnesses
from medchain.node.witnessing import WitnessLayout, read_identity, read_seen
from tests.children import child
from tests.own_witness import ask
from tests.unit.medchain.node.test_witnesses import ORIGIN, GrownLog
from tests.unit.medchain.node.test_witnessing import HEIR_KEY, LOG_KEY, URL, forked, shown
from tests.unit.medchain.web.test_tls import certify
from tests.waiting import PATIENCE_S, eventually

PASSPHRASE = "correct horse battery"
LISTEN = ("--listen", "127.0.0.1:0")


@pytest.fixture
def logs(tmp_path) -> Path:
    path = tmp_path / "logs.txt"
    path.write_text(log_lines([LOG_KEY]))
    return path


@pytest.fixture
def folder(run, tmp_path, logs) -> Path:
    assert run("witness", "init", tmp_path / "w", "--url", URL, "--logs", logs).code == 0
    return tmp_path / "w"


@contextmanager
def serving(folder: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """Run a witness until the test is done with it; gives its process and its port."""
    command = [sys.executable, "-m", "medchain.cli", "witness", "serve", str(folder), *LISTEN, "--json", *words]
    started = child(command, stdout=subprocess.PIPE, env=os.environ | environment, text=True)
    with started as process:
        try:
            # It says where it listens once it does.
            yield process, int(json.loads(process.stdout.readline())["address"].rpartition(":")[2])
        finally:
            process.kill()


def test_two_commands_make_a_witness_and_the_lines_that_a_node_takes(run, tmp_path, logs):
    ran = run("witness", "init", tmp_path / "w", "--url", URL, "--logs", logs, "--lang", "zh")
    assert ran.code == 0
    (outside,) = parse_witnesses("\n".join(ran.out.splitlines()[1:]).encode())
    assert (outside.url, outside.keys) == (URL, read_identity(tmp_path / "w").keys)
    assert "root.key" in ran.err
    log = GrownLog()
    log.grow()
    with serving(tmp_path / "w") as (process, port):
        assert ask(port, shown(log))[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    document = run("witness", "show", tmp_path / "w", "--json").document
    assert document["lines"] == ran.out.splitlines()[1:]
    (row,) = document["logs"]
    assert (row["origin"], row["size"], row["keys"], row["is_whole"]) == (ORIGIN, 2, [str(LOG_KEY)], True)


def test_two_witnesses_at_one_host_stand_in_one_list(run, tmp_path, logs):
    lines = []
    for number in (1, 2):
        words = ("--url", f"https://w.example/w{number}", "--logs", logs, "--json")
        lines += run("witness", "init", tmp_path / f"w{number}", *words).document["lines"]
    assert [one.name for one in parse_witnesses("\n".join(lines).encode())] == ["w.example/w1-ed", "w.example/w2-ed"]


def test_a_name_is_made_of_the_address_or_given(run, tmp_path, logs):
    words = ("--url", "https://w.example/a/", "--logs", logs, "--json")
    assert run("witness", "init", tmp_path / "a", *words).document["name"] == "w.example/a"
    assert run("witness", "init", tmp_path / "b", *words, "--name", "w.example/w1").document["name"] == "w.example/w1"
    assert run("witness", "init", tmp_path / "c", *words, "--name", "w 1").code == 2
    assert run("witness", "init", tmp_path / "a", *words).code == 6


@pytest.mark.parametrize("url", ["https://[w", "https://w.example:x", "ftp://w.example", "https://w.example/?a=b"])
def test_an_address_that_no_node_could_ask_makes_no_witness(run, tmp_path, logs, url):
    ran = run("witness", "init", tmp_path / "w", "--url", url, "--logs", logs)
    assert (ran.code, "witnessing.url" in ran.err) == (2, True)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_was_cosigned_is_shown_and_what_is_amiss_with_it(run, folder, language):
    log, words = GrownLog(), ("witness", "show", folder, "--lang", language)
    size = log.grow(3)
    with serving(folder) as (_, port):
        # It may be looked at while it runs.
        assert f"{ORIGIN}" in run(*words).out
        ask(port, shown(log))
        ask(port, shown(log, head=forked(log, size).head))
        log.grow()
        ask(port, shown(log).replace(b"old 0\n", b"old %d\n" % size))
    told = run(*words)
    assert (told.code, f" {size} " in told.out) == (0, True)
    evidence = [line for line in told.out.splitlines() if str(folder / "evidence") in line]
    assert sorted(line.partition("evidence/")[2].partition("-")[0] for line in evidence) == [
        "split",
        "split",
        "unproven",
    ]
    WitnessLayout(folder).seen(ORIGIN).write_bytes(b"")
    assert run(*words).code == 1
    assert run(*words, "--json").document["logs"][0]["is_whole"] is False


def test_other_keys_are_trusted_while_it_runs(run, folder, logs):
    log = GrownLog()
    log.grow()
    logs.write_text(log_lines([HEIR_KEY]))
    with serving(folder) as (_, port):
        told = run("witness", "trust", folder, "--logs", logs)
        assert (told.code, ORIGIN in told.out) == (0, True)
        assert ask(port, shown(log))[0] == 403
        logs.write_text(log_lines([LOG_KEY, HEIR_KEY]))
        assert run("witness", "trust", folder, "--logs", logs).code == 0
        assert ask(port, shown(log))[0] == 200
        logs.write_text("log nothing")
        assert run("witness", "trust", folder, "--logs", logs).code == 2
        assert ask(port, shown(log))[0] == 409
    assert run("witness", "trust", logs.parent / "none", "--logs", logs).code == 2


def test_a_second_process_is_refused_while_one_runs(run, folder):
    with serving(folder):
        ran = run("witness", "serve", folder, *LISTEN)
        assert (ran.code, "witnessing.running" in ran.err) == (6, True)


def test_who_is_killed_while_it_cosigns_forgets_nothing(folder):
    """Killed outright, again and again, while a log has it cosign without a pause."""
    log, cosigned = GrownLog(), [0]

    def kept() -> int:
        return read_seen(folder, ORIGIN, read_identity(folder).keys).checkpoint.size

    def grow_on(port: int, old: int) -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                size = log.grow()
                assert ask(port, shown(log, old))[0] == 200
                cosigned.append(size)
                old = size

    for _ in range(3):
        before = len(cosigned)
        with serving(folder) as (process, port):
            growing = threading.Thread(target=grow_on, args=(port, kept()))
            growing.start()
            assert eventually(lambda since=before: len(cosigned) >= since + 4)
            process.kill()
            growing.join()
        assert cosigned[-1] <= kept() <= log.head.size


def test_a_sealed_key_needs_its_passphrase(run, tmp_path, logs):
    words = ("witness", "init", tmp_path / "w", "--url", URL, "--logs", logs, "--passphrase")
    assert run(*words, MEDCHAIN_PASSPHRASE="short").code == 2
    ran = run(*words, MEDCHAIN_PASSPHRASE=PASSPHRASE)
    assert (ran.code, "root.key" in ran.err) == (0, False)
    wrong = run("witness", "serve", tmp_path / "w", *LISTEN, MEDCHAIN_PASSPHRASE="wrong horse battery")
    assert (wrong.code, "passphrase.authentication" in wrong.err) == (1, True)
    log = GrownLog()
    log.grow()
    with serving(tmp_path / "w", MEDCHAIN_PASSPHRASE=PASSPHRASE) as (_, port):
        assert ask(port, shown(log))[0] == 200


def test_it_serves_tls_and_warns_where_it_is_open_without(run, folder, tmp_path):
    tls, log = certify(tmp_path, "witness", "127.0.0.1"), GrownLog()
    log.grow()
    with serving(folder, "--certificate", str(tls.certificate), "--key", str(tls.key)) as (_, port):
        assert ask(port, shown(log), ssl.create_default_context(cafile=str(tls.certificate)))[0] == 200
    assert run("witness", "serve", folder, "--certificate", tls.certificate).code == 2
    # Nobody listens: another one has the folder.
    with serving(folder):
        open_to_all = run("witness", "serve", folder, "--listen", "0.0.0.0:0")
        assert (open_to_all.code, "proxy" in open_to_all.err) == (6, True)


@pytest.mark.parametrize("listen", ["nowhere", "host:x", "a b:1"])
def test_an_address_that_is_none_is_refused(run, folder, listen):
    ran = run("witness", "serve", folder, "--listen", listen)
    assert (ran.code, "witnessing.listen" in ran.err) == (2, True)
