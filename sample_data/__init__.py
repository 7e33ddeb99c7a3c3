"""A believable consortium of made-up people, and how to read it; or any other folder of FHIR bundles.

`load` reads bundles one at a time, `dump` writes one back to the letter, `needles` says which strings of it must never
appear in plaintext. Unlike our packages this one re-exports: demonstration, tests and benchmarks write
``sample_data.load``.
"""

from sample_data.plaintext import needles
from sample_data.reader import BUNDLES, STORIES, dump, load, read, stories

__all__ = ["BUNDLES", "STORIES", "dump", "load", "needles", "read", "stories"]
