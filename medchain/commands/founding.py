"""`medchain init` and `medchain join`: a node's folder, and the way from member files to a common genesis.

Keeps true: nothing that exists is overwritten; only public keys leave the folder; a node takes over a genesis only when
it names this node's own keys, when every founder proved possession of every key, and when its ledger id is the one that
the person was told over another channel. Trusts the person for that comparison.
Source: `docs/spec/genesis.md`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from medchain.commands import messages
from medchain.commands.command import Command, Context, Exit, Text
from medchain.commands.genesis_words import genesis_document, genesis_lines
from medchain.commands.new_file import write_new
from medchain.encoding import Json, base64_text, canonical, members, parse_canonical, unbase64, unhex
from medchain.errors import ConflictError, InputError, NotFoundError, VerificationError
from medchain.ledger.genesis import (
    Genesis,
    build_genesis,
    genesis_member,
    genesis_signatures,
    parse_genesis,
    verify_genesis,
)
from medchain.ledger.issuers import VRF_KEY, Invoices, VrfGeneration, parse_invoices
from medchain.ledger.members import (
    ACTIVE,
    ALGORITHMS,
    AUTHENTICATION_KEY,
    Organisation,
    ProtocolRules,
    check_org_id,
    make_key,
    organisation_content,
    parse_organisation,
    quorum_floor,
)
from medchain.ledger.policy import ROLES, default_policy
from medchain.node.config import CONFIG_NAME, config_text, load_config
from medchain.node.keystore import (
    Layout,
    add_vrf_key,
    create_keys,
    create_root_file,
    genesis_proofs,
    open_daemon_keys,
    open_web_keys,
    public_keys,
    unlock,
    vrf_publics,
    write_private_file,
)
from medchain.ordering.takeover import is_replaceable

MEMBER_TYPE: Final = "medchain/member/v1"
"""Type member of a member file."""

PROOFS_TYPE: Final = "medchain/genesis-proofs/v1"
"""Type member of a file with one founder's proofs."""

MAX_FILE_BYTES: Final = 1 << 20
"""Largest file of a founder that is looked at."""

_HASH_BYTES: Final = 32
_MEMBER_NAME: Final = "member.json"
_ROOT_KEY: Final = "keys/root.key"
_PROTOCOL: Final = 1
_HOSPITAL: Final = "hospital"
_KEYS: Final = {use: dict if use == AUTHENTICATION_KEY else str for use in ALGORITHMS}
_MEMBER: Final = {
    "control": str,
    "keys": dict,
    "name": dict,
    "org_id": str,
    "origins": list,
    "role": str,
    "type": str,
    "url": str,
}


def member_document(organisation: Organisation) -> Json:
    """Write a member file: what the other founders need of an organisation, all of it public."""
    return {**genesis_member(organisation), "type": MEMBER_TYPE}


def read_member(content: bytes) -> Organisation:
    """Read a member file; raises `InputError` ``encoding.*``, ``member.type``, ``organisation.*``."""
    top = members(parse_canonical(content.rstrip(b"\n"), max_bytes=MAX_FILE_BYTES), _MEMBER, {"invoices": dict})
    if top["type"] != MEMBER_TYPE:
        raise InputError("member.type")
    keys = members(top["keys"], _KEYS)
    org_id = str(top["org_id"])
    made = sorted((make_key(org_id, use, text) for use, text in keys.items()), key=lambda key: key.id)
    return Organisation(
        org_id=org_id,
        role=str(top["role"]),
        control=str(top["control"]),
        name=top["name"] if isinstance(top["name"], dict) else {},
        url=str(top["url"]),
        origins=tuple(str(item) for item in top["origins"]) if isinstance(top["origins"], list) else (),
        status=ACTIVE,
        keys=tuple(made),
        invoices=parse_invoices(top["invoices"])[0] if "invoices" in top else None,
    )


