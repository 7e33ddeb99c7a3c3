"""A mail server on a socket of its own (RFC 5321), with STARTTLS and AUTH PLAIN, that keeps what it is given."""

from __future__ import annotations

import base64
import contextlib
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

from medchain.node.config import Tls


@dataclass
class MailBox:
    """What a server does, and what it was given.

    Attributes:
        tls: its certificate; None to offer no TLS.
        is_tls_first: whether it speaks TLS from the first byte.
        user: who may sign in; empty where nobody need.
        password: of that user.
        answers: command → answer in the place of the usual one.
        said: lines that it was sent outside letters, in their order.
        letters: (is_tls, sender, recipients, content) of each letter that it took.
    """

    tls: Tls | None = None
    is_tls_first: bool = False
    user: str = ""
    password: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    letters: list[tuple[bool, str, list[str], bytes]] = field(default_factory=list)
    port: int = 0

    def message(self, at: int = -1) -> EmailMessage:
        """Read a letter."""
        found = message_from_bytes(self.letters[at][3], policy=SMTP)
        assert isinstance(found, EmailMessage)
        return found

    def messages(self, address: str) -> list[EmailMessage]:
        """Read the letters that one address was sent, in their order."""
        return [self.message(at) for at, (_, _, to, _) in enumerate(self.letters) if to == [address]]


class _Session(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Answer until the other side goes."""
        box: MailBox = self.server.box  # type: ignore[attr-defined]  # set below
        self.sender, self.to, self.is_tls, self.is_known = "", [], False, not box.user
        with contextlib.suppress(OSError):
            if box.is_tls_first:
                self._begin_tls(box)
            self._say(box.answers.get("CONNECT", "220 mail.example"))
            while (line := self.rfile.readline(4096)) and self._answer(box, line.decode().rstrip("\r\n")):
                pass

    def finish(self) -> None:
        """Close what TLS has put in the place of the socket."""
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def _answer(self, box: MailBox, line: str) -> bool:
        """Answer a command; tells whether to go on."""
        box.said.append(line)
        verb = line.split(":", maxsplit=1)[0].split(" ", maxsplit=1)[0].upper()
        usual = {"MAIL": self._mail, "RCPT": self._rcpt, "AUTH": self._auth, "DATA": self._data, "EHLO": self._ehlo}
        if verb in box.answers:
            self._say(box.answers[verb])
            return not box.answers[verb].startswith("421")
        if verb == "STARTTLS" and box.tls is not None:
            self._say("220 go")
            self._begin_tls(box)
        elif verb in usual:
            usual[verb](box, line)
        else:
            self._say("250 ok")
        return verb != "QUIT"

    def _ehlo(self, box: MailBox, _line: str) -> None:
        offered = ["mail.example", *(["AUTH PLAIN"] if box.user else [])]
        offered += ["STARTTLS"] if box.tls is not None and not self.is_tls else []
        for number, name in enumerate(offered, 1):
            self._say(f"250{' ' if number == len(offered) else '-'}{name}")

    def _auth(self, box: MailBox, line: str) -> None:
        wanted = base64.b64encode(f"\0{box.user}\0{box.password}".encode()).decode()
        self.is_known = line == f"AUTH PLAIN {wanted}"
        self._say("235 ok" if self.is_known else "535 no")

    def _mail(self, _box: MailBox, line: str) -> None:
        self.sender, self.to = line.partition(":")[2].split(" ")[0].strip("<>"), []
        self._say("250 ok" if self.is_known else "530 sign in")

    def _rcpt(self, _box: MailBox, line: str) -> None:
        self.to.append(line.partition(":")[2].strip("<>"))
        self._say("250 ok")

    def _data(self, box: MailBox, _line: str) -> None:
        self._say("354 go")
        lines = []
        while (line := self.rfile.readline(4096)) and line != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        answer = box.answers.get("CONTENT", "250 ok")
        if answer.startswith("250"):
            box.letters.append((self.is_tls, self.sender, self.to, b"".join(lines)))
        self._say(answer)

    def _begin_tls(self, box: MailBox) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(box.tls.certificate, box.tls.key)
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile, self.is_tls = self.connection.makefile("rb"), self.connection.makefile("wb", 0), True

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    """Listens."""

    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_given: object) -> None:
        """A client that goes away in the middle is none of the test's."""


@contextmanager
def mail_server(box: MailBox) -> Iterator[MailBox]:
    """Run a server on loopback."""
    with _Server(("127.0.0.1", 0), _Session) as server:
        server.box, box.port = box, server.server_address[1]  # type: ignore[attr-defined]  # what its sessions look at
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield box
        server.shutdown()
        thread.join()
