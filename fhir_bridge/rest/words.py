"""What errors of the FHIR floor mean, in Chinese and English: one line a code, by area where no code has its own.

Keeps true: every answer has words in the caller's language; none of them holds what a client sent. Trusts nothing.
Source: http://hl7.org/fhir/R4/valueset-issue-type.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Words(NamedTuple):
    """One meaning in both languages."""

    zh: str
    en: str


_WORDS: Final[Mapping[str, Words]] = {
    "audit.behind": Words(
        "尚有审计记录未建立索引，请稍后再查；已完成的部分不会丢失。",
        "Some audit events are not yet indexed. Ask again in a moment; what was done goes on from there.",
    ),
    "audit.kept": Words(
        "审计记录由本节点写入，任何客户端都不得修改或冒名写入。",
        "Audit events of this node are written by the node itself; no client changes them or writes in its name.",
    ),
    "binary.content_type": Words("contentType 不是合法的媒体类型。", "The contentType is no valid media type."),
    "binary.data": Words("Binary 没有内容，或内容不是 base64。", "The Binary has no data, or data that is no base64."),
    "binary.security_context": Words(
        "securityContext 必须引用本节点已有的资源。", "The securityContext must refer to a resource of this server."
    ),
    "bundle.answer": Words(
        "Bundle 的应答已达上限，此条目未执行。",
        "The answer to the Bundle is as large as it may be; this entry was not done.",
    ),
    "bundle.entries": Words("Bundle 的条目过多。", "The Bundle has too many entries."),
    "bundle.entry": Words("Bundle.entry 的形状不对。", "An entry of the Bundle has another shape than FHIR wants."),
    "bundle.full_url": Words(
        "fullUrl 在 Bundle 中重复，或指向某一版本；每个条目须有各自的 fullUrl。",
        "An entry before this one has its fullUrl, or the fullUrl names a version: give each entry one of its own.",
    ),
    "bundle.id": Words(
        "条目的 id 与地址不一致，或同一资源在 Bundle 中出现多次。",
        "The entry's id is not that of its address, or the Bundle names a resource more than once.",
    ),
    "bundle.method": Words(
        "条目的方法与地址的组合不受支持。", "This combination of method and address is not supported in a Bundle."
    ),
    "bundle.request": Words("条目缺少 request。", "The entry has no request."),
    "bundle.resource": Words("条目缺少 resource。", "The entry has no resource."),
    "bundle.type": Words("这里只接受 batch 或 transaction。", "Send a Bundle of type batch or transaction here."),
    "bundle.version": Words("版本不是 ifMatch 所要求的。", "The version is not the one that ifMatch wants."),
    "case.busy": Words(
        "正在收集的证据过多，请稍后再试。", "The evidence of too many claims is being gathered: try again in a while."
    ),
    "case.claim": Words(
        "不是可读取的理赔申请，或引用过多。", "This is no claim that can be read, or it cites too many records."
    ),
    "case.role": Words("本机构不是保险公司。", "This organisation is no insurer."),
    "case.unknown": Words("没有这个案件。", "There is no such case."),
    "consent.kept": Words(
        "账本上的同意书由本节点写入；请在患者页面更改，任何客户端都不得写入。",
        "Consents of the ledger are written by the node itself; they are changed on the patient's pages, by no client.",
    ),
    "document.attribute": Words(
        "XML 元素带有 FHIR 没有的属性。", "An element of the XML has an attribute that FHIR does not have."
    ),
    "document.character": Words(
        "文本中有 XML 无法表示的字符（控制字符，或不成对的代理项）。",
        "A text holds what XML cannot: a control character, or half of a surrogate pair.",
    ),
    "document.declaration": Words("不接受带文档类型或实体的 XML。", "XML with a document type or entities is refused."),
    "document.depth": Words("嵌套过深。", "The document nests too deeply."),
    "document.duplicate": Words("同一对象中有重名的成员。", "An object has a name twice."),
    "document.namespace": Words(
        "XML 的元素须属于命名空间 http://hl7.org/fhir（叙述文本的 div 属于 http://www.w3.org/1999/xhtml）。",
        "Elements of the XML must be of the namespace http://hl7.org/fhir, the div of a narrative of "
        "http://www.w3.org/1999/xhtml.",
    ),
    "document.not_json": Words("内容不是合法的 JSON。", "The body is no valid JSON."),
    "document.not_object": Words("JSON 的最外层必须是对象。", "The JSON must be an object."),
    "document.not_xml": Words("内容不是合法的 XML。", "The body is no well-formed XML."),
    "document.number": Words("数字不合法或过长。", "A number is not valid, or too long."),
    "document.text": Words(
        "XML 元素之间不能有文字；值写在 value 属性中。",
        "The XML has text between elements; values stand in attributes value.",
    ),
    "document.values": Words("文档中的值过多；请拆成多个资源。", "The document holds too many values; send several."),
    "emergency.over": Words(
        "这次紧急访问已经结束，或并非由您开始。", "This emergency is over, or was not declared by this person."
    ),
    "emergency.refused": Words("该医院不应答其他医院的紧急调阅。", "This hospital answers no emergencies of others."),
    "emergency.role": Words("只有医院可以紧急调阅。", "Only hospitals ask each other in emergencies."),
    "exchange.asked": Words(
        "保管机构返回了未曾请求的内容；其应答已全部拒收。",
        "The custodian sent what was not asked for; all of its answer was refused.",
    ),
    "exchange.binary": Words(
        "有的记录不是 FHIR 资源（如扫描件），无法放入应答；请向保管机构索取。",
        "Some records are no FHIR resources, such as scans, which no answer can hold; ask the custodian for them.",
    ),
    "exchange.busy": Words(
        "向其他机构的请求过多，请稍后再试。", "Too many requests to other organisations are under way; try again soon."
    ),
    "exchange.custodian": Words(
        "_custodian 须是账本上另一有效成员的机构标识；* 只用于按本机构患者的查询。",
        "_custodian is the id of another active member of the ledger; * is for searches by a patient of this node.",
    ),
    "exchange.interaction": Words(
        "其他机构的记录只能读取、查询或用 $everything 获取，且不能放在 Bundle 中。",
        "Records of other organisations are read, searched or got by $everything, and not within a Bundle.",
    ),
    "exchange.oversized": Words(
        "有的记录过大，无法放入应答。", "Some records are larger than an answer may be, and were left out."
    ),
    "exchange.parameter": Words(
        "此参数不能用于其他机构的记录。", "This parameter cannot be used for records of other organisations."
    ),
    "exchange.patient": Words(
        "查询其他机构的记录须指明一位患者（patient、subject 或 Patient 的 _id），或以 _id 指明一条记录。",
        "A search of others' records names one patient (patient, subject, or _id of Patient), or one record by _id.",
    ),
    "exchange.unavailable": Words(
        "目前无法向该保管机构请求；未取得其任何内容。请稍后再试。",
        "This custodian cannot be asked now; nothing of it is in the answer. Try again later.",
    ),
    "export.body": Words("导出请求的内容必须是 Parameters。", "The body of an export request must be Parameters."),
    "export.expired": Words(
        "导出未能在限定时间内完成，请重新发起。", "The export was not gone on with in time; begin another one."
    ),
    "export.link": Words(
        "文件链接无效或已过期；请从导出状态获取新链接。",
        "The link to this file is not valid, or not any more; the status of the export has new ones.",
    ),
    "export.parameter": Words(
        "导出参数不受支持或不合法。", "A parameter of the export is not supported, or not valid."
    ),
    "export.patient": Words(
        "所列患者不在本节点或不是该组成员。", "A patient of the list is not here, or no member of the group."
    ),
    "export.patients": Words("该组的成员过多。", "The group has too many members."),
    "export.prefer": Words(
        "导出须单独请求，并带 Prefer: respond-async。",
        "An export needs a request of its own, with the header Prefer: respond-async.",
    ),
    "export.too_many": Words(
        "该客户端的导出过多；请删除已取完的导出。",
        "This client has too many exports; delete those that are done.",
    ),
    "export.unknown": Words("没有这样的导出，或已过期。", "There is no such export, or not any more."),
    "http.405": Words("该地址不支持此方法。", "This address does not support the method."),
    "http.406": Words(
        "只提供 application/fhir+json 与 application/fhir+xml。",
        "Only application/fhir+json and application/fhir+xml are served.",
    ),
    "http.415": Words("不支持这种内容类型。", "This type of content is not supported here."),
    "labels.person": Words(
        "降低安全标签只能由登录的人员逐一指明撤回。",
        "Labels that guard a record are taken back by a person who is signed in, each by name.",
    ),
    "operation.parameter": Words(
        "操作缺少参数，或参数不合法。", "A parameter of the operation is missing, or not valid."
    ),
    "operation.too_many": Words(
        "在用的 profile、标签与安全标签过多，无法全部列出；请按类型或按资源询问。",
        "More profiles, tags and security labels are in use than one answer lists; ask for one type, or one resource.",
    ),
    "patch.document": Words("补丁不是合法的 JSON Patch。", "The body is no valid JSON Patch."),
    "patch.identity": Words("补丁不得改变 id 或资源类型。", "A patch must not change id or type."),
    "patch.path": Words("补丁的路径在资源中没有所指，或所指不唯一。", "A path of the patch does not name one element."),
    "patch.test": Words("补丁的 test 不成立。", "A test of the patch does not hold."),
    "record.deleted": Words("该资源已被删除；历史版本仍在。", "The resource was deleted; its history is kept."),
    "record.erased": Words("该资源的密钥已销毁，内容不可恢复。", "The key of this resource was destroyed for good."),
    "record.taken": Words(
        "没有资源符合条件，而该 id 已属于另一资源；未作更改。",
        "Nothing fulfils the condition, and the id is that of another resource; nothing was changed.",
    ),
    "record.unknown": Words("没有这样的资源。", "There is no such resource."),
    "record.version": Words("资源已有别的版本；请先读取最新版本。", "The resource has another version; read it again."),
    "reference.ambiguous": Words("多个资源符合条件。", "More than one resource fulfils the condition."),
    "reference.condition": Words("条件不可识别。", "The condition cannot be understood."),
    "reference.not_found": Words("没有资源符合条件引用。", "Nothing fulfils the conditional reference."),
    "reference.too_many": Words("条件过多。", "There are too many conditions and conditional references."),
    "reference.unresolved": Words("引用的条目不在 Bundle 中。", "The reference is to an entry that the Bundle lacks."),
    "request.busy": Words(
        "同一客户端正在上传的内容过多，请稍后再试。", "Too many bodies of this client are arriving; try again soon."
    ),
    "request.encoding": Words(
        "内容的压缩方式不受支持或已损坏。", "The body's encoding is not supported, or it is damaged."
    ),
    "request.etag": Words(
        'If-Match（ifMatch）须是版本标签，如 W/"3"。',
        'If-Match (in Bundles, ifMatch) is an entity tag, such as W/"3".',
    ),
    "request.purpose": Words(
        "Purpose-Of-Use 须是 v3-ActReason 中用途的代码，如 TREAT。",
        "Purpose-Of-Use is a code of a purpose of use in v3-ActReason, such as TREAT.",
    ),
    "request.length": Words("请求内容中断。", "The body broke off."),
    "request.malformed": Words("请求不符合 HTTP 的格式。", "The request does not keep to HTTP."),
    "request.query": Words("查询串不可识别。", "The query cannot be read."),
    "request.slow": Words("请求内容到达过慢。", "The body came too slowly."),
    "request.too_large": Words("请求内容过大。", "The body is too large."),
    "resource.id": Words("id 不合法，或与地址不一致。", "The id is not valid, or not that of the address."),
    "resource.type": Words(
        "资源类型与地址不一致，或不能存储。", "The type is not that of the address, or none that is stored."
    ),
    "route.type": Words(
        "FHIR R4 没有地址中的资源类型，或该类型不能存储；注意大小写。",
        "FHIR R4 has no resource type of the address's name, or none that is stored; mind capital letters.",
    ),
    "route.unknown": Words("没有这样的地址。", "There is no such address."),
    "scope.denied": Words("访问令牌不允许此操作。", "The access token does not allow this."),
    "provenance.kept": Words(
        "此标识属于账本所述的来源记录。", "Under such ids the ledger tells of records; nobody writes them."
    ),
    "provenance.target": Words(
        "target 须为可见的已有资源，或与其一同提交。",
        "A target must be a resource of this server that you may see, or come in the same Bundle.",
    ),
    "search.chain": Words("链式参数不合法。", "The chain of parameters leads nowhere."),
    "search.composite": Words("组合参数的各部分不可查询。", "The parts of the composite cannot be searched."),
    "search.condition": Words(
        "条件须是至少一个有值的查询参数。", "A condition needs at least one search parameter with a value."
    ),
    "search.contained": Words(
        "被包含的资源过多，链式条件未能全部在其中求值；请再加条件。",
        "The chain was not evaluated in all contained resources, which are too many: add other conditions.",
    ),
    "search.count": Words("_count 须是整数。", "_count is a whole number."),
    "search.cursor": Words("分页游标不是本服务器为此查询生成的。", "This server made no such cursor for this search."),
    "search.cut": Words("附带的资源过多，只返回了一部分。", "More would be included than one answer holds."),
    "search.elements": Words("_elements 须是元素名。", "_elements lists names of elements."),
    "search.escape": Words(
        "反斜杠之后只能是逗号、竖线、美元符或反斜杠。",
        "A backslash stands only before a comma, bar, dollar or backslash.",
    ),
    "search.expired": Words("分页游标已过期，请重新查询。", "The cursor is too old: begin the search again."),
    "search.expression": Words("查询参数的表达式无法使用。", "The expression of the parameter cannot be used."),
    "search.has": Words("_has 不合法。", "_has is not written as it must be, or leads nowhere."),
    "search.include": Words("_include 或 _revinclude 不合法。", "_include or _revinclude names no reference."),
    "search.indexing": Words(
        "较早的记录正在建立索引，请稍后再试。", "Earlier records are being indexed: try again in a while."
    ),
    "search.modifier": Words("该参数没有这个修饰符。", "The parameter has no such modifier."),
    "search.parameter": Words("该资源类型没有这个查询参数。", "This type has no such search parameter."),
    "search.repeated": Words("该参数只能出现一次。", "The parameter may stand only once."),
    "search.sort": Words("不能按此参数排序。", "There is no order by this parameter."),
    "search.summary": Words("_summary=text 不能与 _include 同用。", "_summary=text goes with no _include."),
    "search.too_long": Words("查询过长。", "The search is too long."),
    "search.too_many": Words("参数或值过多。", "There are too many parameters or values."),
    "search.type": Words(
        "没有这样的资源类型，或该参数在各类型中不同。", "No such type, or the parameter differs between types."
    ),
    "search.unsupported": Words("本服务器不支持此查询。", "This server does not answer this search."),
    "search.value": Words("查询参数的值不合法。", "A search parameter has a value that it cannot have."),
    "store.conflict": Words(
        "一再有别的写入抢先；未作更改，请稍后重试。",
        "Other writers came first again and again; nothing was changed. Try again soon.",
    ),
    "token.invalid": Words("访问令牌无效或已过期。", "The access token is not valid, or not any more."),
    "token.missing": Words("需要访问令牌。", "An access token is needed."),
    "token.proof": Words(
        "DPoP 证明缺失、无效、过期或已使用过。",
        "The DPoP proof is missing, not valid, too old, or was used before.",
    ),
}

_AREAS: Final[Mapping[str, Words]] = {
    "binary": Words("Binary 不合法。", "The Binary is not valid."),
    "bundle": Words("Bundle 不合法。", "The Bundle is not valid."),
    "document": Words("文档不合法。", "The document is not valid."),
    "case": Words("理赔案件的请求不合法。", "What is asked of the claim's case is not right."),
    "exchange": Words(
        "其他机构的应答与账本不符，已全部拒收。",
        "The answer of the other organisation is not what the ledger says; all of it was refused.",
    ),
    "fhirpath": Words("FHIRPath 表达式不合法。", "The FHIRPath expression is not valid."),
    "internal": Words("内部错误；请把请求编号告知管理员。", "Something failed here; tell the operator the request id."),
    "job": Words("服务器忙，请稍后再试。", "The server is busy; try again later."),
    "patch": Words("补丁不合法。", "The patch is not valid."),
    "release": Words("保管机构未接受请求。", "The custodian did not take the request."),
    "request": Words("请求不合法。", "The request is not valid."),
    "resource": Words("资源不合法。", "The resource is not valid."),
    "search": Words("查询不合法或不受支持。", "The search is not valid, or not supported."),
    "store": Words("存储暂不可用，请稍后再试。", "The store cannot be used now; try again later."),
    "token": Words("访问令牌无效。", "The access token is not valid."),
}
_OTHER: Final = Words("请求未能完成。", "The request could not be done.")


def say(code: str, language: str) -> str:
    """Word a code in a language, ``zh`` or ``en``."""
    found = _WORDS.get(code) or _AREAS.get(code.partition(".")[0], _OTHER)
    return found.zh if language == "zh" else found.en