def _init_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `init` takes."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=say(messages.INIT_FOLDER))
    parser.add_argument("--org-id", required=True, metavar="ORG", help=say(messages.INIT_ORG))
    parser.add_argument("--role", required=True, choices=ROLES, help=say(messages.INIT_ROLE))
    parser.add_argument("--name-zh", required=True, metavar="NAME", help=say(messages.INIT_NAME_ZH))
    parser.add_argument("--name-en", required=True, metavar="NAME", help=say(messages.INIT_NAME_EN))
    parser.add_argument("--control", metavar="WHO", help=say(messages.INIT_CONTROL))
    parser.add_argument("--url", default="http://127.0.0.1:41001", metavar="URL", help=say(messages.INIT_URL))
    parser.add_argument("--origin", action="append", default=[], metavar="URL", help=say(messages.INIT_ORIGIN))
    parser.add_argument("--issuer", action="append", default=[], metavar="CODE", help=say(messages.INIT_ISSUER))
    parser.add_argument("--peer-listen", default="127.0.0.1:41001", metavar="HOST:PORT", help=say(messages.INIT_PEER))
    parser.add_argument("--web-listen", default="127.0.0.1:41000", metavar="HOST:PORT", help=say(messages.INIT_WEB))
    parser.add_argument("--sign-listen", default="", metavar="HOST:PORT", help=say(messages.INIT_SIGN_LISTEN))
    parser.add_argument("--sign-origin", default="", metavar="URL", help=say(messages.INIT_SIGN_ORIGIN))
    parser.add_argument("--time-zone", default="", metavar="ZONE", help=say(messages.INIT_TIME_ZONE))
    parser.add_argument("--passphrase", action="store_true", help=say(messages.INIT_PASSPHRASE))


def _init(context: Context) -> int:
    """Make a node's folder."""
    given = context.arguments
    check_org_id(given.org_id)
    folder: Path = given.folder
    if (folder / CONFIG_NAME).exists():
        raise ConflictError("keystore.exists", path=str(folder / CONFIG_NAME))
    layout = Layout(folder)
    for path in (folder / _ROOT_KEY, layout.keystore):
        if path.exists():
            raise ConflictError("keystore.exists", path=str(path))
    passphrase = new_passphrase(context) if given.passphrase else None
    is_new, made = not folder.exists(), folder / ".init"
    shutil.rmtree(made, ignore_errors=True)
    try:
        _make(made, given, passphrase)
        layout.create()
        # The configuration last: with it the folder is a node's.
        for name in (_ROOT_KEY, "keys/keystore.json", _MEMBER_NAME, CONFIG_NAME):
            (made / name).rename(folder / name)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if is_new and not (folder / CONFIG_NAME).exists():
            shutil.rmtree(folder, ignore_errors=True)
    member = folder / _MEMBER_NAME
    document: Json = {"folder": str(folder), "member": str(member), "org_id": given.org_id}
    context.answer(document, [context.say(messages.INIT_DONE, folder=folder, member=member)])
    if passphrase is None:
        context.tell(messages.INIT_KEY_FILE, path=folder / _ROOT_KEY)
    return Exit.DONE


def _make(folder: Path, given: argparse.Namespace, passphrase: str | None) -> None:
    """Make what a node begins with; raises for what no configuration and no genesis would take."""
    halves = unlock(create_root_file(folder / _ROOT_KEY, passphrase))
    keys = create_keys(folder, given.org_id, halves)
    if given.role == _HOSPITAL or given.issuer:
        add_vrf_key(folder, halves)
    settings = {
        "organisation.id": given.org_id,
        "peer.listen": given.peer_listen,
        "web.listen": given.web_listen,
        "keys.source": "file" if passphrase is None else "passphrase",
    }
    if given.sign_listen or given.sign_origin:
        settings |= {"sign.listen": given.sign_listen, "sign.origin": given.sign_origin}
    if given.time_zone:
        settings["fhir.time_zone"] = given.time_zone
    (folder / CONFIG_NAME).write_text(config_text(settings), encoding="utf-8")
    load_config(folder / CONFIG_NAME, {}, {})
    organisation = Organisation(
        org_id=given.org_id,
        role=given.role,
        control=given.control or given.org_id,
        name={"en": given.name_en, "zh": given.name_zh},
        url=given.url,
        origins=tuple(sorted(given.origin)),
        status=ACTIVE,
        keys=tuple(make_key(given.org_id, use, text) for use, text in keys.items()),
        invoices=first_invoices(given.issuer, folder) if given.issuer else None,
    )
    content = canonical(member_document(organisation))
    parse_organisation(organisation_content(read_member(content)))
    write_private_file(folder / _MEMBER_NAME, content + b"\n")


def first_invoices(issuers: Iterable[str], folder: Path) -> Invoices:
    """Say which invoices an organisation issues, with the newest key that its node has for their ids.

    Args:
        issuers: issuer codes.
        folder: of the node, which has such a key.
    """
    return Invoices(tuple(sorted(set(issuers))), (VrfGeneration(0, vrf_publics(folder)[-1]),))


