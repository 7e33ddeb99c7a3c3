"""The lineage of a policy: which sets of members came before it, so that no two policies of a ledger are the same.

Members may come back to a set that they were before. Without its lineage, a policy that was replaced would be named by
the block ends after that, too, and a quorum of the one could pass for that of the other. Keeps true: a lineage is
reached by one sequence of sets alone, each named by its text. Trusts nothing.
Source: `docs/spec/genesis.md` 6.
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from typing import Final, NamedTuple

from medchain.encoding import digest
from medchain.errors import InputError
from medchain.tlog.policy import Group, Policy

GROUP: Final = "consortium"
"""Name of the group that is the quorum of a set of members, in the text that a lineage hashes; also its beginning."""

_LINEAGE_TAG: Final = "medchain/lineage/v1"
_NAME: Final = re.compile(GROUP + r"@([0-9a-f]{64})\Z")


class NamedPolicy(NamedTuple):
    """What a policy says of members.

    Attributes:
        lineage: 32 bytes.
        text: policy.txt of these members alone.
        digest: SHA-256 of that text without the lineage, as `lineage_after` takes it.
    """

    lineage: bytes
    text: bytes
    digest: bytes


def group_name(lineage: bytes) -> str:
    """Name the group that is the quorum of a set of members."""
    return f"{GROUP}@{lineage.hex()}"


def lineage_after(former: bytes, text_digest: bytes) -> bytes:
    """Continue a lineage.

    Args:
        former: of the set before, 32 bytes; zeros where there was none.
        text_digest: SHA-256 of the new set's policy.txt, its group being named `GROUP`.

    Returns:
        32 bytes.
    """
    return digest(_LINEAGE_TAG, former, text_digest)


def is_named(policy: Policy, name: bytes) -> bool:
    """Tell whether it is a policy's members whom the end of a block names; raises as `members_policy`."""
    return sha256(members_policy(policy).text).digest() == name


def asks_for_more(policy: Policy) -> bool:
    """Tell whether a policy asks for more than the quorum of its members; raises as `members_policy`."""
    return _without_urls(policy).to_bytes() != members_policy(policy).text


def members_policy(policy: Policy) -> NamedPolicy:
    """Take the policy of a set of members out of one that may ask for more, such as for a witness beside them.

    Args:
        policy: with a group that bears a lineage.

    Returns:
        What it says of the members.

    Raises:
        InputError: ``policy.unnamed`` without such a group, or with two.
    """
    found = [(one, _NAME.match(one.name)) for one in policy.components if isinstance(one, Group)]
    named = [(group, match) for group, match in found if match]
    if len(named) != 1:
        raise InputError("policy.unnamed")
    (group, match), *_ = named
    groups = {one.name: one for one in policy.components if isinstance(one, Group)}
    parts, waiting = {group.name}, [group]
    while waiting:
        members = waiting.pop().members
        parts.update(members)
        waiting += [groups[name] for name in members if name in groups]
    bared = _without_urls(policy)
    components = tuple(one for one in bared.components if one.name in parts)
    alone = Policy(bared.logs, components, group.name)
    bare = replace(alone, components=(*components[:-1], replace(group, name=GROUP)), quorum=GROUP)
    return NamedPolicy(bytes.fromhex(match[1]), alone.to_bytes(), sha256(bare.to_bytes()).digest())


def _without_urls(policy: Policy) -> Policy:
    """Leave out where logs and witnesses are reached: it says nothing of who they are."""
    components = tuple(one if isinstance(one, Group) else replace(one, url=None) for one in policy.components)
    return replace(policy, logs=tuple(replace(log, url=None) for log in policy.logs), components=components)
