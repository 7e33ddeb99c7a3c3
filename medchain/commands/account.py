"""`medchain account …`: which people may sign in at the node, and the code with which each enrols a passkey.

Keeps true: there are no passwords; a code is shown once, here, and counts once; who is closed is signed out at once.
Trusts whoever can open the root key: that is the operator.
Source: `docs/commands.md`, `docs/spec/smart.md`.
"""

from __future__ import annotations

import argparse
import re
import secrets
from typing import Final

from consent.web.codes import CODE, CODE_S, enrol_url, give_code
from fhir_bridge.deeds import command
from fhir_bridge.document import parse
from fhir_bridge.smart.origins import public_origins
from medchain.commands import client_texts as texts
from medchain.commands.client import Say, opened
from medchain.commands.command import Command, Context, Exit, Text
from medchain.dates import may_be_minor
from medchain.encoding import Json, canonical
from medchain.errors import ConflictError, InputError, NotFoundError
from medchain.ledger.genesis import Genesis
from medchain.ledger.kinds.content import short_text
from medchain.node.assembly import WebNode, read_genesis
from medchain.node.keystore import Layout
from medchain.node.policy_terms import PolicyTerms
from medchain.node.records import RecordService
from medchain.store.accounts import STAFF, Account, Role
from medchain.web.deeds import Kind
from medchain.web.sign_in import ENROL, ENROL_S

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PERSON: Final = re.compile(r"(?:Practitioner|PractitionerRole|Person|RelatedPerson|Patient)/[A-Za-z0-9\-.]{1,64}|")
_MAX_DISPLAY: Final = 128


def _name_argument(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what commands on one account take."""
    parser.add_argument("name", help=say(texts.ACCOUNT_NAME))


def _add_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `account add` takes."""
    _name_argument(parser, say)
    roles = [role.value for role in Role if role in STAFF]
    parser.add_argument("--role", required=True, choices=roles, help=say(texts.ACCOUNT_ROLE))
    parser.add_argument("--display", default="", metavar="NAME", help=say(texts.ACCOUNT_DISPLAY))
    parser.add_argument("--fhir-user", default="", metavar="TYPE/ID", help=say(texts.ACCOUNT_FHIR_USER))


def _add(context: Context) -> int:
    """Make an account."""
    given = context.arguments
    display = given.display or given.name
    is_good = _NAME.fullmatch(given.name) and _PERSON.fullmatch(given.fhir_user)
    if not is_good or len(display) > _MAX_DISPLAY or not display.isprintable():
        raise InputError("account.malformed")
    role, now = Role(given.role), context.clock()
    account = Account(secrets.token_hex(16), given.name, display, role, given.fhir_user, None, None, now)
    with opened(context) as node:
        with command(node, Kind.ACCOUNT, account.id):
            node.records.accounts.put_account(account)
        return _told(context, node, account)


def _person_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `account person` takes."""
    _name_argument(parser, say)
    parser.add_argument("fhir_user", metavar="TYPE/ID", help=say(texts.ACCOUNT_FHIR_USER))


def _person(context: Context) -> int:
    """Say whose an account is."""
    given = context.arguments
    if not _PERSON.fullmatch(given.fhir_user):
        raise InputError("account.malformed")
    with opened(context) as node:
        account, accounts = _found(node, given.name), node.records.accounts
        if account.identity is not None:
            raise ConflictError("account.provider", name=account.name)
        with command(node, Kind.ACCOUNT, account.id):
            accounts.change_account(account.id, display=account.display, role=account.role, fhir_user=given.fhir_user)
    answer: Json = {"account": account.name, "fhir_user": given.fhir_user}
    context.answer(answer, [context.say(texts.ACCOUNT_PERSON, name=account.name, person=given.fhir_user)])
    return Exit.DONE


def _told(context: Context, node: WebNode, account: Account) -> int:
    """Give a code to enrol with, as an address to open."""
    now = context.clock()
    document: Json = {"account": account.id}
    code = node.records.accounts.put_ticket(ENROL, canonical(document), now + ENROL_S, now)
    genesis, _ = read_genesis(Layout(node.config.folder))
    # After a hash: a browser sends that part to nobody, and no log has it.
    url = f"{public_origins(node, genesis)[0]}/enrol#{code}"
    answer: Json = {"account": account.name, "role": account.role.value, "url": url}
    minutes = ENROL_S // 60
    said = context.say(texts.ACCOUNT_ADDED, name=account.name, role=account.role.value, minutes=minutes, url=url)
    context.answer(answer, [said])
    return Exit.DONE


def _found(node: WebNode, name: str) -> Account:
    """Find an account; raises `NotFoundError` ``account.unknown``."""
    account = node.records.accounts.account_named(name)
    if account is None:
        raise NotFoundError("account.unknown", name=name)
    return account


def _list(context: Context) -> int:
    """List the accounts."""
    rows: list[Json] = []
    lines: list[str] = []
    with opened(context) as node:
        for account in node.records.accounts.accounts():
            passkeys = len(node.records.accounts.passkeys_of(account.id))
            row = {"display": account.display, "name": account.name, "role": account.role.value}
            rows.append({**row, "disabled": account.disabled is not None, "passkeys": passkeys})
            state = "" if account.disabled is None else context.say(texts.CLIENT_DISABLED)
            lines.append(context.say(texts.ACCOUNT_ROW, passkeys=passkeys, state=state, **row))
    context.answer({"accounts": rows}, lines or [context.say(texts.ACCOUNT_NONE)])
    return Exit.DONE


def _enrol_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `account enrol` takes."""
    _name_argument(parser, say)
    parser.add_argument("--replace", action="store_true", help=say(texts.ACCOUNT_REPLACE))


def _enrol(context: Context) -> int:
    """Give another code to enrol with."""
    with opened(context) as node:
        account = _found(node, context.arguments.name)
        with command(node, Kind.ACCOUNT, account.id):
            if context.arguments.replace:
                node.records.accounts.drop_passkeys(account.id)
            return _told(context, node, account)


def _confirm_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `account confirm` takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help=say(texts.ACCOUNT_NAME))
    parser.add_argument("--keep-passkeys", action="store_true", help=say(texts.ACCOUNT_KEEP))