def new_passphrase(context: Context) -> str:
    """Ask for a new passphrase, twice where a person types it; raises `InputError` ``passphrase.differ``."""
    first = context.passphrase(messages.PASSPHRASE_NEW)
    if context.passphrase(messages.PASSPHRASE_AGAIN) != first:
        raise InputError("passphrase.differ")
    return first


def _propose_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `join propose` takes."""
    parser.add_argument("members", nargs="+", type=Path, metavar="MEMBER.json", help=say(messages.PROPOSE_MEMBERS))
    parser.add_argument("--name", required=True, metavar="HOST/NAME", help=say(messages.PROPOSE_NAME))
    parser.add_argument("--orderer", required=True, metavar="ORG", help=say(messages.PROPOSE_ORDERER))
    parser.add_argument("--quorum", type=int, metavar="K", help=say(messages.PROPOSE_QUORUM))
    parser.add_argument("--rp-id", required=True, metavar="DOMAIN", help=say(messages.PROPOSE_RP))
    parser.add_argument(
        "--sign-origin", required=True, action="append", metavar="URL", help=say(messages.PROPOSE_SIGN_ORIGIN)
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help=say(messages.PROPOSE_POLICY))
    parser.add_argument("--demo", action="store_true", help=say(messages.PROPOSE_DEMO))
    parser.add_argument("--out", type=Path, default=Path("genesis.json"), metavar="FILE", help=say(messages.OUT_FILE))


def _propose(context: Context) -> int:
    """Write a genesis from member files."""
    given = context.arguments
    organisations = [read_member(read_file(path)) for path in given.members]
    policy = default_policy() if given.policy is None else _document(read_file(given.policy))
    quorum = quorum_floor(len(organisations)) if given.quorum is None else given.quorum
    genesis = build_genesis(
        organisations,
        origin=given.name,
        policy=policy,
        protocol=ProtocolRules(given.orderer, quorum, _PROTOCOL),
        rp_id=given.rp_id,
        sign_origins=given.sign_origin,
        time=context.clock(),
        demo=given.demo,
    )
    write_new(given.out, genesis.encoded)
    if not is_replaceable(genesis.members):
        context.tell(messages.PROPOSE_IRREPLACEABLE, orderer=given.orderer)
    document: Json = {"file": str(given.out), "ledger": genesis.ledger.hex(), "quorum": quorum}
    context.answer(document, [context.say(messages.PROPOSE_DONE, file=given.out, ledger=genesis.ledger.hex())])
    return Exit.DONE


def _sign_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `join sign` takes."""
    parser.add_argument("genesis", type=Path, metavar="GENESIS.json", help=say(messages.GENESIS_FILE))
    parser.add_argument("--out", type=Path, metavar="FILE", help=say(messages.OUT_FILE))


def _sign(context: Context) -> int:
    """Prove possession of one's own keys for a genesis."""
    config = context.config()
    genesis = parse_genesis(read_file(context.arguments.genesis))
    _check_own_keys(genesis, config.org_id, config.folder)
    halves = context.halves(config, messages.PASSPHRASE)
    web, daemon = open_web_keys(config.folder, halves), open_daemon_keys(config.folder, halves)
    invoices = genesis.members.organisations[config.org_id].invoices
    proofs = genesis_proofs(config.org_id, genesis.ledger, web, daemon, invoices)
    document: Json = {
        "ledger": genesis.ledger.hex(),
        "org_id": config.org_id,
        "proofs": {use: base64_text(proof) for use, proof in proofs.items()},
        "type": PROOFS_TYPE,
    }
    out: Path = context.arguments.out or Path(f"proofs.{config.org_id}.json")
    write_new(out, canonical(document))
    answer: Json = {"file": str(out), "genesis": genesis_document(genesis), "ledger": genesis.ledger.hex()}
    done = context.say(messages.SIGN_DONE, file=out, ledger=genesis.ledger.hex())
    # Nothing is agreed to before the file is given away.
    context.answer(answer, [*genesis_lines(context, genesis), done])
    return Exit.DONE


