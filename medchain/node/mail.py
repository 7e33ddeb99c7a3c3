"""Letters by e-mail: handed to the organisation's own mail server, one connection each.

Keeps true: nothing is said to a server beyond this machine but under TLS with a certificate of its name, the password
least of all; one letter goes to one address, which is checked before anything is written; what a server answers is kept
nowhere, since it may name the address. Trusts the mail server for bringing a letter that it took, and to tell nobody.
Source: RFC 5321; RFC 3207; RFC 3834 §5; RFC 5322; `docs/spec/notice.md` 8; `docs/operations.md`.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from medchain.errors import InputError, UnavailableError
from medchain.node.clock import Clock
from medchain.node.config import MailServer
from medchain.node.contact_address import EMAIL, email_address
from medchain.node.letters import Letter

TIMEOUT_S: Final = 30.0
"""Patience with each answer of the server, which may look through a letter before it takes it."""

_MAX_PASSWORD_BYTES: Final = 1024


class MailChannel:
    """Sends letters by e-mail (`medchain.node.dispatching.Channel`)."""

    __slots__ = ("_clock", "_context", "_password", "_server")

    name: Final = EMAIL

    def __init__(self, server: MailServer, clock: Clock) -> None:
        """Prepare.

        Args:
            server: takes the letters.
            clock: gives Unix seconds.

        Raises:
            InputError: ``mail.password``, ``mail.authorities`` for a file that cannot be read.
        """
        self._server = server
        self._clock = clock
        self._password = "" if server.password is None else _read_password(server.password)
        try:
            self._context = ssl.create_default_context(cafile=server.authorities)
        except OSError as error:
            raise InputError("mail.authorities") from error

    def send(self, address: str, letter: Letter) -> bool:
        """Hand a letter in.

        Args:
            address: of who gets it.
            letter: what is sent.

        Returns:
            Whether the server took it; not so where it would not have this address or letter, for now or for good.

        Raises:
            UnavailableError: ``mail.unreachable``, ``mail.tls``, ``mail.login``, ``mail.sender``: the server is away,
                or takes nothing from this node.
            InputError: ``contact.email``.
        """
        to = email_address(address)
        message = self._written(to, letter)
        with self._session() as session:
            try:
                session.sendmail(self._server.sender, [to], message)
            except smtplib.SMTPSenderRefused as error:
                raise UnavailableError("mail.sender") from error
            except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError):
                # 421, after which smtplib closes: it is not about this letter.
                if session.sock is None:
                    raise
                return False
        return True

    def probe(self) -> None:
        """See that the server would take letters from this node; raises `UnavailableError` as `send`."""
        with self._session() as session:
            session.noop()

    def _written(self, to: str, letter: Letter) -> bytes:
        """Write the message; base64 passes every server unchanged, whatever it can do."""
        message = EmailMessage(policy=SMTP)
        message["From"] = self._server.sender
        message["To"] = to
        message["Subject"] = letter.title
        message["Date"] = format_datetime(datetime.fromtimestamp(self._clock(), UTC))
        # The same for a letter that is sent again, so that mail programs can show it once.
        message["Message-ID"] = f"<{letter.id}@{self._domain()}>"
        # RFC 3834: no holiday notices come back.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text, cte="base64")
        return message.as_bytes()

    def _domain(self) -> str:
        """Return the domain of the sender: the name of this machine is nobody's business."""
        return self._server.sender.rpartition("@")[2]

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """Connect, secure and sign in; what goes wrong on the way is the server's."""
        try:
            session = self._connected()
            try:
                self._sign_in(session)
                yield session
            finally:
                session.close()
        except (ssl.SSLError, smtplib.SMTPNotSupportedError) as error:
            raise UnavailableError("mail.tls") from error
        except smtplib.SMTPAuthenticationError as error:
            raise UnavailableError("mail.login") from error
        # ValueError: a question that is no base64, and others that smtplib lets through.
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise UnavailableError("mail.unreachable") from error

    def _connected(self) -> smtplib.SMTP:
        """Connect, under TLS where it is not this machine."""
        (host, port), own = self._server.address, self._domain()
        if self._server.security == "tls":
            return smtplib.SMTP_SSL(host, port, local_hostname=own, timeout=TIMEOUT_S, context=self._context)
        session = smtplib.SMTP(host, port, local_hostname=own, timeout=TIMEOUT_S)
        if self._server.security == "starttls":
            try:
                session.starttls(context=self._context)
            except BaseException:
                session.close()
                raise
        return session

    def _sign_in(self, session: smtplib.SMTP) -> None:
        """Sign in, where the server wants it."""
        if self._server.user:
            session.login(self._server.user, self._password)


def _read_password(path: Path) -> str:
    """Read the password; raises `InputError` ``mail.password``."""
    try:
        with path.open("rb") as file:
            password = file.read(_MAX_PASSWORD_BYTES + 1).decode("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("mail.password", path=str(path)) from error
    if not 0 < len(password) <= _MAX_PASSWORD_BYTES or not password.isprintable() or not password.isascii():
        raise InputError("mail.password", path=str(path))
    return password
