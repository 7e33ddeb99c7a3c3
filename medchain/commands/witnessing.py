"""`medchain witness init`, `serve`, `trust` and `show`: a witness of one's own, for who runs no node.

Keeps true: only public keys leave the folder; a passphrase is never an argument. Trusts `medchain.node.witnessing` for
all that is cosigned.
Source: `docs/commands.md`; `docs/spec/log.md` 26 to 31.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from medchain.commands import messages
from medchain.commands import witnessing_texts as texts
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.commands.founding import new_passphrase, read_file
from medchain.encoding import Json, base64_text
from medchain.errors import InputError, VerificationError
from medchain.node.config import Address, Tls, is_loopback, parse_address
from medchain.node.log import log_uncaught, open_log
from medchain.node.witness_file import parse_logs
from medchain.node.witnessing import (
    SPLIT,
    WitnessIdentity,
    WitnessLayout,
    create_witness,
    open_witness,
    read_evidence,
    read_identity,
    read_logs,
    read_seen,
    trust_logs,
)
from medchain.tlog.note import VerifierKey
from medchain.web.routing import Router
from medchain.web.server import DaemonServer
from medchain.web.witnessing import witness_routes

STOP_S: Final = 5.0
"""Patience with requests under way at a stop."""

_LISTEN: Final = "127.0.0.1:41080"
_STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def _folder_argument(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare the folder, which each command takes."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=say(texts.FOLDER))


def _init_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `witness init` takes."""
    _folder_argument(parser, say)
    parser.add_argument("--url", required=True, metavar="URL", help=say(texts.URL))
    parser.add_argument("--name", metavar="NAME", help=say(texts.NAME))
    parser.add_argument("--logs", required=True, type=Path, metavar="FILE", help=say(texts.LOGS))
    parser.add_argument("--passphrase", action="store_true", help=say(texts.PASSPHRASE))


def _init(context: Context) -> int:
    """Make a witness's folder."""
    given = context.arguments
    folder: Path = given.folder
    logs = parse_logs(read_file(given.logs))
    name = given.name or _name_of(given.url)
    passphrase = new_passphrase(context) if given.passphrase else None
    identity = create_witness(folder, given.url, name, logs, passphrase)
    document: Json = {"folder": str(folder), **_identity_document(identity)}
    context.answer(document, [context.say(texts.INIT_DONE, folder=folder), *identity.lines()])
    if passphrase is None:
        context.tell(texts.INIT_KEY_FILE, path=WitnessLayout(folder).root_key)
    return Exit.DONE


def _name_of(url: str) -> str:
    """Name a witness by its address."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError("witnessing.url", url=url) from error
    return f"{parts.netloc}{parts.path}".rstrip("/")


def _identity_document(identity: WitnessIdentity) -> dict[str, Json]:
    """Write what others need to know."""
    return {
        "keys": [str(key) for key in identity.keys],
        "lines": [*identity.lines()],
        "name": identity.name,
        "url": identity.url,
    }


def _serve_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `witness serve` takes."""
    _folder_argument(parser, say)
    parser.add_argument("--listen", default=_LISTEN, metavar="HOST:PORT", help=say(texts.LISTEN))
    parser.add_argument("--certificate", type=Path, metavar="FILE", help=say(texts.CERTIFICATE))
    parser.add_argument("--key", type=Path, metavar="FILE", help=say(texts.KEY))


def _serve(context: Context) -> int:
    """Run a witness until it is told to stop."""
    given = context.arguments
    listen, tls = _address(given.listen), _tls(given.certificate, given.key)
    is_sealed = read_identity(given.folder).is_sealed
    passphrase = context.passphrase(messages.PASSPHRASE) if is_sealed else None
    if tls is None and not is_loopback(listen.host):
        context.tell(texts.PLAIN, address=given.listen)
    with open_witness(given.folder, passphrase, context.clock) as witness:
        server = DaemonServer(listen, Router("witness", witness_routes(witness)), tls)
        open_log(WitnessLayout(given.folder).own_log, "witness", "info")
        log_uncaught()
        return _serve_until_stopped(context, witness.identity.name, server)