def _start_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `join start` takes."""
    parser.add_argument("genesis", type=Path, metavar="GENESIS.json", help=say(messages.GENESIS_FILE))
    parser.add_argument("proofs", nargs="+", type=Path, metavar="PROOFS.json", help=say(messages.START_PROOFS))
    parser.add_argument("--ledger", required=True, metavar="HEX", help=say(messages.START_LEDGER))


def _start(context: Context) -> int:
    """Take over a genesis."""
    config = context.config()
    genesis = named_genesis(context)
    _check_own_keys(genesis, config.org_id, config.folder)
    signatures = genesis_signatures(dict(_read_proofs(path, genesis) for path in context.arguments.proofs))
    take_over(Layout(config.folder), genesis, signatures)
    listed: list[Json] = [*sorted(genesis.members.organisations)]
    document: Json = {"genesis": genesis_document(genesis), "ledger": genesis.ledger.hex(), "members": listed}
    done = context.say(messages.START_DONE, ledger=genesis.ledger.hex(), count=len(listed))
    context.answer(document, [*genesis_lines(context, genesis), done])
    return Exit.DONE


def named_genesis(context: Context) -> Genesis:
    """Read a genesis of the ledger that the person names; raises `VerificationError` ``genesis.ledger``."""
    genesis = parse_genesis(read_file(context.arguments.genesis))
    if unhex(context.arguments.ledger, _HASH_BYTES) != genesis.ledger:
        raise VerificationError("genesis.ledger", ledger=genesis.ledger.hex())
    return genesis


def take_over(layout: Layout, genesis: Genesis, signatures: Json) -> None:
    """Write a genesis into a node's folder.

    Args:
        layout: of the folder.
        genesis: which one.
        signatures: of all its members.

    Raises:
        VerificationError: where one of them does not verify, see `verify_genesis`.
        ConflictError: ``genesis.exists`` where another one is there.
    """
    verify_genesis(genesis, signatures)
    if layout.genesis.exists() and layout.genesis.read_bytes() != genesis.encoded:
        raise ConflictError("genesis.exists", path=str(layout.genesis))
    write_private_file(layout.genesis_signatures, canonical(signatures))
    write_private_file(layout.genesis, genesis.encoded)


def _read_proofs(path: Path, genesis: Genesis) -> tuple[str, dict[str, bytes]]:
    """Read one founder's proofs."""
    shape = {"ledger": str, "org_id": str, "proofs": dict, "type": str}
    top = members(parse_canonical(read_file(path), max_bytes=MAX_FILE_BYTES), shape)
    if top["type"] != PROOFS_TYPE:
        raise InputError("proofs.type", path=str(path))
    if top["ledger"] != genesis.ledger.hex():
        raise VerificationError("proofs.ledger", path=str(path))
    proofs = members(top["proofs"], dict.fromkeys(ALGORITHMS, str), {VRF_KEY: str})
    return str(top["org_id"]), {use: unbase64(proof) for use, proof in proofs.items()}


def _check_own_keys(genesis: Genesis, org_id: str, folder: Path) -> None:
    """See that a genesis names this node with the keys that it holds."""
    organisation = genesis.members.organisations.get(org_id)
    if organisation is None:
        raise VerificationError("genesis.not_member", org_id=org_id)
    own = {make_key(org_id, use, text).id for use, text in public_keys(folder).items()}
    invoices = organisation.invoices
    is_own = invoices is None or invoices.generations[0].public in vrf_publics(folder)
    if {key.id for key in organisation.keys} != own or not is_own:
        raise VerificationError("genesis.own_keys", org_id=org_id)


def read_file(path: Path) -> bytes:
    """Read a small file; raises `NotFoundError` ``file.missing``, `InputError` ``file.too_large``."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFoundError("file.missing", path=str(path)) from error
    if len(content) > MAX_FILE_BYTES:
        raise InputError("file.too_large", path=str(path), limit=MAX_FILE_BYTES)
    return content


def _document(content: bytes) -> Json:
    """Read a canonical document that ends with or without a line feed."""
    return parse_canonical(content.rstrip(b"\n"), max_bytes=MAX_FILE_BYTES)


COMMANDS: Final = (
    Command(("init",), messages.INIT_SUMMARY, messages.INIT_EXAMPLES, _init, _init_arguments, needs_config=False),
    Command(
        ("join", "propose"),
        messages.PROPOSE_SUMMARY,
        messages.PROPOSE_EXAMPLES,
        _propose,
        _propose_arguments,
        needs_config=False,
    ),
    Command(("join", "sign"), messages.SIGN_SUMMARY, messages.SIGN_EXAMPLES, _sign, _sign_arguments),
    Command(("join", "start"), messages.START_SUMMARY, messages.START_EXAMPLES, _start, _start_arguments),
)
"""The commands of this file."""
