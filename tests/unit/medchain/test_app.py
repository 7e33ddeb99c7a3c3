"""The web workers' application: what all its views share."""

from __future__ import annotations

import pytest
from flask import Blueprint, request

from medchain.app import create_app
from medchain.errors import InputError, UnavailableError, VerificationError
from medchain.node.assembly import WebNode
from medchain.node.config import load_config
from medchain.node.keystore import Unlock, create_keys, open_web_keys, unlock
from medchain.node.local import LocalClient
from medchain.web.routing import Caller, callers, callers_of

CLOCK = 1_796_083_200


class Daemon:
    """Stands where the daemon is asked."""

    def __init__(self) -> None:
        """Begin ready."""
        self.answer: object = {"ready": True}

    def call(self, operation, _document, _limits):
        assert operation == "status"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def daemon():
    return Daemon()


@pytest.fixture
def app(tmp_path, daemon):
    return made(tmp_path, daemon)


def made(tmp_path, daemon, more=""):
    (tmp_path / "node.toml").write_text(f'[organisation]\nid = "renhe-hospital"\n{more}')
    halves = unlock(bytes(32))
    create_keys(tmp_path, "renhe-hospital", halves)
    keys = open_web_keys(tmp_path, Unlock(halves.web, None))
    node = WebNode(load_config(tmp_path / "node.toml", {}, {}), lambda: CLOCK, keys, None, daemon)
    return create_app(node)


def test_every_view_declares_its_callers(app):
    rules = list(app.url_map.iter_rules())
    assert rules
    for rule in rules:
        assert callers_of(app.view_functions[rule.endpoint]), rule.rule


def test_every_answer_is_guarded_and_can_be_found_in_the_logs(app):
    for path in ("/healthz", "/nothing"):
        answer = app.test_client().get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert len(answer.headers["X-Request-Id"]) == 16


def test_readiness_is_the_daemons(app, daemon):
    client = app.test_client()
    assert client.get("/readyz").status_code == 200
    daemon.answer = {"ready": False, "reasons": ["replica.behind"]}
    assert client.get("/readyz").status_code == 503
    daemon.answer = UnavailableError("daemon.not_running")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["code"]) == (503, "daemon.not_running")
    assert client.get("/healthz").status_code == 200


def test_metrics_are_for_nobody_unless_there_is_a_token_for_them(app):
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
        assert app.test_client().get("/metrics", headers=headers).status_code == 404


def test_metrics_are_for_who_shows_the_token_wherever_it_comes_from(tmp_path, daemon):
    (tmp_path / "token").write_text("t" * 32 + "\n")
    (tmp_path / "token").chmod(0o600)
    client = made(tmp_path, daemon, '[metrics]\ntoken = "token"\n').test_client()
    shown = {"Authorization": "Bearer " + "t" * 32}
    assert client.get("/metrics", headers=shown, environ_base={"REMOTE_ADDR": "203.0.113.5"}).status_code == 200
    wrong = ["Bearer " + "t" * 31, "Basic " + "t" * 32, "t" * 32, "Bearer " + "t" * 31 + "\u00e9", ""]
    for given in wrong:
        assert client.get("/metrics", headers={"Authorization": given}).status_code == 401
    assert client.get("/metrics").status_code == 401


def test_a_token_that_others_can_read_is_none(tmp_path, daemon):
    (tmp_path / "token").write_text("t" * 32)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(InputError) as caught:
        made(tmp_path, daemon, '[metrics]\ntoken = "token"\n')
    assert caught.value.fields["problem"] == "config.open_key"


@pytest.mark.parametrize("token", ["short", "t" * 257, "t" * 31 + " t", "\u4e2d" * 32])
def test_a_token_that_can_be_guessed_or_not_be_sent_keeps_the_workers_from_starting(tmp_path, daemon, token):
    (tmp_path / "token").write_text(token, "utf-8")
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(InputError) as caught:
        made(tmp_path, daemon, '[metrics]\ntoken = "token"\n')
    assert caught.value.code == "metrics.token"


def test_unknown_paths_and_other_methods_are_json(app):
    answer = app.test_client().get("/nothing")
    assert (answer.status_code, answer.json["code"]) == (404, "http.404")
    assert app.test_client().post("/healthz").json["code"] == "http.405"


def test_errors_answer_their_code_and_faults_tell_nothing(app, caplog):
    blueprint = Blueprint("faulty", __name__)

    @blueprint.get("/rule")
    @callers(Caller.PUBLIC)
    def rule():
        raise VerificationError("transaction.version", version=3)

    @blueprint.get("/fault")
    @callers(Caller.PUBLIC)
    def fault():
        raise RuntimeError("张三 must not show")

    app.register_blueprint(blueprint)
    refused = app.test_client().get("/rule")
    assert (refused.status_code, refused.json["code"], refused.json["fields"]) == (
        422,
        "transaction.version",
        {"version": 3},
    )
    failed = app.test_client().get("/fault")
    assert (failed.status_code, failed.json["code"]) == (500, "internal")
    assert "张三" not in failed.text + caplog.text


def test_a_request_that_is_too_large_is_refused(app):
    blueprint = Blueprint("taking", __name__)

    @blueprint.post("/take")
    @callers(Caller.PUBLIC)
    def take():
        return str(len(request.get_data()))

    app.register_blueprint(blueprint)
    client = app.test_client()
    assert app.config["MAX_CONTENT_LENGTH"] == 32 * 1024 * 1024
    app.config["MAX_CONTENT_LENGTH"] = 10
    assert client.post("/take", data=b"x" * 10).text == "10"
    assert client.post("/take", data=b"x" * 11).status_code == 413


def test_a_client_of_a_daemon_that_does_not_run_says_so(tmp_path):
    with pytest.raises(UnavailableError) as caught:
        LocalClient(tmp_path).call("status", {})
    assert caught.value.code == "daemon.not_running"
