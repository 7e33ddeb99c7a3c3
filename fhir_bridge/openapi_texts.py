"""What the OpenAPI description says of each interaction, parameter and answer, in Chinese and English.

A data table. Keeps true: an interaction of the registry without a line here cannot be described, and a test fails.
Source: FHIR R4 §3.1.0; `docs/spec/rest.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from medchain.encoding import Json

Text = tuple[str, str]
"""One meaning, (Chinese, English)."""


@dataclass(frozen=True, slots=True)
class About:
    """What is told of an interaction.

    Attributes:
        summary: what it does.
        answers: status → name in `RESPONSES`.
        parameters: names in `PARAMETERS`.
        body: kind of what is sent; empty for nothing, ``parameters`` for a resource that may be left out.
        errors: statuses beside those that every interaction may answer.
    """

    summary: Text
    answers: Mapping[str, str]
    parameters: tuple[str, ...] = ()
    body: str = ""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query, or a header.

    Attributes:
        place: ``query`` or ``header``.
        text: what it is for.
        schema: of its value.
    """

    place: str
    text: Text
    schema: Mapping[str, Json] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        text: what it means.
        body: kind of its body; empty for none.
        headers: that it may have.
    """

    text: Text
    body: str = ""
    headers: tuple[str, ...] = ()


INFO: Final[Mapping[str, Text]] = {
    "title": ("MedChain 节点的 FHIR R4 接口", "FHIR R4 interface of a MedChain node"),
    "description": (
        "由服务器的路由表生成。搜索参数可带修饰符（name:exact），可链式（subject.name）。能力声明见 /metadata。",
        "Made of the server's routes. Search parameters take modifiers (name:exact) and chains (subject.name).",
    ),
    "resource": ("FHIR R4 资源；HL7 的 JSON Schema：", "A FHIR R4 resource; HL7's JSON Schema:"),
}
"""What is said of all of it."""

SECURITY: Final[Mapping[str, Text]] = {
    "bearer": ("访问令牌", "An access token"),
    "smart": ("SMART on FHIR v2，端点见", "SMART on FHIR v2, its endpoints are at"),
}
"""How clients show who they are."""

_WHOLE: Final[Mapping[str, Json]] = {"minimum": 0, "type": "integer"}
_LIST: Final[Mapping[str, Json]] = {"items": {"type": "string"}, "type": "array"}

PARAMETERS: Final[Mapping[str, Parameter]] = {
    "_at": Parameter("query", ("该时刻或时段内的版本", "versions that were current then")),
    "_contained": Parameter(
        "query",
        ("是否搜索被包含的资源", "whether contained resources are searched"),
        {
            "enum": ["true", "false", "both"],
            "type": "string",
        },
    ),
    "_containedType": Parameter(
        "query",
        ("返回容器还是被包含者", "whether containers are answered, or what they hold"),
        {
            "enum": ["container", "contained"],
            "type": "string",
        },
    ),
    "_count": Parameter("query", ("每页条数，最多 1000", "entries of a page, at most 1,000"), _WHOLE),
    "_custodian": Parameter(
        "query",
        (
            "其他机构的标识：读取该机构的记录；* 为所有已许可的机构（按本机构患者）",
            "id of another organisation whose records are meant; * for all that permit it, by a patient of this node",
        ),
    ),
    "_cursor": Parameter("query", ("下一页链接中的游标", "cursor of a link to a next page")),
    "_elements": Parameter("query", ("只返回这些元素", "elements that are wanted, separated by commas")),
    "_format": Parameter(
        "query",
        ("应答格式", "form of the answer"),
        {
            "enum": ["json", "xml", "application/fhir+json", "application/fhir+xml"],
            "type": "string",
        },
    ),
    "_has": Parameter(
        "query", ("反向链：_has:Type:ref:param=value", "reverse chain: _has:Type:ref:param=value"), _LIST
    ),
    "_include": Parameter("query", ("一并返回所引用的资源", "also what is referred to: Type:parameter"), _LIST),
    "_list": Parameter("query", ("在某个 List 中", "what is in a List")),
    "_outputFormat": Parameter(
        "query",
        ("导出格式", "form of the files"),
        {
            "enum": ["application/fhir+ndjson", "application/ndjson", "ndjson"],
            "type": "string",
        },
    ),
    "_pretty": Parameter("query", ("便于阅读", "laid out for people"), {"enum": ["true", "false"], "type": "string"}),
    "_revinclude": Parameter("query", ("一并返回引用它的资源", "also what refers to it: Type:parameter"), _LIST),
    "_since": Parameter("query", ("自此时刻以来", "since that instant"), {"format": "date-time", "type": "string"}),
    "start": Parameter("query", ("诊疗日期自此起", "care from that date on"), {"format": "date", "type": "string"}),
    "end": Parameter("query", ("诊疗日期至此止", "care until that date"), {"format": "date", "type": "string"}),
    "_sort": Parameter("query", ("排序，减号为倒序", "order; a minus sign turns it around")),
    "_summary": Parameter(
        "query",
        ("摘要", "summary"),
        {
            "enum": ["true", "false", "text", "data", "count"],
            "type": "string",
        },
    ),
    "_total": Parameter(
        "query",
        ("是否给出总数", "whether the total is told"),
        {
            "enum": ["none", "estimate", "accurate"],
            "type": "string",
        },
    ),
    "_type": Parameter("query", ("资源类型，逗号分隔", "resource types, separated by commas")),
    "_typeFilter": Parameter("query", ("按搜索筛选", "searches that narrow what is exported"), _LIST),
    "If-Match": Parameter("header", ('所要求的版本，如 W/"3"', 'the version that is wanted, as W/"3"')),
    "If-Modified-Since": Parameter("header", ("自此之后未变则 304", "304 where nothing changed since")),
    "If-None-Exist": Parameter("header", ("没有匹配者才新建", "a search; created only if it finds nothing")),
    "If-None-Match": Parameter("header", ("已有的版本", "the version that the client has")),
    "Purpose-Of-Use": Parameter(
        "header", ("用途，v3-ActReason 代码", "purpose of use, a code of v3-ActReason, such as TREAT")
    ),
    "Prefer": Parameter(
        "header",
        (
            "return=minimal|representation|OperationOutcome；handling=strict|lenient；wait=秒数（等到终局）；respond-async",
            "return=minimal|representation|OperationOutcome; handling=strict|lenient; wait=seconds; respond-async",
        ),
    ),
}
"""Parameters of queries, and headers."""

_VERSION: Final = ("ETag", "Last-Modified", "Medchain-Anchored", "X-Request-Id")

RESPONSES: Final[Mapping[str, Answer]] = {
    "resource": Answer(("资源", "A resource"), "resource", _VERSION),
    "content": Answer(("资源；Binary 则为其原字节", "A resource; of a Binary, its own bytes"), "any", _VERSION),
    "created": Answer(
        (
            "已新建；Binary 不送回，代之以 OperationOutcome；return=minimal 则无内容",
            "Created. A Binary is not sent back, an OperationOutcome is; nothing is under return=minimal",
        ),
        "resource",
        (*_VERSION, "Location"),
    ),
    "none": Answer(("已完成，无内容", "Done, nothing to tell"), "", ("ETag", "X-Request-Id")),
    "unchanged": Answer(("客户端已有此版本", "The client has this version"), "", _VERSION),
    "judged": Answer(
        (
            "判定与证据；Accept: application/zip 只取证据包",
            "The verdict and its evidence; with Accept: application/zip the bundle",
        ),
        "evidence",
        ("X-Request-Id",),
    ),
    "gathering": Answer(
        ("证据仍在收集，请稍后以同样的请求再取", "The evidence is still being gathered: ask the same again"),
        "resource",
        ("Retry-After", "X-Request-Id"),
    ),
    "accepted": Answer(("导出已开始", "The export has begun"), "resource", ("Content-Location", "X-Request-Id")),
    "cancelled": Answer(("导出已删除", "The export is deleted"), "resource", ("X-Request-Id",)),
    "going": Answer(("仍在进行", "Still going on"), "", ("Retry-After", "X-Progress")),
    "manifest": Answer(("导出清单", "What there is to fetch"), "json", ("Expires",)),
    "lines": Answer(("每行一个资源", "A resource a line"), "lines"),
    "proof": Answer(("证明包（ZIP）", "A proof bundle, as a ZIP file"), "zip"),
    "description": Answer(("本说明", "This description"), "json"),
    "400": Answer(("请求有误", "Something of the request is not right"), "resource", ("X-Request-Id",)),
    "401": Answer(("没有令牌，或令牌无效", "No token, or one that does not hold"), "resource", ("WWW-Authenticate",)),
    "403": Answer(("权限不足", "The token does not allow it"), "resource"),
    "404": Answer(("没有，或无权看见", "Not there, or not for this token to see"), "resource"),
    "406": Answer(("不提供此格式", "The form is not served"), "resource"),
    "405": Answer(("该类型没有此交互", "The type lacks this interaction"), "resource"),
    "409": Answer(("与已有内容冲突", "In conflict with what there is"), "resource"),
    "410": Answer(("已删除或已销毁", "Deleted or erased"), "resource"),
    "412": Answer(("条件不成立，或多于一个匹配", "The condition does not hold, or matches more than one"), "resource"),
    "413": Answer(("内容过大", "Too large"), "resource"),
    "415": Answer(("不支持此内容类型", "This type of content is not taken"), "resource"),
    "422": Answer(("资源不符合规则，逐处指出", "The resource breaks rules; each place is named"), "resource"),
    "429": Answer(("过于频繁", "Too often"), "resource", ("Retry-After",)),
    "500": Answer(("内部错误", "An error of the server"), "resource", ("X-Request-Id",)),
    "502": Answer(
        (
            "其他机构的应答不成立，已全部拒收",
            "The other organisation's answer does not hold; all of it was refused",
        ),
        "resource",
        ("X-Request-Id",),
    ),
    "503": Answer(("暂不可用，请稍后重试", "Not available now; try again later"), "resource", ("Retry-After",)),
}
"""Answers."""

_PARTS: Final = ("_summary", "_elements")
_RESULTS: Final = ("_count", "_sort", "_include", "_revinclude", "_total", "_contained", "_containedType", "_cursor")
_FOUND: Final[Mapping[str, str]] = {"200": "resource"}
_SEARCH: Final[Text] = ("搜索", "search")
_VALIDATE: Final[Text] = ("校验资源", "validate a resource")
_META: Final[Text] = ("读取 meta；类型或系统级为在用的标签", "read its meta; of a type or of all, what is in use")
_EVERYTHING: Final[Text] = ("一位患者或一次就诊的全部资源", "all of a patient or an encounter")
_BODY_ERRORS: Final = ("404", "409", "410", "412", "413", "415", "422")
_WRITTEN: Final[Mapping[str, str]] = {"200": "resource", "201": "created"}
_EXPORT: Final[Text] = ("开始批量导出", "begin a bulk export")
_BEGUN: Final[Mapping[str, str]] = {"202": "accepted"}
_EXPORTING: Final = ("Prefer", "_since", "_type", "_typeFilter", "_elements", "_outputFormat")

ABOUT: Final[Mapping[str, About]] = {
    "GET metadata": About(("能力声明", "the CapabilityStatement"), _FOUND),
    "GET openapi": About(("OpenAPI 说明", "this OpenAPI description"), {"200": "description"}),
    "GET read": About(
        ("读取", "read"),
        {"200": "content", "304": "unchanged"},
        ("If-None-Match", "If-Modified-Since", *_PARTS),
        errors=("404", "410"),
    ),
    "GET vread": About(
        ("读取一个版本", "read a version"),
        {"200": "content", "304": "unchanged"},
        ("If-None-Match", *_PARTS),
        errors=("404", "410"),
    ),
    "GET history": About(
        ("历史", "history"), _FOUND, ("_count", "_since", "_at", "_cursor", *_PARTS), errors=("404", "410")
    ),
    "GET search": About(_SEARCH, _FOUND, (*_RESULTS, *_PARTS, "_has", "_list", "_type", "Prefer"), errors=("404",)),
    "POST search": About(_SEARCH, _FOUND, ("Prefer",), "form", ("404", "413", "415")),
    "GET everything": About(
        _EVERYTHING,
        _FOUND,
        ("start", "end", "_count", "_since", "_type", "_cursor"),
        errors=("404",),
    ),
    "POST everything": About(_EVERYTHING, _FOUND, (), "parameters", ("404", "413", "415", "422")),
    "POST validate": About(_VALIDATE, _FOUND, (), "resource", ("404", "413", "415", "422")),
    "GET validate": About(_VALIDATE, _FOUND, errors=("404", "410")),
    "GET meta": About(_META, _FOUND, errors=("404", "410")),
    "POST meta": About(_META, _FOUND, (), "parameters", ("404", "410", "413", "415", "422")),
    "POST meta-add": About(("补充 meta", "add to its meta"), _FOUND, ("If-Match",), "resource", _BODY_ERRORS),
    "POST meta-delete": About(
        ("从 meta 中去掉", "take away from its meta"), _FOUND, ("If-Match",), "resource", _BODY_ERRORS
    ),
    "GET export": About(_EXPORT, _BEGUN, _EXPORTING, errors=("404",)),
    "POST export": About(_EXPORT, _BEGUN, ("Prefer",), "resource", ("404", "413", "415", "422")),
    "GET export-status": About(
        ("导出进度与清单", "how an export stands, and its files"), {"200": "manifest", "202": "going"}, errors=("404",)
    ),
    "DELETE export-cancel": About(("删除导出", "delete an export"), {"202": "cancelled"}, errors=("404",)),
    "GET export-file": About(("取导出文件", "fetch a file of an export"), {"200": "lines"}, errors=("404",)),
    "POST claim-provenance": About(
        ("判定一份理赔并取回证据", "have a claim judged, with its evidence"),
        {"200": "judged", "202": "gathering"},
        (),
        "resource",
        ("404", "409", "413", "415"),
    ),
    "POST verify-claim-evidence": About(
        ("核验理赔证据包", "verify the evidence of a claim"), _FOUND, (), "evidence", ("413", "415")
    ),
    "GET proof": About(("证明包", "its proof bundle"), {"200": "proof"}, errors=("404", "409", "410")),
    "POST create": About(
        ("新建", "create"),
        _WRITTEN,
        ("If-None-Exist", "Prefer"),
        "resource",
        _BODY_ERRORS,
    ),
    "PUT update": About(
        ("更新或以此标识新建", "update, or create under this id"),
        _WRITTEN,
        ("If-Match", "If-None-Match", "Prefer"),
        "resource",
        _BODY_ERRORS,
    ),
    "PATCH patch": About(("修补", "patch"), _FOUND, ("If-Match", "Prefer"), "patch", (*_BODY_ERRORS, "405")),
    "DELETE delete": About(
        ("删除，历史保留", "delete; its history stays"),
        {"204": "none"},
        ("If-Match",),
        "",
        (
            "404",
            "409",
            "412",
        ),
    ),
    "POST bundle": About(
        ("batch 或 transaction", "a batch or transaction"), _FOUND, ("Prefer",), "resource", _BODY_ERRORS
    ),
}
"""Method and interaction → what is told of it."""
