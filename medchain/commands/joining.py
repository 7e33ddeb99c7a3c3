"""`medchain join request` and `join enter`: an organisation joins a consortium that runs already.

The way: the newcomer writes its request, with a proof of possession of each key for that ledger → a member proposes
its admission (`medchain org admit`) → enough members approve → the newcomer takes over the genesis and starts: its node
fetches and verifies all blocks, and comes to its own admission by itself. Keeps true: nothing that exists is
overwritten; only public keys leave the folder; the ledger is the one that the person was told over another channel.
Trusts the person for that comparison.
Source: `docs/spec/genesis.md` 4, `docs/spec/proposal.md` 9.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from medchain.commands import messages
from medchain.commands import proposal_texts as texts
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.founding import named_genesis, read_file, read_member, take_over
from medchain.commands.genesis_words import genesis_document, genesis_lines
from medchain.commands.new_file import write_new
from medchain.encoding import Json, base64_text, canonical, parse_canonical
from medchain.errors import VerificationError
from medchain.ledger.issuers import VRF_KEY
from medchain.ledger.members import make_key, organisation_content
from medchain.node.keystore import (
    Layout,
    genesis_proofs,
    open_daemon_keys,
    open_web_keys,
    public_keys,
)
from medchain.node.member_changes import ADMISSION_TYPE

_HASH_BYTES: Final = 32
_MAX_FILE_BYTES: Final = 1 << 20


def _request_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `join request` takes."""
    parser.add_argument("genesis", type=Path, metavar="GENESIS.json", help=say(messages.GENESIS_FILE))
    parser.add_argument("--ledger", required=True, metavar="HEX", help=say(messages.START_LEDGER))
    parser.add_argument("--out", type=Path, metavar="FILE", help=say(messages.OUT_FILE))


def _request(context: Context) -> int:
    """Write a request for admission."""
    config = context.config()
    genesis = named_genesis(context)
    member = read_member(read_file(config.folder / "member.json"))
    own = {make_key(config.org_id, use, text).id for use, text in public_keys(config.folder).items()}
    if member.org_id != config.org_id or {key.id for key in member.keys} != own:
        raise VerificationError("genesis.own_keys", org_id=config.org_id)
    halves = context.halves(config, messages.PASSPHRASE)
    web, daemon = open_web_keys(config.folder, halves), open_daemon_keys(config.folder, halves)
    made = genesis_proofs(config.org_id, genesis.ledger, web, daemon, member.invoices)
    proofs = {key.id: base64_text(made[key.use]) for key in member.keys}
    if member.invoices is not None:
        proofs[member.invoices.generations[0].id] = base64_text(made[VRF_KEY])
    document: Json = {
        "ledger": genesis.ledger.hex(),
        "organisation": organisation_content(member, proofs),
        "type": ADMISSION_TYPE,
    }
    out: Path = context.arguments.out or Path(f"admission.{config.org_id}.json")
    write_new(out, canonical(document))
    answer: Json = {"file": str(out), "genesis": genesis_document(genesis), "ledger": genesis.ledger.hex()}
    context.answer(answer, [*genesis_lines(context, genesis), context.say(texts.REQUEST_DONE, file=out)])
    return Exit.DONE


def _enter_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `join enter` takes."""
    parser.add_argument("genesis", type=Path, metavar="GENESIS.json", help=say(messages.GENESIS_FILE))
    parser.add_argument("signatures", type=Path, metavar="SIGNATURES.json", help=say(texts.ENTER_SIGNATURES))
    parser.add_argument("--ledger", required=True, metavar="HEX", help=say(messages.START_LEDGER))


def _enter(context: Context) -> int:
    """Take over the genesis of a consortium that runs already."""
    config, genesis = context.config(), named_genesis(context)
    signatures = parse_canonical(read_file(context.arguments.signatures), max_bytes=_MAX_FILE_BYTES)
    take_over(Layout(config.folder), genesis, signatures)
    ledger = genesis.ledger.hex()
    context.answer({"ledger": ledger}, [context.say(texts.ENTER_DONE, ledger=ledger)])
    return Exit.DONE


COMMANDS: Final = (
    Command(("join", "request"), texts.REQUEST_SUMMARY, texts.REQUEST_EXAMPLES, _request, _request_arguments),
    Command(("join", "enter"), texts.ENTER_SUMMARY, texts.ENTER_EXAMPLES, _enter, _enter_arguments),
)
"""The commands of this file."""
