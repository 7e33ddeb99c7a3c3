"""References by URL: which resources they mean, and which of them mean a resource.

Keeps true: one that names a business version means no resource that says another; one that names none means all of that
URL, and a resource that says none is meant whatever is named. Pure.
Source: FHIR R4 §2.29 (canonical); `docs/spec/search-index.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhir_bridge.search.values import token_key
from medchain.store.finding import AllOf, AnyOf, Condition, Match, Not, Row


def of_url(url: int, version: int, key: str, named: str) -> Condition:
    """Ask for what a reference by URL means: what has that URL, and no other version than the one that is named.

    Args:
        url: number of the parameter that is the own URL.
        version: number of the parameter that is the own version; 0 for none.
        key: the URL.
        named: the version that the reference names; empty for none.
    """
    has_url = Row((Match(url, keys=(key,)),))
    if not version or not named:
        return has_url
    is_that = Row((Match(version, keys=(token_key(named),)),))
    return AllOf((has_url, AnyOf((is_that, Not(Row((Match(version),)))))))


def named_by_url(number: int, urls: Sequence[str], versions: Sequence[str]) -> list[Match]:
    """Say which rows of a reference parameter mean something by its URL: those that name none but its version.

    Args:
        number: of the parameter.
        urls: of what is meant.
        versions: of it, folded; one with letters is written in more ways than one, so that then all are taken.
    """
    if not urls:
        return []
    is_plain = versions and all(one.upper() == one for one in versions)
    details = ("", *versions) if is_plain else (None,)
    return [Match(number, keys=tuple(urls), detail=one) for one in details]
