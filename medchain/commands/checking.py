"""`medchain verify`: judges a proof bundle offline.

Keeps true: the policy comes from outside the bundle; a bundle's size and names are bounded before it is read whole.
Trusts `medchain.ledger.bundle` for the verdict.
Source: `docs/spec/proof-bundle.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from hashlib import file_digest
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

from medchain.commands import messages
from medchain.commands.claim_lines import claim_lines
from medchain.commands.command import Command, Context, Exit, Text, instant
from medchain.encoding import Json, base64_text, unhex
from medchain.errors import InputError, NotFoundError, VerificationError
from medchain.ledger.bundle import MAX_AGE_S, MAX_FILES, Verdict, verify_bundle
from medchain.ledger.collection import Item
from medchain.ledger.disclosures import Disclosures
from medchain.ledger.looks import Looks, check_growth
from medchain.ledger.opening import Shown
from medchain.node.packed import MAX_ZIP_BYTES, bounded, unpack_bundle

_MAX_POLICY_BYTES: Final = 1 << 20
_HASH_BYTES: Final = 32


def read_bundle(path: Path) -> dict[str, bytes]:
    """Read a bundle's files from a folder or a zip, within the bounds of `docs/spec/proof-bundle.md` 1.

    Args:
        path: folder or zip file.

    Returns:
        Relative name, with ``/`` → content.

    Raises:
        NotFoundError: ``file.missing``.
        InputError: ``bundle.size``, ``bundle.files``, ``bundle.link``, ``bundle.twice``, ``bundle.format``.
    """
    if path.is_dir():
        return bounded(_folder_files(path))
    if not path.is_file():
        raise NotFoundError("file.missing", path=str(path))
    try:
        return unpack_bundle(_head(path, MAX_ZIP_BYTES + 1))
    except OSError as error:
        raise InputError("bundle.format", path=str(path)) from error
    except InputError as error:
        if error.code != "bundle.format":
            raise
        raise InputError("bundle.format", path=str(path)) from error


def _folder_files(folder: Path) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """List a folder's files."""
    found = list(islice(folder.rglob("*"), 2 * MAX_FILES + 1))
    if len(found) > 2 * MAX_FILES:
        raise InputError("bundle.files", limit=MAX_FILES)
    for path in sorted(found):
        name = PurePosixPath(path.relative_to(folder)).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            raise InputError("bundle.link", name=name)
        yield name, lambda limit, path=path: _head(path, limit)  # type: ignore[misc]  # the default binds the name


def _head(path: Path, limit: int) -> bytes:
    """Read so much of a file."""
    with path.open("rb") as file:
        return file.read(limit)