def _confirm(context: Context) -> int:
    """Open accounts that a restore shut; without a name: list those that wait."""
    given = context.arguments
    with opened(context) as node:
        accounts = node.records.accounts
        if not given.names:
            waiting = [account.name for account in accounts.unconfirmed_accounts()]
            context.answer({"accounts": list[Json](waiting)}, waiting or [context.say(texts.CONFIRM_NONE)])
            return Exit.DONE
        for account in [_found(node, name) for name in given.names]:
            with command(node, Kind.ACCOUNT, account.id):
                accounts.confirm_account(account.id, keep_passkeys=given.keep_passkeys)
    told = texts.ACCOUNT_CONFIRMED_KEPT if given.keep_passkeys else texts.ACCOUNT_CONFIRMED
    names = list[Json](given.names)
    context.answer({"accounts": names}, [context.say(told, name=name) for name in given.names])
    return Exit.DONE


def _switch(context: Context, now: int | None, told: Text) -> int:
    """Close an account, or open it again."""
    with opened(context) as node:
        account = _found(node, context.arguments.name)
        with command(node, Kind.ACCOUNT, account.id):
            node.records.accounts.close_account(account.id, now)
    context.answer({"account": account.name}, [context.say(told, name=account.name)])
    return Exit.DONE


def _invite_arguments(parser: argparse.ArgumentParser, say: Say) -> None:
    """Declare what `account invite` takes."""
    parser.add_argument("patient", help=say(texts.INVITE_PATIENT))
    parser.add_argument("--method", default="identity-card", metavar="METHOD", help=say(texts.INVITE_METHOD))


def _invite(context: Context) -> int:
    """Give a patient, whose identity the desk has checked, a code to enrol a passkey with."""
    given, now = context.arguments, context.clock()
    short_text(given.method)
    with opened(context) as node:
        genesis, _ = read_genesis(Layout(node.config.folder))
        _check_of_age(node, genesis, given.patient)
        with command(node, Kind.ACCOUNT, CODE):
            code = give_code(node.records.accounts, given.patient, given.method, now)
        url = enrol_url(public_origins(node, genesis), genesis.rp_id, code)
    context.answer({"url": url}, [context.say(texts.INVITED, hours=CODE_S // 3600, url=url)])
    return Exit.DONE


def _check_of_age(node: WebNode, genesis: Genesis, patient: str) -> None:
    """See that somebody may have an account alone, as the desk does: a child is enrolled with its guardians.

    Raises:
        NotFoundError: ``account.no_patient``, also for one who was deleted or erased.
        ConflictError: ``account.minor``.
    """
    service = RecordService(node.records, genesis.ledger, node.keys.records, node.clock)
    try:
        born = parse(service.read("Patient", patient).content).get("birthDate")
    except NotFoundError as error:
        raise NotFoundError("account.no_patient") from error
    years = PolicyTerms(node.local, genesis.members.policy.terms).majority_years()
    if isinstance(born, str) and may_be_minor(born, years, node.clock()):
        raise ConflictError("account.minor")


COMMANDS: Final = (
    Command(("account", "invite"), texts.INVITE_SUMMARY, texts.INVITE_EXAMPLES, _invite, _invite_arguments),
    Command(("account", "add"), texts.ACCOUNT_ADD_SUMMARY, texts.ACCOUNT_ADD_EXAMPLES, _add, _add_arguments),
    Command(
        ("account", "person"), texts.ACCOUNT_PERSON_SUMMARY, texts.ACCOUNT_PERSON_EXAMPLES, _person, _person_arguments
    ),
    Command(("account", "list"), texts.ACCOUNT_LIST_SUMMARY, texts.ACCOUNT_LIST_EXAMPLES, _list),
    Command(("account", "enrol"), texts.ACCOUNT_ENROL_SUMMARY, texts.ACCOUNT_ENROL_EXAMPLES, _enrol, _enrol_arguments),
    Command(
        ("account", "confirm"),
        texts.ACCOUNT_CONFIRM_SUMMARY,
        texts.ACCOUNT_CONFIRM_EXAMPLES,
        _confirm,
        _confirm_arguments,
    ),
    Command(
        ("account", "disable"),
        texts.ACCOUNT_DISABLE_SUMMARY,
        texts.ACCOUNT_DISABLE_EXAMPLES,
        lambda context: _switch(context, context.clock(), texts.ACCOUNT_DISABLED),
        _name_argument,
    ),
    Command(
        ("account", "enable"),
        texts.ACCOUNT_ENABLE_SUMMARY,
        texts.ACCOUNT_ENABLE_EXAMPLES,
        lambda context: _switch(context, None, texts.ACCOUNT_ENABLED),
        _name_argument,
    ),
)
"""The commands of this file."""
