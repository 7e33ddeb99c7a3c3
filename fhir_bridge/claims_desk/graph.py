"""The evidence of a claim as a graph: who says what, from left to right, hospital, patient, ledger, insurer. Pure.

Keeps true: it is made from the verdict and from what the claim cites alone; each node says how good it is and how it is
known, by the findings that it stands on; the table beside it has the same nodes in the same order. Trusts nothing else.
Source: `docs/spec/claim-verdict.md`; SVG 2.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from medchain.ledger.evidence.verdict import ClaimVerdict, Colour, Finding, Line, worst

LANES: Final = ("hospital", "patient", "ledger", "insurer")
"""The lanes, from left to right."""

LANE_WIDTH: Final = 242
"""From one lane to the next, in pixels."""

NODE_WIDTH: Final = 200
"""Width of a node, in pixels."""

NODE_HEIGHT: Final = 64
"""Height of a node, in pixels."""

ROW_HEIGHT: Final = 88
"""From one row of nodes to the next, in pixels."""

TOP: Final = 44
"""Room for the names of the lanes, in pixels."""

MARGIN: Final = 14
"""Room at the sides, in pixels."""

UNITS: Final = 26
"""How wide a line of a node's title may be: a Latin letter is one, a Chinese character two."""

MAX_HOSPITALS: Final = 8
"""Most hospitals that have nodes of their own; the findings of all are in the lines."""

KINDS: Final = (
    "records",
    "invoice",
    "consent",
    "registered",
    "access",
    "unclaimed",
    "claim",
    "coverage",
    "flags",
    "verdict",
)
"""What nodes can be, in the order in which they stand in their lanes."""

