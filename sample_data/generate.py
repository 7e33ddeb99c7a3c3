"""The generator: writes the whole sample data into a folder, the same bytes for the same seed.

Run as ``python -m sample_data.generate --out DIR``; without options it repeats what is committed.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import orjson

from sample_data.model import consortium, directory, fhir, insuring, stories
from sample_data.model.stream import Stream
from sample_data.reader import dump

SEED: Final = 20260101
PATIENTS: Final = 60
MIN_PATIENTS: Final = len(consortium.PLANTED)
"""The planted stories need their patients."""

_LEVEL: Final = 9


def files(seed: int = SEED, patients: int = PATIENTS) -> Iterator[tuple[str, bytes]]:
    """Make all files.

    Args:
        seed: any integer.
        patients: how many, at least `MIN_PATIENTS`.

    Yields:
        Path below the output folder, and content.
    """
    root = Stream(seed)
    world = consortium.build(root, patients)
    planted = stories.plant(world, root)
    for slug, hospital in world.hospitals.items():
        bundle = directory.bundle(hospital, root.child("directory", slug))
        yield f"bundles/{slug}.0-directory.json.gz", _packed(bundle)
    for chart in world.charts.values():
        yield f"bundles/{stories.file_name(chart)}", _packed(chart.bundle)
    charts = list(world.charts.values())
    for name, held in insuring.bundles(charts, root):
        yield f"bundles/{name}", _packed(held)
    for story in planted:
        if story.bundle:
            yield f"stories/{story.name}.json", dump(story.bundle.document())
        if story.chart:
            for slug, held in insuring.later(charts, story.chart, root):
                yield f"stories/{story.name}.{slug}.json", dump(held.document())
    descriptions = [{"name": story.name, **story.description} for story in planted]
    yield "stories.json", orjson.dumps(descriptions, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files.

    Args:
        arguments: command line without the program's name; the process's own if none is given.

    Returns:
        Exit code 0.
    """
    parser = argparse.ArgumentParser(prog="python -m sample_data.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"default {SEED}")
    parser.add_argument("--patients", type=_count, default=PATIENTS, metavar="N", help=f"default {PATIENTS}")
    options = parser.parse_args(arguments)
    total = 0
    for name, content in files(options.seed, options.patients):
        path = options.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        total += len(content)
    print(f"{options.out}: {total} bytes")
    return 0


def _packed(bundle: fhir.Bundle) -> bytes:
    # Without a time and with a fixed level the same content gives the same bytes.
    return gzip.compress(dump(bundle.document()), _LEVEL, mtime=0)


def _count(text: str) -> int:
    value = int(text)
    if value < MIN_PATIENTS:
        message = f"at least {MIN_PATIENTS}: the planted stories need their patients"
        raise argparse.ArgumentTypeError(message)
    return value


if __name__ == "__main__":
    raise SystemExit(main())
