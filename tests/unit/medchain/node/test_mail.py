"""Letters by e-mail, with a real server on a socket: what is said to it, and when; what it answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from medchain.errors import InputError, UnavailableError
from medchain.node import mail as mail_module
from medchain.node.config import Address, MailServer
from medchain.node.contact_address import email_address
from medchain.node.letters import Letter, Sender, news
from medchain.node.mail import MailChannel
from tests.mail_server import MailBox, mail_server
from tests.unit.medchain.web.test_tls import certify

NOW = 1_796_083_200
LETTER = news("ab" * 16, Sender({"en": "Renhe Hospital", "zh": "仁和医院"}, "https://renhe.example"), urgent=False)


def channel(box: MailBox, security: str = "none", authorities: Path | None = None, **more: object) -> MailChannel:
    server = {"user": "", "password": None} | more
    address = Address("127.0.0.1", box.port)
    return MailChannel(MailServer(address, security, authorities, "notices@renhe.example", **server), lambda: NOW)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "mail.password"
    path.write_text("word 1\n", encoding="utf-8")
    return path


@pytest.fixture
def tls(tmp_path):
    return certify(tmp_path, "mail", "127.0.0.1")


def test_a_letter_says_what_rfc_5322_and_3834_want_of_it():
    with mail_server(MailBox()) as box:
        assert channel(box).send("li@Mail.Example", LETTER)
    _, sender, to, content = box.letters[0]
    assert (sender, to) == ("notices@renhe.example", ["li@mail.example"])
    message = box.message()
    assert message["From"] == "notices@renhe.example"
    assert message["To"] == "li@mail.example"
    assert message["Subject"] == "您有新消息 / Something new for you"
    assert message["Date"] == "Tue, 01 Dec 2026 00:00:00 +0000"
    assert message["Message-ID"] == f"<{'ab' * 16}@renhe.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().replace("\r\n", "\n") == LETTER.text
    # Every line fits what any server takes (RFC 5321 §4.5.3.1.6), in ASCII.
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998


def test_the_name_of_this_machine_is_told_to_nobody():
    with mail_server(MailBox()) as box:
        channel(box).send("li@mail.example", LETTER)
    assert "ehlo renhe.example" in box.said
    assert not any(socket.gethostname() in line for line in box.said)


@pytest.mark.parametrize("is_tls_first", [True, False])
def test_a_letter_and_the_password_go_under_tls(tls, secret, is_tls_first):
    box = MailBox(tls=tls, is_tls_first=is_tls_first, user="renhe", password="word 1")
    security = "tls" if is_tls_first else "starttls"
    with mail_server(box):
        assert channel(box, security, tls.certificate, user="renhe", password=secret).send("li@mail.example", LETTER)
    assert [(one[0], one[2]) for one in box.letters] == [(True, ["li@mail.example"])]


def test_a_server_that_strips_starttls_gets_nothing(secret):
    box = MailBox(user="renhe", password="word 1")
    with mail_server(box), pytest.raises(UnavailableError, match=r"mail\.tls"):
        channel(box, "starttls", user="renhe", password=secret).send("li@mail.example", LETTER)
    assert [line.split(" ")[0].lower() for line in box.said] == ["ehlo"]


def test_a_server_that_refuses_starttls_gets_nothing(tls):
    box = MailBox(tls=tls, answers={"STARTTLS": "454 not now"})
    with mail_server(box), pytest.raises(UnavailableError, match=r"mail\.unreachable"):
        channel(box, "starttls", tls.certificate).send("li@mail.example", LETTER)
    assert box.letters == []


def test_a_server_with_a_certificate_from_nobody_trusted_gets_nothing(tls, tmp_path):
    other = certify(tmp_path, "other", "127.0.0.1")
    for authorities in (None, other.certificate):
        box = MailBox(tls=tls)
        with mail_server(box), pytest.raises(UnavailableError, match=r"mail\.tls"):
            channel(box, "starttls", authorities).send("li@mail.example", LETTER)
        assert not any("mail" in line.lower() for line in box.said)


def test_a_server_with_a_certificate_of_another_name_gets_nothing(tmp_path):
    other = certify(tmp_path, "other", "127.0.0.2")
    with mail_server(MailBox(tls=other)) as box, pytest.raises(UnavailableError, match=r"mail\.tls"):
        channel(box, "starttls", other.certificate).send("li@mail.example", LETTER)
    assert box.letters == []


def test_a_wrong_password_is_told(tls, secret):
    box = MailBox(tls=tls, user="renhe", password="another")
    with mail_server(box), pytest.raises(UnavailableError, match=r"mail\.login"):
        channel(box, "starttls", tls.certificate, user="renhe", password=secret).send("li@mail.example", LETTER)


@pytest.mark.parametrize("text", ["", "\n", "a\nb\n", "x" * 1025, "wörd"])
def test_a_password_is_one_line(tmp_path, text):
    path = tmp_path / "mail.password"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mail\.password"):
        channel(MailBox(), user="renhe", password=path)
    with pytest.raises(InputError, match=r"mail\.password"):
        channel(MailBox(), user="renhe", password=tmp_path / "absent")


def test_authorities_are_certificates(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(InputError, match=r"mail\.authorities"):
        channel(MailBox(), "tls", path)


@pytest.mark.parametrize(("command", "answer"), [("RCPT", "550 nobody"), ("RCPT", "450 later"), ("CONTENT", "554 no")])
def test_what_a_server_will_not_have_is_not_taken(command, answer):
    with mail_server(MailBox(answers={command: answer})) as box:
        assert not channel(box).send("li@mail.example", LETTER)
    assert box.letters == []


@pytest.mark.parametrize(
    ("command", "answer", "code"),
    [
        ("CONNECT", "554 go away", "mail.unreachable"),
        ("MAIL", "553 not you", "mail.sender"),
        ("RCPT", "421 closing", "mail.unreachable"),
        ("CONTENT", "421 closing", "mail.unreachable"),
    ],
)
def test_a_server_that_takes_nothing_is_away(command, answer, code):
    with mail_server(MailBox(answers={command: answer})) as box, pytest.raises(UnavailableError) as caught:
        channel(box).send("li@mail.example", LETTER)
    assert caught.value.code == code


def test_a_server_that_asks_in_no_base64_is_away(secret):
    box = MailBox(answers={"EHLO": "250-mail.example\r\n250 AUTH CRAM-MD5", "AUTH": "334 a"})
    with mail_server(box), pytest.raises(UnavailableError, match=r"mail\.unreachable"):
        channel(box, user="renhe", password=secret).probe()


def test_a_server_that_is_not_there_or_says_nothing_is_away(monkeypatch):
    monkeypatch.setattr(mail_module, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        box = MailBox(port=silent.getsockname()[1])
        with pytest.raises(UnavailableError, match=r"mail\.unreachable"):
            channel(box).send("li@mail.example", LETTER)
    with pytest.raises(UnavailableError, match=r"mail\.unreachable"):
        channel(box).probe()


def test_a_probe_sends_nothing():
    with mail_server(MailBox()) as box:
        channel(box).probe()
    assert box.letters == []
    assert not any(line.upper().startswith("MAIL") for line in box.said)


# Addresses

LONG = "a" * 64


@pytest.mark.parametrize(
    "text",
    ["li@mail.example", "li.na+renhe@mail.example", "o'brien@a-b.example", f"{LONG}@mail.example", "x@xn--fiq228c.cn"],
)
def test_an_address_is_taken(text):
    assert email_address(f" {text} ") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "li",
        "@mail.example",
        "li@",
        "li@mail",
        "li@mail..example",
        "li@-mail.example",
        "li@mail.example.",
        ".li@mail.example",
        "li..na@mail.example",
        f"a{LONG}@mail.example",
        f"li@{'a' * 64}.example",
        f"li@{'.'.join(['a' * 60] * 5)}",
        "li@[127.0.0.1]",
        '"li"@mail.example',
        "Li Na <li@mail.example>",
        "li@mail.example,zhang@mail.example",
        "li@mail.example zhang@mail.example",
        "li@zhang@mail.example",
        f"li@{'.'.join(['a' * 49] * 4)}",
        "李@mail.example",
        "li@邮件.example",
        "=?utf-8?q?li?=@mail.example",
        "li=?utf-8?q?na?=@mail.example",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError, match=r"contact\.email"):
        email_address(text)


@pytest.mark.parametrize(
    "address",
    [
        "li@mail.example\r\nBcc: zhang@mail.example",
        "li@mail.example\nBcc: zhang@mail.example",
        "li@mail.example>\r\nRCPT TO:<zhang@mail.example",
        "li@mail.example\0",
        "li@mail.example\u2028x",
        # As encoded words (RFC 2047).
        "=?utf-8?q?li=0D=0ABcc=3A_zhang?=@mail.example",
        "=?utf-8?b?bGkNCkJjYzogemhhbmc?=@mail.example",
        "=?utf-8?q?li=40mail.example=2C_zhang?=@mail.example",
    ],
)
def test_nobody_puts_a_header_a_command_or_another_recipient_into_an_address(address):
    with mail_server(MailBox()) as box, pytest.raises(InputError, match=r"contact\.email"):
        channel(box).send(address, LETTER)
    assert box.said == []


def test_a_dot_alone_on_a_line_ends_no_letter():
    with mail_server(MailBox()) as box:
        assert channel(box).send("li@mail.example", Letter("cd" * 16, "t", "s", "a\n.\r\nb\n"))
    assert box.message().get_content().split() == ["a", ".", "b"]
    assert len(box.letters) == 1