_BETWEEN: Final = {"patient": ROW_HEIGHT // 2}
_REGISTERED: Final = (Line.SOURCE, Line.UNALTERED)
_WIDE: Final = frozenset("WF")
_LIMIT: Final = 2


class Node(NamedTuple):
    """A node.

    Attributes:
        key: its name in the page.
        lane: one of `LANES`.
        kind: what it is: a word of the page's, ``claims.node.KIND``.
        hospital: org_id of whose it is; empty for none.
        findings: what it stands on.
    """

    key: str
    lane: str
    kind: str
    hospital: str
    findings: tuple[Finding, ...]

    @property
    def colour(self) -> Colour:
        """How good it is."""
        return worst(self.findings)


class Edge(NamedTuple):
    """That one node stands on another.

    Attributes:
        source: key of the left one.
        target: key of the right one.
    """

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph.

    Attributes:
        nodes: lane by lane, from the top.
        edges: between them.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class Drawn(NamedTuple):
    """A node with its place.

    Attributes:
        node: the node.
        x: of its left side, in pixels.
        y: of its top, in pixels.
        lines: its title, line by line.
    """

    node: Node
    x: int
    y: int
    lines: tuple[str, ...]


class Picture(NamedTuple):
    """A graph that is drawn.

    Attributes:
        width: in pixels.
        height: in pixels.
        lanes: name of each lane's word and the middle of it.
        nodes: with their places.
        paths: of the edges, SVG path data.
    """

    width: int
    height: int
    lanes: tuple[tuple[str, int], ...]
    nodes: tuple[Drawn, ...]
    paths: tuple[str, ...]


def graph_of(verdict: ClaimVerdict, hospitals: Iterable[str]) -> Graph:
    """Make the graph of a verdict.

    Args:
        verdict: the verdict.
        hospitals: org_ids of those whose records the claim cites.
    """
    named = {str(one.arguments["hospital"]) for one in verdict.findings if "hospital" in one.arguments}
    known = sorted(named | set(hospitals))[:MAX_HOSPITALS]
    nodes = [*_of_hospitals(verdict, known), *_of_all(verdict)]
    edges = [edge for number in range(len(known)) for edge in _edges(number)]
    edges += [Edge("invoice", "unclaimed"), Edge("unclaimed", "claim")]
    edges += [Edge(one, "verdict") for one in ("claim", "coverage", "flags")]
    ordered = sorted(nodes, key=lambda one: (LANES.index(one.lane), KINDS.index(one.kind)))
    return Graph(tuple(ordered), tuple(edges))


def _of_hospitals(verdict: ClaimVerdict, hospitals: Sequence[str]) -> list[Node]:
    """Make the nodes of each hospital: its records, that they are registered, the permission and the access to them."""
    nodes = []
    for number, org_id in enumerate(hospitals):
        about = [one for one in verdict.findings if one.arguments.get("hospital") == org_id]
        of_records = tuple(one for one in about if one.line in _REGISTERED)
        of_consent = tuple(one for one in about if one.line is Line.CONSENT)
        nodes += [
            Node(f"records-{number}", "hospital", "records", org_id, of_records),
            Node(f"consent-{number}", "patient", "consent", org_id, of_consent),
            Node(f"registered-{number}", "ledger", "registered", org_id, of_records),
            Node(f"access-{number}", "ledger", "access", org_id, of_consent),
        ]
    return nodes


def _of_all(verdict: ClaimVerdict) -> list[Node]:
    """Make the nodes of no one hospital."""
    return [
        Node("invoice", "hospital", "invoice", "", verdict.of(Line.COMPLETE)),
        Node("unclaimed", "ledger", "unclaimed", "", verdict.of(Line.UNCLAIMED)),
        Node("claim", "insurer", "claim", "", (*verdict.of(Line.UNALTERED), *verdict.of(Line.COMPLETE))),
        Node("coverage", "insurer", "coverage", "", verdict.of(Line.COVERAGE)),
        Node("flags", "insurer", "flags", "", verdict.of(Line.FLAGS)),
        Node("verdict", "insurer", "verdict", "", verdict.findings),
    ]


def _edges(number: int) -> tuple[Edge, ...]:
    """List what leads from a hospital's records, and the permission, to the claim."""
    return (
        Edge(f"records-{number}", f"registered-{number}"),
        Edge(f"registered-{number}", "claim"),
        Edge(f"consent-{number}", f"access-{number}"),
        Edge(f"access-{number}", "claim"),
    )


def drawn(graph: Graph, titles: Mapping[str, str]) -> Picture:
    """Give each node its place.

    Args:
        graph: the graph.
        titles: of each node, by its key.
    """
    rows = dict.fromkeys(LANES, 0)
    nodes: dict[str, Drawn] = {}
    for node in graph.nodes:
        x = MARGIN + LANES.index(node.lane) * LANE_WIDTH
        # What leads from a hospital's records to the ledger passes between the permissions.
        y = TOP + rows[node.lane] * ROW_HEIGHT + _BETWEEN.get(node.lane, 0)
        nodes[node.key] = Drawn(node, x, y, wrapped(titles[node.key]))
        rows[node.lane] += 1
    width = 2 * MARGIN + (len(LANES) - 1) * LANE_WIDTH + NODE_WIDTH
    lanes = tuple((lane, MARGIN + at * LANE_WIDTH + NODE_WIDTH // 2) for at, lane in enumerate(LANES))
    paths = tuple(_path(nodes[one.source], nodes[one.target]) for one in graph.edges)
    height = max(one.y for one in nodes.values()) + ROW_HEIGHT
    return Picture(width, height, lanes, tuple(nodes.values()), paths)


def _path(source: Drawn, target: Drawn) -> str:
    """Draw an edge: a curve from side to side, or within a lane one that goes round on the right."""
    y0, y1 = source.y + NODE_HEIGHT // 2, target.y + NODE_HEIGHT // 2
    x0 = source.x + NODE_WIDTH
    if source.x == target.x:
        return f"M{x0} {y0}C{x0 + 14} {y0} {x0 + 14} {y1} {x0} {y1}"
    middle = (x0 + target.x) // 2
    return f"M{x0} {y0}C{middle} {y0} {middle} {y1} {target.x} {y1}"


def wrapped(text: str) -> tuple[str, ...]:
    """Break a title into at most two lines; what does not fit is cut off, and stands whole in the table."""
    lines, line, width = [], "", 0
    for word in _words(text):
        size = _width(word)
        if line and width + size > UNITS:
            lines.append(line.rstrip())
            line, width = "", 0
        line, width = line + word, width + size
    lines.append(line.rstrip())
    if len(lines) > _LIMIT:
        lines = [*lines[: _LIMIT - 1], f"{lines[_LIMIT - 1]}…"]
    return tuple(lines)


def _words(text: str) -> Iterable[str]:
    """Split a text where a line may end: after a space, and before or after a wide character."""
    word = ""
    for character in text:
        is_wide = unicodedata.east_asian_width(character) in _WIDE
        if word and (is_wide or _width(word) >= UNITS):
            yield word
            word = ""
        word += character
        if is_wide or character == " ":
            yield word
            word = ""
    if word:
        yield word


def _width(text: str) -> int:
    """Tell how wide a text is."""
    return sum(2 if unicodedata.east_asian_width(one) in _WIDE else 1 for one in text)
