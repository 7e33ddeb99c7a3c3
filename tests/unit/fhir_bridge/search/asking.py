"""How a client asks for a value that it sees in a resource: written from FHIR R4 §3.1.1.4, without our index."""

from __future__ import annotations

from fhir_bridge.definitions.parameters import ParameterType

_NAME_PARTS = (
    "text",
    "family",
    "given",
    "prefix",
    "suffix",
    "line",
    "city",
    "district",
    "state",
    "country",
    "postalCode",
)


def question(value, kind: ParameterType) -> str:
    """Write what to ask for.

    Args:
        value: of a parameter, as JSON.
        kind: type of the parameter.

    Returns:
        The text of the search; empty where the value says nothing that a search could name.
    """
    if value is None or kind not in _ASKING:
        return ""
    return _ASKING[kind](value)


def _escaped(text: str) -> str:
    """Escape what separates (§3.1.1.4.1)."""
    for sign in "\\,|$":
        text = text.replace(sign, f"\\{sign}")
    return text


def _token(value) -> str:
    """§3.1.1.4.10."""
    if not isinstance(value, dict):
        return _escaped(str(value).lower() if isinstance(value, bool) else value)
    if "coding" in value:
        return next(filter(None, map(_token, value["coding"])), "")
    if "value" in value and "rank" not in value and value.get("system", "").startswith(("urn:", "http")):
        return f"{_escaped(value['system'])}|{_escaped(value['value'])}"
    if isinstance(value.get("value"), str):
        return _escaped(value["value"])
    if "code" in value and "value" not in value:
        return f"{_escaped(value.get('system', ''))}|{_escaped(value['code'])}"
    return ""


def _reference(value) -> str:
    """§3.1.1.4.12; canonical URLs are references as well."""
    return _escaped(value if isinstance(value, str) else value.get("reference", ""))


def _date(value) -> str:
    """§3.1.1.4.7: a moment is itself; a period or timing goes on after its start."""
    if isinstance(value, str):
        # Some date parameters are of choices that may be text as well.
        return value if value[:4].isdigit() else ""
    start = value.get("start") or next((one for one in value.get("event", ()) if one), "")
    return f"ge{start}" if start else ""


def _string(value) -> str:
    """§3.1.1.4.8: any part of a name or address."""
    if isinstance(value, str):
        return _escaped(value)
    parts = (value[name] for name in _NAME_PARTS if name in value)
    texts = (one for part in parts for one in ([part] if isinstance(part, str) else part) if one)
    return _escaped(next(texts, ""))


def _number(value) -> str:
    """§3.1.1.4.6."""
    return str(value) if not isinstance(value, dict) else ""


def _quantity(value) -> str:
    """§3.1.1.4.11: with its unit where it has one."""
    if not isinstance(value, dict) or "value" not in value or "comparator" in value or "currency" in value:
        return ""
    code = f"{_escaped(value['system'])}|{_escaped(value['code'])}" if {"system", "code"} <= set(value) else "|"
    return f"{value['value']}|{code}"


_ASKING = {
    ParameterType.TOKEN: _token,
    ParameterType.REFERENCE: _reference,
    ParameterType.DATE: _date,
    ParameterType.STRING: _string,
    ParameterType.NUMBER: _number,
    ParameterType.QUANTITY: _quantity,
    ParameterType.URI: lambda value: _escaped(value) if isinstance(value, str) else "",
}
