"""The node's logs: one JSON object a line, and nothing that anybody sent."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading

import orjson
import pytest

from medchain.errors import VerificationError
from medchain.node.log import Log, log_uncaught, open_log


@pytest.fixture
def lines(tmp_path):
    open_log(tmp_path, "daemon", "info")
    yield lambda: [orjson.loads(line) for line in (tmp_path / "daemon.jsonl").read_bytes().splitlines()]
    logger = logging.getLogger("medchain")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    logging.raiseExceptions = True


def test_an_event_is_one_line_with_its_fields(lines):
    Log("http").info("request.refused", route="log.tile", status=404)
    (line,) = lines()
    assert line.pop("time") > 0
    assert line == {
        "level": "info",
        "process": "daemon",
        "part": "http",
        "event": "request.refused",
        "route": "log.tile",
        "status": 404,
    }


def test_what_is_below_the_level_is_not_written(lines):
    Log("http").debug("connection.lost")
    Log("http").warning("daemon.requests_cut")
    assert [line["level"] for line in lines()] == ["warning"]


def test_the_text_of_an_exception_is_not_written(lines, tmp_path, capsys):
    open_log(tmp_path, "daemon", "info")
    with pytest.raises(ValueError, match="张三") as caught:
        int("张三 110101199003070011")
    Log("web").error("request.failed", caught.value)
    (line,) = lines()
    assert line["error"]["type"] == "ValueError"
    assert line["error"]["at"][0].startswith("test_log.py:")
    assert "张三" not in (tmp_path / "daemon.jsonl").read_text() + capsys.readouterr().err


class Stubborn:
    """Cannot be removed without an error, which nobody can catch."""

    def __del__(self) -> None:
        """Fail."""
        raise ValueError("王五")


@pytest.fixture
def _uncaught(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    log_uncaught()


@pytest.mark.usefixtures("_uncaught")
def test_what_nobody_caught_is_an_event_too(lines):
    thread = threading.Thread(target=int, args=("张三",))
    thread.start()
    thread.join()
    sys.excepthook(ValueError, ValueError("李四"), None)
    Stubborn()
    assert [(line["event"], line["error"]["type"]) for line in lines()] == [
        ("thread.failed", "ValueError"),
        ("process.failed", "ValueError"),
        ("object.failed", "ValueError"),
    ]
    assert not any(name in str(lines()) for name in ("张三", "李四", "王五"))


def test_of_what_a_library_reports_the_type_and_the_place_are_written_and_no_text():
    # A program of its own: here, the tests' own runner listens to all that libraries say.
    script = """
        import asyncio
        from medchain.node.log import log_uncaught

        async def lost():
            # Of what takes long on a busy machine this loop would tell, too.
            asyncio.get_running_loop().slow_callback_duration = 3600
            failing = asyncio.ensure_future(asyncio.to_thread(int, "张三"))
            while not failing.done():
                await asyncio.sleep(0.01)

        log_uncaught()
        asyncio.run(lost(), debug=True)
    """
    words = [sys.executable, "-c", textwrap.dedent(script)]
    said = subprocess.run(words, capture_output=True, check=True, text=True).stderr
    line = orjson.loads(said)
    assert (line["part"], line["event"], line["error"]["type"]) == ("asyncio", "library.error", "ValueError")
    assert "张三" not in said


def test_our_own_errors_give_code_and_fields(lines):
    Log("web").error("block.refused", VerificationError("block.root", height=7))
    assert lines()[0]["error"] == {"code": "block.root", "height": 7}


def test_a_field_cannot_pose_as_another_and_long_text_is_cut(lines):
    Log("web").info("event", level="error", note="x" * 500)
    (line,) = lines()
    assert line["level"] == "info"
    assert len(line["note"]) == 200


def test_errors_are_shown_on_standard_error_too(lines, tmp_path, capsys):
    # Anew, so that it takes the standard error that is captured.
    open_log(tmp_path, "daemon", "info")
    Log("web").error("disk.full")
    assert orjson.loads(capsys.readouterr().err)["event"] == lines()[0]["event"] == "disk.full"


def test_a_line_break_in_a_field_stays_in_its_line(lines):
    Log("web").info("event", note='a\n{"level":"error"}')
    assert len(lines()) == 1
