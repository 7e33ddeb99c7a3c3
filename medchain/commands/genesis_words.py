"""What a genesis says, in words: who signs it, or starts from it, agrees to all of that and is shown it.

Its ledger id commits to the content, and comparing ids says that all founders have the same one; not that it is what
they agreed on. Keeps true: what differs from the endorsement policy that a ledger starts with by itself is named, rule
by rule. Trusts `medchain.ledger.genesis` to have read it strictly.
Source: `docs/spec/genesis.md`, `docs/commands.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from medchain.commands import messages
from medchain.commands.command import Context, instant
from medchain.encoding import Json, canonical
from medchain.ledger.genesis import Genesis
from medchain.ledger.policy import default_policy


def genesis_document(genesis: Genesis) -> dict[str, Json]:
    """Write what a genesis says as a document.

    Args:
        genesis: which one.

    Returns:
        What `genesis_lines` words; ``policy_differs``: rule or term → what it is here, null for one that is not there.
    """
    protocol = genesis.members.protocol
    return {
        "demo": genesis.demo,
        "members": [
            {
                "issuers": list[Json](row.invoices.issuers if row.invoices else ()),
                "name": dict(row.name),
                "org_id": row.org_id,
                "role": row.role,
                "url": row.url,
            }
            for _, row in sorted(genesis.members.organisations.items())
        ],
        "name": genesis.origin,
        "orderer": protocol.orderer,
        "policy_differs": _policy_differs(genesis),
        "previous": None if genesis.previous is None else genesis.previous.hex(),
        "quorum": protocol.quorum,
        "rp_id": genesis.rp_id,
        "sign_origins": list[Json](sorted(genesis.sign_origins)),
        "time": genesis.time,
    }


def genesis_lines(context: Context, genesis: Genesis) -> Iterator[str]:
    """Word what a genesis says.

    Args:
        context: of the command.
        genesis: which one.

    Yields:
        Its lines.
    """
    members, protocol = genesis.members.organisations, genesis.members.protocol
    terms = {"name": genesis.origin, "time": instant(genesis.time), "orderer": protocol.orderer}
    yield context.say(messages.GENESIS_SAYS, quorum=protocol.quorum, count=len(members), **terms)
    for _, row in sorted(members.items()):
        name = row.name.get(context.language, "")
        yield context.say(messages.GENESIS_MEMBER, org_id=row.org_id, name=name, role=row.role, url=row.url)
        if row.invoices is not None:
            yield context.say(messages.GENESIS_ISSUERS, issuers=", ".join(row.invoices.issuers))
    yield context.say(messages.GENESIS_SIGNS, rp_id=genesis.rp_id, origins=", ".join(sorted(genesis.sign_origins)))
    if genesis.previous is not None:
        yield context.say(messages.GENESIS_PREVIOUS, previous=genesis.previous.hex())
    if genesis.demo:
        yield context.say(messages.GENESIS_DEMO)
    differs = _policy_differs(genesis)
    yield context.say(messages.GENESIS_POLICY_OTHER if differs else messages.GENESIS_POLICY)
    for rule, expression in differs.items():
        yield context.say(messages.POLICY_ROW, rule=rule, expression=canonical(expression).decode())


def _policy_differs(genesis: Genesis) -> dict[str, Json]:
    """Tell what of a genesis' policy is not what a ledger starts with by itself."""
    own, usual = _flat(genesis.members.policy.content), _flat(default_policy())
    return {name: own.get(name) for name in sorted(own.keys() | usual.keys()) if own.get(name) != usual.get(name)}


def _flat(content: Mapping[str, Json]) -> dict[str, Json]:
    """List a policy's rules, terms and types of statements by name."""
    parts = (content.get(part) for part in ("rules", "terms", "predicates"))
    return {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}
