"""Each row of members says which key ids of log and cosigning keys there were by then (`docs/spec/transaction.md` 2).

They take the place of the log keys, and follow from the rows before and the origin that the genesis names.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "ledger_0006"
down_revision = "ledger_0005"

_LEAVES = sa.table("leaf", sa.column("position", sa.Integer()), sa.column("data", sa.LargeBinary()))
_MEMBERS = sa.table("members", sa.column("height", sa.Integer()), sa.column("data", sa.LargeBinary()))
_TYPES = {"cosign-ed25519": b"\x04", "cosign-mldsa44": b"\x06", "log": b"\x01"}


def upgrade() -> None:
    """Rewrite the rows in order; one that cannot be read stays as it is, and is refused when it is used."""
    connection, known = op.get_bind(), set[str]()
    genesis = connection.execute(sa.select(_LEAVES.c.data).where(_LEAVES.c.position == 0)).scalar()
    heights = connection.execute(sa.select(_MEMBERS.c.height).order_by(_MEMBERS.c.height)).scalars().all()
    for height in heights:
        here = _MEMBERS.c.height == height
        data = connection.execute(sa.select(_MEMBERS.c.data).where(here)).scalar_one()
        try:
            origin, top = orjson.loads(genesis or b"")["origin"], orjson.loads(data)
            known |= {line_id for item in top["organisations"] for line_id in line_ids(origin, item)}
            top.pop("log_keys")
        except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError):
            continue
        new = orjson.dumps({**top, "line_ids": sorted(known)}, option=orjson.OPT_SORT_KEYS)
        connection.execute(sa.update(_MEMBERS).where(here).values(data=new))


def line_ids(origin: str, organisation: dict[str, Any]) -> Iterator[str]:
    """List the key ids of an organisation's lines on checkpoints (C2SP signed-note)."""
    host = origin.partition("/")[0]
    for key in organisation["keys"]:
        use = key["use"]
        if use in _TYPES:
            cosigner = f"{organisation['org_id']}.{host}/cosigner/{use.removeprefix('cosign-')}"
            name = origin if use == "log" else cosigner
            named = name.encode() + b"\n" + _TYPES[use] + binascii.a2b_base64(key["public"])
            yield hashlib.sha256(named).hexdigest()[:8]