def read_policy(path: Path) -> str:
    """Read a trusted policy.

    Raises:
        InputError: ``policy.text`` for what is no text.
        NotFoundError: ``file.missing``.
    """
    try:
        return _head(path, _MAX_POLICY_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise NotFoundError("file.missing", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("policy.text", path=str(path)) from error


def seconds(text: str) -> int:
    """Read a length of time; raises `ValueError`, which `argparse` words, also for one below 0."""
    if (seconds := int(text)) < 0:
        raise ValueError
    return seconds


def _verify_arguments(parser: argparse.ArgumentParser, say: Callable[[Text], str]) -> None:
    """Declare what `verify` takes."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help=say(messages.VERIFY_BUNDLE))
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help=say(messages.VERIFY_POLICY))
    parser.add_argument("--ledger", metavar="HEX", help=say(messages.VERIFY_LEDGER))
    parser.add_argument("--current", action="store_true", help=say(messages.VERIFY_CURRENT))
    parser.add_argument("--max-age", type=seconds, default=MAX_AGE_S, metavar="SECONDS", help=say(messages.VERIFY_AGE))
    parser.add_argument("--show", action="store_true", help=say(messages.VERIFY_SHOW))
    parser.add_argument("--content", type=Path, metavar="FILE", help=say(messages.VERIFY_CONTENT))
    parser.add_argument("--before", type=Path, metavar="BUNDLE", help=say(messages.VERIFY_BEFORE))


def _verify(context: Context) -> int:
    """Judge a bundle."""
    given = context.arguments
    policy = read_policy(given.policy)
    if _is_within(given.policy, given.bundle):
        context.tell(messages.VERIFY_OWN_POLICY, file=given.policy)
    ledger = None if given.ledger is None else unhex(given.ledger, _HASH_BYTES)

    def judge(bundle: Path) -> Verdict:
        return verify_bundle(read_bundle(bundle), policy, now=context.clock(), max_age_s=given.max_age, ledger=ledger)

    verdict = judge(given.bundle)
    lines = list(_verdict_lines(context, verdict, show=given.show))
    if given.content is not None:
        _compare(given.content, verdict)
        compared = messages.VERDICT_CONTENT if verdict.shown.part is None else messages.VERDICT_CONTENT_PART
        lines.append(context.say(compared, file=given.content, part=verdict.shown.part))
    if given.before is not None:
        _check_grown(judge(given.before), verdict)
        lines.append(context.say(messages.VERDICT_GREW))
    context.answer(_verdict_document(verdict, show=given.show), lines)
    if not given.current or verdict.current:
        return Exit.DONE
    # An entry is for ever; only of a state there is a newest.
    stale = messages.VERIFY_NO_STATE if verdict.answer == "entry" else messages.VERIFY_STALE
    context.tell(stale, limit=given.max_age)
    return Exit.STALE


def _is_within(path: Path, bundle: Path) -> bool:
    """Tell whether a file is one of a bundle's own: whoever made the bundle could have made it, too."""
    return path.resolve().is_relative_to(bundle.resolve())


def _compare(path: Path, verdict: Verdict) -> None:
    """Compare a file with the content that a bundle opens.

    Raises:
        InputError: ``bundle.no_content`` for a bundle that opens none.
        NotFoundError: ``file.missing``.
        VerificationError: ``bundle.content``.
    """
    if verdict.shown.size is None:
        raise InputError("bundle.no_content")
    try:
        with path.open("rb") as file:
            found = (path.stat().st_size, file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise NotFoundError("file.missing", path=str(path)) from error
    if found != (verdict.shown.size, verdict.shown.sha256):
        raise VerificationError("bundle.content", path=str(path))


def _check_grown(earlier: Verdict, later: Verdict) -> None:
    """Compare a list of looks with an earlier proof; raises `InputError` ``looks.absent``, and as `check_growth`."""
    if earlier.looks is None or later.looks is None:
        raise InputError("looks.absent")
    check_growth(earlier.looks, later.looks)


def _verdict_document(verdict: Verdict, *, show: bool) -> Json:
    """Write a verdict as a document."""
    document = verdict.shown.to_json() | {
        "answer": verdict.answer,
        "cosigners": list[Json](verdict.cosigners),
        "current": verdict.current,
        "disclosures": None if verdict.disclosures is None else verdict.disclosures.to_json(),
        "ledger": verdict.ledger,
        "looks": None if verdict.looks is None else verdict.looks.to_json(),
        "newest": verdict.newest,
        "object": verdict.object,
        "position": verdict.position,
        "registered": verdict.registered,
        "size": verdict.size,
        "status": verdict.status,
        "time": verdict.time,
        "verdict": "verified" if verdict.current else "verified as of",
        "version": verdict.version,
    }
    if verdict.items:
        rows: list[Json] = [item.to_json() | (_opened(item.shown) if show else {}) for item in verdict.items]
        document["items"] = rows
    if verdict.claim is not None:
        document["claim"] = verdict.claim.to_json()
    return document | _opened(verdict.shown) if show else document


def _opened(shown: Shown) -> dict[str, Json]:
    """Write the content that is shown."""
    content: dict[str, Json] = {} if shown.content is None else {"opened_b64": base64_text(shown.content)}
    return content | {"fields": dict[str, Json](shown.fields)} if shown.fields else content


def _verdict_lines(context: Context, verdict: Verdict, *, show: bool) -> Iterator[str]:
    """Word a verdict: first what holds, then what it is about."""
    if verdict.current:
        yield context.say(messages.VERDICT_CURRENT, size=verdict.size)
    else:
        yield context.say(messages.VERDICT_AS_OF, size=verdict.size, time=instant(verdict.time))
    match verdict.answer:
        case "disclosures" if verdict.disclosures is not None:
            yield from _disclosure_lines(context, verdict.disclosures, verdict.size)
        case "looks" if verdict.looks is not None:
            yield from _look_lines(context, verdict.looks)
        case "items":
            yield from _item_lines(context, verdict.items, show=show)
        case "claim" if verdict.claim is not None:
            yield from claim_lines(context, verdict.claim, verdict.names)
        case "absent":
            yield context.say(messages.VERDICT_ABSENT, object=verdict.object)
        case "record":
            yield context.say(
                messages.VERDICT_RECORD,
                object=verdict.object,
                status=verdict.status,
                version=verdict.version,
                position=verdict.position,
            )
            if verdict.newest != verdict.version:
                yield context.say(messages.VERDICT_EARLIER, newest=verdict.newest)
        case _:
            yield context.say(messages.VERDICT_ENTRY, position=verdict.position)
    if verdict.registered is not None:
        yield context.say(messages.VERDICT_REGISTERED, position=verdict.position, time=instant(verdict.registered))
    yield context.say(messages.VERDICT_COSIGNERS, count=len(verdict.cosigners), names=", ".join(verdict.cosigners))
    yield from _content_lines(context, verdict.shown, show=show)


def _content_lines(context: Context, shown: Shown, *, show: bool) -> Iterator[str]:
    """Word what a bundle shows of the content, and whether it is all of it."""
    if shown.fields:
        yield context.say(messages.VERDICT_FIELDS, count=len(shown.fields))
        for name, value in shown.fields if show else ():
            yield context.say(messages.VERDICT_FIELD, name=name, value=value)
    if shown.content is None and shown.size is not None:
        yield context.say(messages.VERDICT_LARGE, size=shown.size, sha256=shown.sha256)
    elif shown.content is not None:
        opened = messages.VERDICT_OPENED if shown.part is None else messages.VERDICT_OPENED_PART
        yield context.say(opened, size=len(shown.content), part=shown.part)
        if shown.hidden:
            yield context.say(messages.VERDICT_HIDDEN, count=shown.hidden)
        if show:
            yield shown.content.decode("utf-8", "replace")


def _item_lines(context: Context, items: Sequence[Item], *, show: bool) -> Iterator[str]:
    """Word what is proven of several objects."""
    yield context.say(messages.VERDICT_ITEMS, count=len(items))
    for item in items:
        key = item.key.hex()
        if not item.records:
            yield context.say(messages.VERDICT_ABSENT, object=key)
            continue
        newest, proven = item.records[0], item.records[-1]
        yield context.say(
            messages.VERDICT_ITEM,
            object=key,
            status=proven.status,
            version=proven.version,
            newest=newest.version,
            position=proven.since,
            registered="–" if item.registered is None else instant(item.registered),
        )
        yield from _content_lines(context, item.shown, show=show)


def _disclosure_lines(context: Context, found: Disclosures, size: int) -> Iterator[str]:
    """Word what was disclosed under a grant, and that nothing else is recorded."""
    count = len(found.listed)
    yield context.say(
        messages.VERDICT_DISCLOSURES, grant=found.grant.hex(), custodian=found.custodian, count=count, size=size
    )
    for one in found.listed:
        yield context.say(
            messages.VERDICT_DISCLOSED,
            position=one.position,
            version=one.version,
            time=instant(one.access.time),
            recipient=one.recipient,
            count=one.access.count,
            purpose=one.access.purpose,
        )
    for version in found.destroyed:
        yield context.say(messages.VERDICT_DESTROYED, version=version)


def _look_lines(context: Context, found: Looks) -> Iterator[str]:
    """Word who looked at a patient's records, and that nothing else is entered in this list."""
    rows = [(entry, look) for entry in found.entries for look in entry.looks]
    yield context.say(
        messages.VERDICT_LOOKS,
        custodian=found.custodian,
        patient=found.patient,
        count=len(rows),
        until=instant(found.root.time),
        version=found.version,
    )
    for entry, look in rows:
        yield context.say(
            messages.VERDICT_LOOK_REFUSED if look.is_refused else messages.VERDICT_LOOK,
            time=instant(look.time),
            entered=instant(entry.time),
            client=look.client,
            who=look.who or "–",
            action=look.action,
            purpose=look.purpose or "–",
        )
    for first, last in found.root.lost:
        yield context.say(messages.VERDICT_LOOKS_LOST, first=first, last=last)


COMMANDS: Final = (
    Command(
        ("verify",),
        messages.VERIFY_SUMMARY,
        messages.VERIFY_EXAMPLES,
        _verify,
        _verify_arguments,
        needs_config=False,
    ),
)
"""The commands of this file."""