def _serve_until_stopped(context: Context, name: str, server: DaemonServer) -> int:
    """Answer until told to stop."""
    address = f"{server.address.host}:{server.address.port}"
    # Before there are threads, which have it so, too: a handler of Python's misses what comes just before it sleeps.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    server.start()
    context.answer({"address": address, "name": name}, [context.say(texts.SERVING, name=name, address=address)])
    signal.sigwait(_STOPS)
    server.stop(STOP_S)
    return Exit.DONE


def _address(text: str) -> Address:
    """Read where to listen."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise InputError("witnessing.listen", value=text) from error


def _tls(certificate: Path | None, key: Path | None) -> Tls | None:
    """Take a certificate with its key, or neither."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise InputError("witnessing.tls")
    return Tls(certificate, key)


def _trust_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `witness trust` takes."""
    _folder_argument(parser, say)
    parser.add_argument("--logs", required=True, type=Path, metavar="FILE", help=say(texts.LOGS))


def _trust(context: Context) -> int:
    """Change which keys of logs are trusted."""
    given = context.arguments
    logs = parse_logs(read_file(given.logs))
    read_identity(given.folder)
    trust_logs(given.folder, logs)
    origins = sorted({key.name for key in logs})
    document: Json = {"keys": [str(key) for key in logs], "origins": [*origins]}
    context.answer(document, [context.say(texts.TRUST_DONE, count=len(logs), origins=", ".join(origins))])
    return Exit.DONE


def _show(context: Context) -> int:
    """Tell how it is with a witness; it may run meanwhile."""
    folder: Path = context.arguments.folder
    identity, keys = read_identity(folder), read_logs(folder)
    evidence = read_evidence(folder)
    logs = [_log_row(folder, origin, identity, keys) for origin in sorted({key.name for key in keys})]
    document: Json = {
        **_identity_document(identity),
        "evidence": [str(path) for path in evidence],
        "logs": [*logs],
    }
    told = (*(_log_line(context, row) for row in logs), *(_evidence_line(context, path) for path in evidence))
    context.answer(document, [*identity.lines(), *told])
    return Exit.DONE if all(row["is_whole"] for row in logs) else Exit.REFUSED


def _log_row(folder: Path, origin: str, identity: WitnessIdentity, keys: Sequence[VerifierKey]) -> dict[str, Json]:
    """Tell how it is with a log."""
    row: dict[str, Json] = {"keys": [str(key) for key in keys if key.name == origin], "origin": origin}
    try:
        seen = read_seen(folder, origin, identity.keys)
    except VerificationError:
        return {**row, "is_whole": False, "root": None, "size": None, "time": None}
    root = base64_text(seen.checkpoint.root)
    return {**row, "is_whole": True, "root": root, "size": seen.checkpoint.size, "time": seen.time}


def _log_line(context: Context, row: dict[str, Json]) -> str:
    """Word it."""
    if not row["is_whole"]:
        return context.say(texts.SHOW_LOST, origin=row["origin"])
    keys, time = row["keys"], row["time"]
    count = len(keys) if isinstance(keys, list) else 0
    shown = instant(time) if isinstance(time, int) and time else "-"
    return context.say(texts.SHOW_LOG, origin=row["origin"], size=row["size"], time=shown, count=count)


def _evidence_line(context: Context, path: Path) -> str:
    """Word a checkpoint that is kept."""
    return context.say(texts.SHOW_SPLIT if path.name.startswith(SPLIT) else texts.SHOW_UNPROVEN, path=path)


def _command(
    word: str,
    summary: Text,
    examples: Text,
    run: Callable[[Context], int],
    arguments: Callable[[argparse.ArgumentParser, Callable[[Text], str]], None],
) -> Command:
    """Make a command of this file: none takes a node's configuration."""
    return Command(("witness", word), summary, examples, run, arguments, needs_config=False)


COMMANDS: Final = (
    _command("init", texts.INIT_SUMMARY, texts.INIT_EXAMPLES, _init, _init_arguments),
    _command("serve", texts.SERVE_SUMMARY, texts.SERVE_EXAMPLES, _serve, _serve_arguments),
    _command("trust", texts.TRUST_SUMMARY, texts.TRUST_EXAMPLES, _trust, _trust_arguments),
    _command("show", texts.SHOW_SUMMARY, texts.SHOW_EXAMPLES, _show, _folder_argument),
)
"""The commands of this file."""
