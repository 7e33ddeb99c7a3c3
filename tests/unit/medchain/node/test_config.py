"""A node's configuration: where it comes from, and how mistakes are explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from medchain.errors import InputError
from medchain.node.config import (
    Address,
    EInvoiceService,
    MailServer,
    PolicyRules,
    Problem,
    config_text,
    explain,
    load_config,
    setting_names,
    time_zone,
)
from tests.unit.medchain.ledger.world import genesis
from tests.unit.medchain.web.test_tls import certify


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


MINIMAL = '[organisation]\nid = "renhe-hospital"\n'
SIGN = '[sign]\nlisten = "127.0.0.1:41002"\norigin = "https://s.example"\n'
MAIL = '[mail]\nserver = "mail.example:587"\nsender = "notices@renhe.example"\n'


def test_a_minimal_file_gives_a_node_on_loopback(tmp_path):
    config = load_config(write(tmp_path, MINIMAL), {}, {})
    assert config.org_id == "renhe-hospital"
    assert config.folder == tmp_path
    assert config.web_listen == Address("127.0.0.1", 41000)
    assert config.peer_listen == Address("127.0.0.1", 41001)
    assert config.peer_tls is None
    assert config.key_file == tmp_path / "keys" / "root.key"


def test_the_environment_beats_the_file_and_a_flag_beats_both(tmp_path):
    path = write(tmp_path, MINIMAL + "[web]\nworkers = 3\nthreads = 4\n[log]\nlevel = 'debug'\n")
    config = load_config(
        path, {"MEDCHAIN_WEB_WORKERS": "5", "MEDCHAIN_WEB_THREADS": "6", "PATH": "/bin"}, {"web.workers": "7"}
    )
    assert (config.web_workers, config.web_threads, config.log_level) == (7, 6, "debug")


def test_an_ipv6_address_stands_in_brackets(tmp_path):
    config = load_config(write(tmp_path, MINIMAL + '[web]\nlisten = "[::1]:4100"\n'), {}, {})
    assert config.web_listen == Address("::1", 4100)


def test_a_time_zone_is_utc_or_named(tmp_path):
    assert load_config(write(tmp_path, MINIMAL), {}, {}).time_zone == "UTC"
    assert time_zone("UTC") is UTC
    config = load_config(write(tmp_path, MINIMAL + '[fhir]\ntime_zone = "Asia/Shanghai"\n'), {}, {})
    assert time_zone(config.time_zone).utcoffset(datetime(2020, 1, 1, tzinfo=UTC)) == timedelta(hours=8)


def test_certificates_are_found_beside_the_file(tmp_path):
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("x")
    (tmp_path / "k.pem").chmod(0o600)
    certify(tmp_path, "ca", "127.0.0.1")
    text = MINIMAL + '[peer]\ncertificate = "c.pem"\nkey = "k.pem"\nca = "ca.pem"\n[witnesses]\nca = "ca.pem"\n'
    config = load_config(write(tmp_path, text), {}, {})
    assert config.peer_tls is not None
    assert (config.peer_tls.certificate, config.peer_tls.key) == (tmp_path / "c.pem", tmp_path / "k.pem")
    assert (config.peer_ca, config.witnesses_ca) == (tmp_path / "ca.pem", tmp_path / "ca.pem")
    assert explain(tmp_path / "node.toml") == []


def test_patients_sign_at_an_address_of_its_own(tmp_path):
    assert load_config(write(tmp_path, MINIMAL), {}, {}).sign_listen is None
    config = load_config(write(tmp_path, MINIMAL + SIGN), {}, {})
    assert (config.sign_listen, config.sign_origin) == (Address("127.0.0.1", 41002), "https://s.example")


def test_an_address_for_signing_is_one_that_the_genesis_lists_and_a_portals_is_warned_of(tmp_path):
    (tmp_path / "genesis.json").write_bytes(genesis().encoded)
    (counting,) = genesis().sign_origins
    text = MINIMAL + SIGN.replace("https://s.example", "{}")
    assert explain(write(tmp_path, text.format(counting))) == []
    unlisted = only(explain(write(tmp_path, text.format("https://other.consent.example"))))
    assert (unlisted.code, unlisted.fatal) == ("config.sign_unlisted", True)
    shared = only(explain(write(tmp_path, MINIMAL + f'[web]\norigin = "{counting}"\n')))
    assert (shared.setting, shared.code, shared.fatal) == ("sign.origin", "config.sign_missing", False)


def test_a_mail_server_is_named_with_its_password(tmp_path):
    assert load_config(write(tmp_path, MINIMAL), {}, {}).mail is None
    password = tmp_path / "mail.password"
    password.write_text("secret")
    password.chmod(0o600)
    path = write(tmp_path, MINIMAL + MAIL + 'user = "renhe"\npassword = "mail.password"\n')
    mail = load_config(path, {}, {}).mail
    assert mail == MailServer(
        Address("mail.example", 587), "starttls", None, "notices@renhe.example", "renhe", tmp_path / "mail.password"
    )
    password.chmod(0o640)
    found = only(explain(path))
    assert (found.setting, found.code, found.fatal) == ("mail.password", "config.open_key", True)


def test_what_an_insurers_policies_ask_is_set_and_nothing_by_default(tmp_path):
    assert load_config(write(tmp_path, MINIMAL), {}, {}).rules == PolicyRules(0, 0, "")
    path = write(tmp_path, MINIMAL + '[claims]\nage = "18"\nstay_days = 30\ncodes = "E10-E14,I10"\n')
    assert load_config(path, {}, {}).rules == PolicyRules(18, 30, "E10-E14,I10")


def test_a_service_that_checks_e_invoices_is_named_with_its_token(tmp_path):
    assert load_config(write(tmp_path, MINIMAL), {}, {}).einvoice is None
    token = tmp_path / "e.token"
    token.write_text("secret")
    token.chmod(0o600)
    url = "https://check.example/v1"
    path = write(tmp_path, MINIMAL + f'[einvoice]\nurl = "{url}"\ntoken = "e.token"\n')
    assert load_config(path, {}, {}).einvoice == EInvoiceService(url, token, None)
    token.chmod(0o644)
    found = only(explain(path))
    assert (found.setting, found.code, found.fatal) == ("einvoice.token", "config.open_key", True)
    # On this machine it may be in clear: that is where a translation runs.
    plain = write(tmp_path, MINIMAL + '[einvoice]\nurl = "http://127.0.0.1:8099/"\n')
    assert load_config(plain, {}, {}).einvoice == EInvoiceService("http://127.0.0.1:8099/", None, None)


@pytest.mark.parametrize(
    ("mode", "is_good"), [(0o755, True), (0o700, True), (0o600, False), (0o775, False), (0o757, False)]
)
def test_a_program_that_sends_short_messages_is_one_that_nobody_else_can_exchange(tmp_path, mode, is_good):
    program = tmp_path / "send-sms"
    program.write_text("#!/bin/sh\n")
    program.chmod(mode)
    path = write(tmp_path, MINIMAL + f'[sms]\ncommand = "{program}"\n')
    if is_good:
        assert load_config(path, {}, {}).sms_command == program
    else:
        assert only(explain(path)).code == "config.program"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_mail_server_in_clear_is_on_this_machine(tmp_path, host):
    text = MINIMAL + MAIL.replace("mail.example:587", f"{host}:25") + 'security = "none"\n'
    assert explain(write(tmp_path, text)) == []


def test_a_mistake_keeps_the_node_from_starting(tmp_path):
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, MINIMAL + "[web]\nworkers = 0\n"), {}, {})
    assert caught.value.code == "config.invalid"
    assert caught.value.fields == {"setting": "web.workers", "problem": "config.range"}


@pytest.mark.parametrize(
    ("text", "setting", "code", "hint"),
    [
        ("", "organisation.id", "config.required", "organisation's id"),
        ('[organisation]\nid = "Renhe Hospital"\n', "organisation.id", "config.org_id", "hyphens"),
        (MINIMAL + "[web]\nworker = 2\n", "web.worker", "config.unknown", "Did you mean web.workers?"),
        (MINIMAL + "[zzzzzz]\nqqqq = 2\n", "zzzzzz.qqqq", "config.unknown", "web.listen"),
        ("nothing = 1\n" + MINIMAL, "nothing", "config.unknown", "settings"),
        (MINIMAL + '[web]\nworkers = "two"\n', "web.workers", "config.type", "a whole number"),
        (MINIMAL + "[web]\nworkers = true\n", "web.workers", "config.type", "a whole number"),
        (MINIMAL + "[web]\nworkers = 65\n", "web.workers", "config.range", "between 1 and 64"),
        (MINIMAL + "[web]\nlisten = 80\n", "web.listen", "config.type", "text"),
        (MINIMAL + '[web]\nlisten = "80"\n', "web.listen", "config.address", "host:port"),
        (MINIMAL + '[web]\nlisten = "a b:80"\n', "web.listen", "config.address", "host:port"),
        (MINIMAL + '[web]\nlisten = "[::zz]:80"\n', "web.listen", "config.address", "host:port"),
        (MINIMAL + '[web]\nlisten = "h:70000"\n', "web.listen", "config.address", "host:port"),
        *(
            (MINIMAL + f'[fhir]\ntime_zone = "{name}"\n', "fhir.time_zone", "config.time_zone", "Asia/Shanghai")
            for name in ("China", "", "Asia", "../zoneinfo/Asia/Shanghai", "/etc/localtime", "\\u0000")
        ),
        (MINIMAL + '[log]\nlevel = "loud"\n', "log.level", "config.choice", "debug, info"),
        (MINIMAL + '[web]\nlisten = "127.0.0.1:41001"\n', "web.listen", "config.same_address", "of its own"),
        (MINIMAL + '[sign]\nlisten = "127.0.0.1:41002"\n', "sign.origin", "config.half_sign", "sign.listen"),
        (MINIMAL + '[sign]\norigin = "https://s.example"\n', "sign.listen", "config.half_sign", "sign.origin"),
        (
            MINIMAL + '[web]\norigin = "https://s.example"\n' + SIGN,
            "sign.origin",
            "config.sign_is_portal",
            "of its own",
        ),
        (MINIMAL + '[mail]\nserver = "mail.example"\n', "mail.server", "config.address", "host:port"),
        (MINIMAL + '[mail]\nserver = "mail.example:587"\n', "mail.sender", "config.half_mail", "mail.server"),
        (MINIMAL + MAIL + 'user = "renhe"\n', "mail.password", "config.half_mail", "mail.user"),
        (MINIMAL + MAIL + 'security = "none"\n', "mail.security", "config.plain_mail", "in clear"),
        (MINIMAL + MAIL + 'ca = "no.pem"\n', "mail.ca", "config.no_file", "no.pem"),
        (MINIMAL + '[mail]\nsender = "Renhe <a@b.example>"\n', "mail.sender", "config.email", "small letters"),
        (MINIMAL + '[mail]\nsender = "a@B.example"\n', "mail.sender", "config.email", "small letters"),
        (MINIMAL + '[sms]\ncommand = "send-sms"\n', "sms.command", "config.absolute", "/usr/local/bin/send-sms"),
        (MINIMAL + '[sms]\ncommand = "/no/send-sms"\n', "sms.command", "config.no_file", "/no/send-sms"),
        (MINIMAL + '[claims]\nage = "19"\n', "claims.age", "config.choice", "none, 18, 50"),
        (MINIMAL + "[claims]\nage = 18\n", "claims.age", "config.type", "text"),
        (MINIMAL + "[claims]\nstay_days = 3651\n", "claims.stay_days", "config.range", "between 0 and 3650"),
        (MINIMAL + '[claims]\ncodes = "I10,E10"\n', "claims.codes", "config.codes", "sorted"),
        (MINIMAL + '[claims]\ncodes = "E11.9"\n', "claims.codes", "config.codes", "three-character"),
        (MINIMAL + '[einvoice]\nurl = "http://check.example/"\n', "einvoice.url", "config.service", "https"),
        (MINIMAL + '[einvoice]\nurl = "https://check.example/?a=1"\n', "einvoice.url", "config.service", "query"),
        (MINIMAL + '[einvoice]\nurl = "https://u:p@check.example/"\n', "einvoice.url", "config.service", "https"),
        (MINIMAL + '[einvoice]\nurl = "https://check.example:x/"\n', "einvoice.url", "config.service", "https"),
        (MINIMAL + '[einvoice]\nurl = "check.example"\n', "einvoice.url", "config.service", "https"),
        (MINIMAL + '[einvoice]\ntoken = "no.token"\n', "einvoice.token", "config.no_file", "no.token"),
        (MINIMAL + '[einvoice]\nca = "node.toml"\n', "einvoice.ca", "config.authorities", "node.toml"),
        (MINIMAL + '[peer]\nca = "no.pem"\n', "peer.ca", "config.no_file", "no.pem"),
        (MINIMAL + '[witnesses]\nfile = "no.txt"\n', "witnesses.file", "config.no_file", "no.txt"),
        (MINIMAL + '[witnesses]\nca = "no.pem"\n', "witnesses.ca", "config.no_file", "no.pem"),
        (MINIMAL + '[witnesses]\nca = "node.toml"\n', "witnesses.ca", "config.authorities", "node.toml"),
        (MINIMAL + '[peer]\nca = "node.toml"\n', "peer.ca", "config.authorities", "node.toml"),
        (MINIMAL + MAIL + 'ca = "node.toml"\n', "mail.ca", "config.authorities", "node.toml"),
        (MINIMAL + '[witnesses]\nfile = "node.toml"\n', "witnesses.file", "config.witnesses", "line=1"),
    ],
)
def test_each_mistake_is_explained_in_both_languages(tmp_path, text, setting, code, hint):
    problem = only(explain(write(tmp_path, text)))
    assert (problem.setting, problem.code, problem.fatal) == (setting, code, True)
    assert hint in problem.en
    assert any("\u4e00" <= character <= "\u9fff" for character in problem.zh)
    assert "{" not in problem.zh + problem.en


def test_all_mistakes_are_told_at_once(tmp_path):
    problems = explain(write(tmp_path, '[organisation]\nid = "x y"\n[web]\nworkers = 0\n[peer]\nlisten = "?"\n'))
    assert {problem.setting for problem in problems} == {"organisation.id", "web.workers", "peer.listen"}


def test_a_certificate_without_its_key_is_a_mistake(tmp_path):
    (tmp_path / "c.pem").write_text("x")
    problem = only(explain(write(tmp_path, MINIMAL + '[web]\ncertificate = "c.pem"\n')))
    assert (problem.setting, problem.code) == ("web.key", "config.half_tls")


def test_a_tls_key_that_others_can_read_is_a_mistake(tmp_path):
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("x")
    (tmp_path / "k.pem").chmod(0o640)
    problem = only(explain(write(tmp_path, MINIMAL + '[web]\ncertificate = "c.pem"\nkey = "k.pem"\n')))
    assert (problem.setting, problem.code) == ("web.key", "config.open_key")


def test_a_missing_root_key_is_worth_a_thought_once_there_are_keys(tmp_path):
    path = write(tmp_path, MINIMAL)
    assert explain(path) == []
    (tmp_path / "keys").mkdir()
    problem = only(explain(path))
    assert (problem.code, problem.fatal) == ("config.no_file", False)


def test_plain_http_for_other_machines_is_worth_a_thought_but_starts(tmp_path):
    path = write(tmp_path, MINIMAL + '[peer]\nlisten = "0.0.0.0:41001"\n')
    problem = only(explain(path))
    assert (problem.code, problem.fatal) == ("config.plain_http", False)
    assert load_config(path, {}, {}).peer_listen.host == "0.0.0.0"  # noqa: S104  # what the test is about


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"\xff\xfe", "config.not_text"), (b"[web\n", "config.not_toml"), (b"#" * 70_000, "config.too_large")],
)
def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path, content, code):
    path = tmp_path / "node.toml"
    path.write_bytes(content)
    assert only(explain(path)).code == code


def test_a_file_that_is_not_there_is_one_mistake(tmp_path):
    problem = only(explain(tmp_path / "node.toml"))
    assert problem.code == "config.missing"
    assert "medchain init" in problem.en


def test_an_unknown_flag_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, MINIMAL), {}, {"web.colour": "red"})
    assert caught.value.fields["problem"] == "config.unknown"


def test_a_written_file_reads_back(tmp_path):
    path = write(tmp_path, config_text({"organisation.id": "renhe-hospital", "web.workers": 4, "log.level": "error"}))
    config = load_config(path, {}, {})
    assert (config.org_id, config.web_workers, config.log_level) == ("renhe-hospital", 4, "error")
    text = path.read_text(encoding="utf-8")
    assert all(name.split(".")[1] in text for name in setting_names())


def test_a_setting_that_does_not_exist_is_not_written():
    with pytest.raises(InputError):
        config_text({"web.colour": "red"})
