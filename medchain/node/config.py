"""A node's configuration: `node.toml`, then the environment (MEDCHAIN_…), then flags; the later wins.

Keeps true: a node starts only from a configuration without mistakes; every mistake is found in one reading and
explained in Chinese and English, with the way out. Trusts whoever may write the file: it names folders and addresses.
Long for its two tables, of settings and of messages.
Source: `docs/spec/node-protocol.md` for what the addresses mean.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import ssl
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from medchain.errors import InputError, MedchainError
from medchain.ledger.citation import AGES, MAX_DAYS, read_ranges
from medchain.ledger.genesis import Genesis, parse_genesis
from medchain.ledger.members import check_org_id, is_origin
from medchain.node.contact_address import email_address
from medchain.node.keystore import Layout
from medchain.node.witness_file import read_witnesses

CONFIG_NAME: Final = "node.toml"
"""Name of the file inside the node's folder."""

ENVIRONMENT_PREFIX: Final = "MEDCHAIN_"
"""`web.listen` is read from `MEDCHAIN_WEB_LISTEN`."""

MAX_GENESIS_BYTES: Final = 1 << 20
"""Largest file that is looked at as a genesis."""

MAX_CONFIG_BYTES: Final = 64 * 1024
"""Largest configuration file that is looked at."""

Value: TypeAlias = "str | int"
"""What a setting may hold."""

_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


class Address(NamedTuple):
    """Where a server listens: host and port; port 0 lets the system choose."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Tls:
    """A server's certificate.

    Attributes:
        certificate: PEM file with the chain.
        key: PEM file with the private key.
    """

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where letters to people are handed in.

    Attributes:
        address: host and port.
        security: ``starttls``, ``tls`` from the first byte, or ``none``, on this machine alone.
        authorities: PEM file with the authorities that its certificate must come from; None for the system's.
        sender: address in whose name letters go out, and to which those come back that could not be brought.
        user: name to sign in with; empty where nobody does.
        password: file with the password, one line; None where nobody signs in.
    """

    address: Address
    security: str
    authorities: Path | None
    sender: str
    user: str
    password: Path | None


@dataclass(frozen=True, slots=True)
class EInvoiceService:
    """Where electronic medical invoices are checked.

    Attributes:
        url: its address, https but on this machine.
        token: file with the token that it wants to see, one line; None for none.
        authorities: PEM file with the authorities that its certificate must come from; None for the system's.
    """

    url: str
    token: Path | None
    authorities: Path | None


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """What an insurer's policies ask of each claim: hospitals say yes or no to it, and show nothing for it.

    Attributes:
        age: whether the patient is so many years old on the first day of the services; 0 where that is not asked.
        stay_days: whether a stay is of at most so many days; 0 where that is not asked.
        codes: whether a diagnosis lies in a list such as ``E10-E14,I10``; empty where that is not asked.
    """

    age: int = 0
    stay_days: int = 0
    codes: str = ""


NO_RULES: Final = PolicyRules()
"""Where nothing is asked."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """All settings of a node, checked.

    Attributes:
        folder: the node's folder, absolute.
        org_id: the organisation whose node this is.
        peer_listen: where the ledger daemon serves other nodes.
        peer_tls: its certificate, or None for plain HTTP (loopback, or behind a proxy).
        peer_ca: PEM file with the authorities that peers' certificates must come from; None for the system's.
        peer_private: whether members may be called at private and loopback addresses.
        web_listen: where the web workers serve systems and people.
        web_tls: their certificate, or None.
        web_workers: processes.
        web_threads: threads a process.
        web_jobs: processes of the node that do large transactions, at most.
        key_source: ``file`` or ``passphrase``: how the root key is opened.
        key_file: the root key's file: a key file, or the key sealed with the passphrase.
        database_cache_mib: page cache of both databases together.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        metrics_token: file with the token for ``/metrics`` on the web address; None to show no metrics there.
        stop_timeout_s: how long requests under way may take at a stop.
        emergency_grace_s: how late the body of an emergency may be before it is an alarm.
        witnesses_file: names outside witnesses (`medchain.node.witnesses`), or None.
        witnesses_ca: PEM file with the authorities that witnesses' certificates must come from; None for the system's.
        fhir_validation: ``strict`` or ``lenient``: what is refused beside what is malformed.
        time_zone: IANA name of the zone in which searches read dates that name none.
        web_origin: address at which browsers and applications reach this node; empty for the genesis's.
        login_provider: describes the identity provider at which people sign in, or None.
        web_proxy: whether a proxy forwards requests to the web workers.
        sign_listen: where the pages are served on which patients sign; None where patients do not sign here.
        sign_tls: their certificate, or None.
        sign_origin: address at which browsers reach them, of which the genesis must have signatures count; empty
            without them.
        emergency_release: whether emergencies at other hospitals are answered.
        mail: where letters to people are handed in; None where none are sent.
        sms_command: program that sends short messages to people; None where none are sent.
        einvoice: where electronic medical invoices are checked; None where they are not.
        rules: what an insurer's policies ask of each claim.
    """

    folder: Path
    org_id: str
    peer_listen: Address
    peer_tls: Tls | None
    peer_ca: Path | None
    peer_private: bool
    web_listen: Address
    web_tls: Tls | None
    web_workers: int
    web_threads: int
    web_jobs: int
    key_source: str
    key_file: Path
    database_cache_mib: int
    log_level: str
    metrics_token: Path | None
    stop_timeout_s: int
    emergency_grace_s: int
    witnesses_file: Path | None = None
    witnesses_ca: Path | None = None
    fhir_validation: str = "strict"
    time_zone: str = "UTC"
    web_origin: str = ""
    login_provider: Path | None = None
    web_proxy: bool = False
    sign_listen: Address | None = None
    sign_tls: Tls | None = None
    sign_origin: str = ""
    emergency_release: bool = True
    mail: MailServer | None = None
    sms_command: Path | None = None
    einvoice: EInvoiceService | None = None
    rules: PolicyRules = NO_RULES


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a configuration, or something to think about.

    Attributes:
        setting: name such as ``web.listen``; empty when it concerns the whole file.
        code: stable code.
        fatal: whether the node will not start.
        zh: what is wrong and what to do, in Chinese.
        en: the same in English.
    """

    setting: str
    code: str
    fatal: bool
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: ``section.key``.
        default: its value where nobody sets it; None where somebody must.
        check: gives the code of what is wrong, or None.
        choices: allowed values, where there are few.
        low: smallest number.
        high: largest number.
        zh: what it is, in Chinese.
        en: the same in English.
    """

    name: str
    default: Value | None
    zh: str
    en: str
    check: Callable[[Value], str | None] = field(default=lambda _value: None)
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 0


def _address_problem(value: Value) -> str | None:
    """Check ``host:port``."""
    try:
        parse_address(str(value))
    except ValueError:
        return "config.address"
    return None


def _optional_address_problem(value: Value) -> str | None:
    """Check ``host:port``, or nothing."""
    return None if value == "" else _address_problem(value)


def _origin_problem(value: Value) -> str | None:
    """Check a web origin, or nothing."""
    return None if value == "" or is_origin(str(value)) else "config.origin"


def _absolute_problem(value: Value) -> str | None:
    """Check an absolute path, or nothing."""
    return None if value == "" or Path(str(value)).is_absolute() else "config.absolute"


def _service_problem(value: Value) -> str | None:
    """Check the address of a service, or nothing: in clear it is this machine."""
    if value == "":
        return None
    try:
        parts = urlsplit(str(value))
        _ = parts.port
    except ValueError:
        return "config.service"
    is_plain = bool(parts.hostname) and not (parts.query or parts.fragment or "@" in parts.netloc)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    return None if is_plain and is_safe else "config.service"


def _codes_problem(value: Value) -> str | None:
    """Check a list of categories of diagnoses, or nothing."""
    try:
        return None if value == "" or read_ranges(str(value)) else "config.codes"
    except InputError:
        return "config.codes"


def _sender_problem(value: Value) -> str | None:
    """Check an e-mail address, or nothing."""
    try:
        return None if value == "" or email_address(str(value)) == value else "config.email"
    except InputError:
        return "config.email"


def time_zone(name: str) -> tzinfo:
    """Find a time zone in the system's database.

    Args:
        name: as in the IANA time zone database.

    Returns:
        Its clocks, with all their changes.

    Raises:
        InputError: ``config.invalid`` for one that is not there.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise InputError("config.invalid", setting="fhir.time_zone", problem="config.time_zone") from error


def _zone_problem(value: Value) -> str | None:
    """Check the name of a time zone."""
    try:
        time_zone(str(value))
    except InputError:
        return "config.time_zone"
    return None


def _org_id_problem(value: Value) -> str | None:
    """Check an organisation's id: a slug."""
    try:
        check_org_id(str(value))
    except InputError:
        return "config.org_id"
    return None


SETTINGS: Final = (
    Setting("organisation.id", None, "本机构的标识", "the organisation's id", _org_id_problem),
    Setting(
        "peer.listen",
        "127.0.0.1:41001",
        "账本守护进程的监听地址",
        "where the ledger daemon listens for other nodes",
        _address_problem,
    ),
    Setting("peer.certificate", "", "守护进程的 TLS 证书（PEM）", "the daemon's TLS certificate (PEM)"),
    Setting("peer.key", "", "守护进程的 TLS 私钥（PEM）", "the daemon's TLS private key (PEM)"),
    Setting("peer.ca", "", "信任的 CA 证书（PEM）", "authorities that peers' certificates come from (PEM)"),
    Setting(
        "peer.private",
        "no",
        "是否可连接内网与本机地址上的其他节点",
        "whether other nodes may be called at private and loopback addresses",
        choices=("no", "yes"),
    ),
    Setting(
        "web.listen",
        "127.0.0.1:41000",
        "网页与 FHIR 的监听地址",
        "where pages and FHIR are served",
        _address_problem,
    ),
    Setting(
        "web.origin",
        "",
        "浏览器与应用访问本节点的网址，例如 https://fhir.renhe.example；空则取创世文件中的",
        "address at which browsers and applications reach this node; without it, the one in the genesis",
        _origin_problem,
    ),
    Setting(
        "web.proxy",
        "no",
        "是否由反向代理转发（由其 X-Forwarded-For 得知来源）",
        "whether a proxy forwards requests (its X-Forwarded-For then tells where they come from)",
        choices=("no", "yes"),
    ),
    Setting("web.certificate", "", "网页的 TLS 证书（PEM）", "the web server's TLS certificate (PEM)"),
    Setting("web.key", "", "网页的 TLS 私钥（PEM）", "the web server's TLS private key (PEM)"),
    Setting("web.workers", 2, "网页进程数", "web processes", low=1, high=64),
    Setting("web.threads", 16, "每个网页进程的线程数", "threads of a web process", low=1, high=256),
    Setting("web.jobs", 2, "处理大型事务的进程数上限", "processes for large transactions, at most", low=1, high=64),
    Setting(
        "sign.listen",
        "",
        "签署页面的监听地址，例如 127.0.0.1:41002；空则患者不在本节点签署",
        "where the pages are served on which patients sign, such as 127.0.0.1:41002; without it, none signs here",
        _optional_address_problem,
    ),
    Setting(
        "sign.origin",
        "",
        "浏览器访问签署页面的网址，须列于创世文件的 sign_origins，且不同于门户网址，例如 https://sign.renhe.example",
        "address of those pages: one of the genesis's sign_origins, none of the portal's, such as "
        "https://sign.renhe.example",
        _origin_problem,
    ),
    Setting("sign.certificate", "", "签署页面的 TLS 证书（PEM）", "the signing pages' TLS certificate (PEM)"),
    Setting("sign.key", "", "签署页面的 TLS 私钥（PEM）", "the signing pages' TLS private key (PEM)"),
    Setting(
        "fhir.validation",
        "strict",
        "FHIR 资源入库校验：strict 校验全部规则，lenient 只拒绝结构错误",
        "validation of FHIR resources that are stored: strict, or lenient to refuse what is malformed only",
        choices=("strict", "lenient"),
    ),
    Setting(
        "fhir.time_zone",
        "UTC",
        "未写明时区的日期所用的时区（IANA 名称），例如 Asia/Shanghai；更改后重启时重建检索索引",
        "zone of dates without one (IANA name), such as Asia/Shanghai; a restart with another one indexes all anew",
        _zone_problem,
    ),
    Setting(
        "keys.source",
        "file",
        "根密钥的打开方式",
        "how the root key is opened",
        choices=("file", "passphrase"),
    ),
    Setting("keys.file", "keys/root.key", "根密钥文件", "the root key's file"),
    Setting("database.cache_mib", 128, "数据库缓存（MiB）", "page cache of the databases (MiB)", low=16, high=65536),
    Setting(
        "log.level",
        "info",
        "日志级别",
        "what is logged",
        choices=("debug", "info", "warning", "error"),
    ),
    Setting(
        "metrics.token",
        "",
        "读取网页地址上 /metrics 所需令牌的文件；空则不提供",
        "file with the token for /metrics on the web address; without it there are none",
    ),
    Setting(
        "login.provider",
        "",
        "医院身份认证（OIDC）的说明文件；空则只用通行密钥",
        "file that describes the hospital's identity provider (OIDC); without it, passkeys alone",
    ),
    Setting(
        "emergency.release",
        "yes",
        "是否应答其他医院的紧急调阅（无需患者同意，立即告知监管机构与患者）",
        "whether emergencies at other hospitals are answered (without consent; regulator and patient are told at once)",
        choices=("yes", "no"),
    ),
    Setting(
        "emergency.grace_s",
        3600,
        "紧急访问的内容迟到多久即报警（秒）",
        "how late the body of an emergency may be before it is an alarm (seconds)",
        low=600,
        high=604_800,
    ),
    Setting(
        "mail.server",
        "",
        "发送通知邮件的服务器，例如 mail.renhe.example:587；空则不发邮件",
        "server that notices are handed to by e-mail, such as mail.renhe.example:587; without it, none are sent",
        _optional_address_problem,
    ),
    Setting(
        "mail.security",
        "starttls",
        "与邮件服务器的加密方式；none 只可用于本机",
        "how the way to it is secured; none on this machine alone",
        choices=("starttls", "tls", "none"),
    ),
    Setting(
        "mail.ca",
        "",
        "邮件服务器证书的 CA（PEM）；空则用系统的",
        "authorities of its certificate (PEM), or the system's",
    ),
    Setting(
        "mail.sender",
        "",
        "发件地址，例如 notices@renhe.example",
        "address in whose name they go out, such as notices@renhe.example",
        _sender_problem,
    ),
    Setting(
        "mail.user", "", "登录邮件服务器的用户名；空则不登录", "name to sign in there with; without it, nobody does"
    ),
    Setting("mail.password", "", "登录邮件服务器的密码文件", "file with the password for it"),
    Setting(
        "sms.command",
        "",
        "发送短信通知的程序（绝对路径）；空则不发短信",
        "program that sends notices by short message (absolute path); without it, none are sent",
        _absolute_problem,
    ),
    Setting(
        "einvoice.url",
        "",
        "查验医疗电子票据的服务网址（https，或本机 http）；空则不查验",
        "service that checks electronic medical invoices (https, or http on this machine); without it, none is asked",
        _service_problem,
    ),
    Setting("einvoice.token", "", "访问该服务的令牌文件", "file with the token for it"),
    Setting(
        "einvoice.ca",
        "",
        "该服务证书的 CA（PEM）；空则用系统的",
        "authorities of its certificate (PEM), or the system's",
    ),
    Setting(
        "claims.age",
        "none",
        "保险机构：向医院核实患者在服务首日是否已满若干周岁；none 则不问",
        "an insurer's: hospitals are asked whether the patient is so many years old on the first day; none to not ask",
        choices=("none", *map(str, sorted(AGES))),
    ),
    Setting(
        "claims.stay_days",
        0,
        "保险机构：向医院核实每次在院是否不超过若干天；0 则不问",
        "an insurer's: hospitals are asked whether each stay is of at most so many days; 0 to not ask",
        high=MAX_DAYS,
    ),
    Setting(
        "claims.codes",
        "",
        "保险机构：向医院核实每项诊断是否在此列表内，例如 E10-E14,I10；空则不问",
        "an insurer's: hospitals are asked whether each diagnosis lies in this list, such as E10-E14,I10",
        _codes_problem,
    ),
    Setting("node.stop_timeout_s", 20, "停止时的等待时间（秒）", "patience at a stop (seconds)", low=1, high=600),
    Setting("witnesses.file", "", "外部见证者名单", "list of outside witnesses"),
    Setting(
        "witnesses.ca",
        "",
        "见证者证书须出自的 CA（PEM）；空则用系统所信任的",
        "authorities that certificates of witnesses come from (PEM), or the system's",
    ),
)
"""Every setting there is, in the order of the file."""

_FILES: Final = (
    "peer.certificate",
    "peer.key",
    "peer.ca",
    "web.certificate",
    "web.key",
    "sign.certificate",
    "sign.key",
    "witnesses.file",
    "witnesses.ca",
    "metrics.token",
    "login.provider",
    "mail.ca",
    "mail.password",
    "sms.command",
    "einvoice.token",
    "einvoice.ca",
)
_AUTHORITIES: Final = ("peer.ca", "mail.ca", "witnesses.ca", "einvoice.ca")
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}

_MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "config.missing": (
        "找不到配置文件 {value}。用 medchain init 建立节点，或用 --config 指明文件。",
        "There is no configuration file {value}. Make a node with `medchain init`, or name the file with --config.",
    ),
    "config.too_large": ("配置文件超过 64 KiB。", "The configuration file is larger than 64 KiB."),
    "config.not_text": ("配置文件不是 UTF-8 文本。", "The configuration file is not UTF-8 text."),
    "config.not_toml": ("配置文件不是合法的 TOML：{value}。", "The configuration file is not TOML: {value}."),
    "config.unknown": ("没有名为 {setting} 的设置。{hint_zh}", "There is no setting {setting}. {hint_en}"),
    "config.required": (
        "缺少 {setting}（{zh}）。请在 node.toml 中写明。",
        "{setting} ({en}) is missing. Say it in node.toml.",
    ),
    "config.type": ("{setting} 应为{kind_zh}，现为 {value}。", "{setting} must be {kind_en}, not {value}."),
    "config.range": (
        "{setting} 应在 {low} 到 {high} 之间，现为 {value}。",
        "{setting} must lie between {low} and {high}, not {value}.",
    ),
    "config.choice": (
        "{setting} 只能是 {choices}，现为 {value}。",
        "{setting} must be one of {choices}, not {value}.",
    ),
    "config.address": (
        "{setting} 应为 主机:端口，例如 127.0.0.1:41001，现为 {value}。",
        "{setting} must be host:port, such as 127.0.0.1:41001, not {value}.",
    ),
    "config.origin": (
        "{setting} 应为不带路径的网址，例如 https://fhir.renhe.example，现为 {value}。",
        "{setting} must be an address without a path, such as https://fhir.renhe.example, not {value}.",
    ),
    "config.org_id": (
        "{setting} 应由小写字母、数字和连字符组成，例如 renhe-hospital，现为 {value}。",
        "{setting} must be lower-case letters, digits and hyphens, such as renhe-hospital, not {value}.",
    ),
    "config.time_zone": (
        "{setting} 应为系统时区数据库中的 IANA 名称，例如 Asia/Shanghai，现为 {value}。",
        "{setting} must be a name that the system's time zone database has, such as Asia/Shanghai, not {value}.",
    ),
    "config.same_address": (
        "{setting} 与另一个服务同为 {value}。每个服务需要各自的端口。",
        "{setting} is {value}, as another server's is. Each server needs a port of its own.",
    ),
    "config.half_sign": (
        "缺少 {setting}：签署页面同时需要 sign.listen 与 sign.origin。",
        "{setting} is missing: the signing pages need both sign.listen and sign.origin.",
    ),
    "config.sign_is_portal": (
        "sign.origin 是门户的网址 {value}。签署须有自己的网址，否则门户中被注入的脚本就能要求签署。",
        (
            "sign.origin is the portal's address {value}. Signing needs an address of its own, or a script that gets "
            "into the portal could ask for signatures."
        ),
    ),
    "config.sign_unlisted": (
        "创世文件的 sign_origins 中没有 {value}：在那里签署的内容无效。",
        "The genesis does not have {value} among its sign_origins: nothing that is signed there would count.",
    ),
    "config.sign_missing": (
        "创世文件把门户网址 {value} 列为签署网址。门户不提供签署：请把它设为 sign.origin，并为门户另设 web.origin。",
        (
            "The genesis has the portal's address {value} among its sign_origins. A portal offers no signature: set "
            "sign.origin to that address, and web.origin to another one for the portal."
        ),
    ),
    "config.email": (
        "{setting} 应为一个小写的电子邮件地址，例如 notices@renhe.example，现为 {value}。",
        "{setting} must be an e-mail address in small letters, such as notices@renhe.example, not {value}.",
    ),
    "config.service": (
        "{setting} 应为 https 网址（仅本机可用 http），不带参数，现为 {value}。",
        "{setting} must be an https address (http on this machine alone) without a query, not {value}.",
    ),
    "config.codes": (
        "{setting} 应为排好序的三位诊断类目，最多 20 段，例如 E10-E14,I10，现为 {value}。",
        "{setting} must be sorted three-character categories, at most 20 ranges, such as E10-E14,I10, not {value}.",
    ),
    "config.absolute": (
        "{setting} 应为绝对路径，例如 /usr/local/bin/send-sms，现为 {value}。",
        "{setting} must be an absolute path, such as /usr/local/bin/send-sms, not {value}.",
    ),
    "config.program": (
        "{value} 不可执行，或可被其他用户改写。请执行 chmod 755 {value}，并检查其所有者。",
        "{value} cannot be executed, or can be written by other users. Run chmod 755 {value}, and see who owns it.",
    ),
    "config.half_mail": (
        "缺少 {setting}：{because} 需要它。",
        "{setting} is missing: {because} needs it.",
    ),
    "config.plain_mail": (
        "{setting} 为 none，而 {value} 不在本机：通知和密码会以明文经过网络。请用 starttls 或 tls。",
        (
            "{setting} is none, and {value} is not this machine: notices and the password would cross the network in "
            "clear. Set starttls or tls."
        ),
    ),
    "config.half_tls": (
        "{setting} 缺少：TLS 同时需要证书与私钥。",
        "{setting} is missing: TLS needs both a certificate and its private key.",
    ),
    "config.no_file": (
        "{setting} 指向的文件 {value} 不存在。",
        "{setting} names the file {value}, which is not there.",
    ),
    "config.witnesses": (
        "{value} 不是合法的见证者名单（{reason}）：每行应为 witness 名称 公钥 网址。",
        "{value} is no list of outside witnesses ({reason}): each line must be: witness NAME VKEY URL.",
    ),
    "config.authorities": (
        "{setting} 指向的文件 {value} 中没有 PEM 证书，或无法读取。",
        "{setting} names the file {value}, which holds no certificates (PEM), or cannot be read.",
    ),
    "config.open_key": (
        "{value} 可被其他用户读取。请执行 chmod 600 {value}。",
        "{value} can be read by other users. Run chmod 600 {value}.",
    ),
    "config.plain_http": (
        "{setting} 是 {value}：从其他机器可达，却没有 TLS。请设置证书，或只在反向代理之后使用。",
        "{setting} is {value}: reachable from other machines without TLS. Set a certificate, or put a proxy before it.",
    ),
}


def setting_names() -> tuple[str, ...]:
    """Name every setting, for help and for flags."""
    return tuple(_BY_NAME)


def load_config(path: Path, environment: Mapping[str, str], flags: Mapping[str, str]) -> NodeConfig:
    """Read a node's configuration.

    Args:
        path: the file; its folder is the node's folder.
        environment: variables of the process; those that name no setting are not looked at.
        flags: setting name → text, from the command line.

    Returns:
        The configuration.

    Raises:
        InputError: ``config.invalid`` with the first mistake; `explain` tells all of them.
    """
    values, problems = _read(path, environment, flags)
    problems += _judge(path.parent, values)
    for problem in problems:
        if problem.fatal:
            raise InputError("config.invalid", setting=problem.setting, problem=problem.code)
    return _build(path.parent.resolve(), values)


def explain(
    path: Path, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> list[Problem]:
    """Tell everything that is wrong with a configuration, or worth a thought.

    Args:
        path: the file.
        environment: variables of the process.
        flags: settings from the command line.

    Returns:
        The problems in the order of the file; none for a good one.
    """
    values, problems = _read(path, environment or {}, flags or {})
    if whole := [problem for problem in problems if not problem.setting]:
        return whole
    return problems + _judge(path.parent, values)


def config_text(values: Mapping[str, Value]) -> str:
    """Write a `node.toml` with comments in both languages.

    Args:
        values: setting name → value; the rest is written as comments with the defaults.

    Returns:
        TOML text.

    Raises:
        InputError: ``config.invalid`` for a name that is no setting.
    """
    for name in values:
        if name not in _BY_NAME:
            raise InputError("config.invalid", setting=name, problem="config.unknown")
    lines: list[str] = []
    section = ""
    for setting in SETTINGS:
        here, key = setting.name.split(".")
        if here != section:
            lines += ["", f"[{here}]"] if lines else [f"[{here}]"]
            section = here
        lines.append(f"# {setting.zh} / {setting.en}")
        if setting.name in values:
            lines.append(f"{key} = {_toml(values[setting.name])}")
        else:
            lines.append(f"# {key} = {_toml(setting.default if setting.default is not None else '')}")
    return "\n".join(lines) + "\n"


def _read(
    path: Path, environment: Mapping[str, str], flags: Mapping[str, str]
) -> tuple[dict[str, Value], list[Problem]]:
    """Gather values from the three places; problems are those of spelling and type."""
    found, problems = _read_file(path)
    for setting in SETTINGS:
        variable = ENVIRONMENT_PREFIX + setting.name.replace(".", "_").upper()
        if variable in environment:
            found[setting.name] = _from_text(setting, environment[variable])
    for name, text in flags.items():
        if name in _BY_NAME:
            found[name] = _from_text(_BY_NAME[name], text)
        else:
            problems.append(_unknown(name))
    values: dict[str, Value] = {}
    for setting in SETTINGS:
        value = found.get(setting.name, setting.default)
        if value is None:
            problems.append(_problem("config.required", setting.name, zh=setting.zh, en=setting.en))
        elif (problem := _value_problem(setting, value)) is not None:
            problems.append(problem)
        else:
            values[setting.name] = value  # type: ignore[assignment]  # _value_problem has checked the type
    return values, problems


def _read_file(path: Path) -> tuple[dict[str, object], list[Problem]]:
    """Parse the file; a problem without a setting means that nothing of it could be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError:
        return {}, [_problem("config.missing", "", value=str(path))]
    if len(raw) > MAX_CONFIG_BYTES:
        return {}, [_problem("config.too_large", "")]
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return {}, [_problem("config.not_text", "")]
    except tomllib.TOMLDecodeError as error:
        return {}, [_problem("config.not_toml", "", value=str(error))]
    found: dict[str, object] = {}
    problems: list[Problem] = []
    for section, content in document.items():
        rows = content if isinstance(content, dict) else {"": content}
        for key, value in rows.items():
            name = f"{section}.{key}".rstrip(".")
            if name in _BY_NAME:
                found[name] = value
            else:
                problems.append(_unknown(name))
    return found, problems


def _from_text(setting: Setting, text: str) -> object:
    """Read a value from the environment or a flag; a number that is none stays text and is refused as such."""
    if isinstance(setting.default, int) and text.isascii() and text.isdigit():
        return int(text)
    return text


def _value_problem(setting: Setting, value: object) -> Problem | None:
    """Judge one value by itself."""
    name, shown = setting.name, repr(value)[:80]
    if isinstance(setting.default, int):
        if type(value) is not int:
            return _problem("config.type", name, kind_zh="整数", kind_en="a whole number", value=shown)
        if not setting.low <= value <= setting.high:
            return _problem("config.range", name, low=str(setting.low), high=str(setting.high), value=shown)
        return None
    if type(value) is not str:
        return _problem("config.type", name, kind_zh="文本", kind_en="text", value=shown)
    if setting.choices and value not in setting.choices:
        return _problem("config.choice", name, choices=", ".join(setting.choices), value=shown)
    code = setting.check(value)
    return None if code is None else _problem(code, name, value=shown)


def _judge(folder: Path, values: Mapping[str, Value]) -> list[Problem]:
    """Judge the values together, and against the disk."""
    problems: list[Problem] = []
    taken: set[str] = set()
    for name in ("peer.listen", "web.listen", "sign.listen"):
        listen = str(values.get(name, ""))
        if listen in taken:
            problems.append(_problem("config.same_address", name, value=listen))
        elif listen and not listen.endswith(":0"):
            taken.add(listen)
    for section in ("peer", "web", "sign"):
        problems += _judge_tls(folder, section, values)
    problems += _judge_sign(folder, values)
    problems += _judge_mail(values)
    problems += _judge_files(folder, values)
    return problems


def _judge_sign(folder: Path, values: Mapping[str, Value]) -> list[Problem]:
    """Judge where patients sign: at an address of its own, at which the ledger has signatures count."""
    listen, origin, web = (str(values.get(name, "")) for name in ("sign.listen", "sign.origin", "web.origin"))
    if bool(listen) != bool(origin):
        return [_problem("config.half_sign", "sign.origin" if listen else "sign.listen")]
    genesis = _genesis_in(folder)
    founder = None if genesis is None else genesis.members.organisations.get(str(values.get("organisation.id")))
    portals = {*filter(None, (web,)), *(() if founder is None else founder.origins)}
    counting = frozenset[str]() if genesis is None else genesis.sign_origins
    if not origin:
        at = sorted(portals & counting)
        return [_problem("config.sign_missing", "sign.origin", fatal=False, value=one) for one in at]
    if origin in portals:
        return [_problem("config.sign_is_portal", "sign.origin", value=origin)]
    if genesis is not None and origin not in counting:
        return [_problem("config.sign_unlisted", "sign.origin", value=origin)]
    return []


def _judge_mail(values: Mapping[str, Value]) -> list[Problem]:
    """Judge the mail server: it needs a sender, a name needs a password, and in clear it is this machine."""
    server, security = str(values.get("mail.server", "")), values.get("mail.security")
    needed = (("mail.server", "mail.sender"), ("mail.user", "mail.password"), ("mail.password", "mail.user"))
    problems = [
        _problem("config.half_mail", missing, because=given)
        for given, missing in needed
        if values.get(given) and not values.get(missing)
    ]
    if server and security == "none" and not is_loopback(parse_address(server).host):
        problems.append(_problem("config.plain_mail", "mail.security", value=server))
    return problems


def _genesis_in(folder: Path) -> Genesis | None:
    """Read the genesis of a node's folder; None before it has one, and for one that `join` or the start will refuse."""
    try:
        with Layout(folder).genesis.open("rb") as file:
            return parse_genesis(file.read(MAX_GENESIS_BYTES + 1))
    except (OSError, MedchainError):
        return None


def _judge_tls(folder: Path, section: str, values: Mapping[str, Value]) -> list[Problem]:
    """Judge one server's certificate and address."""
    certificate, key = values.get(f"{section}.certificate"), values.get(f"{section}.key")
    problems: list[Problem] = []
    if bool(certificate) != bool(key):
        missing = "key" if certificate else "certificate"
        problems.append(_problem("config.half_tls", f"{section}.{missing}"))
    listen = values.get(f"{section}.listen")
    if not certificate and isinstance(listen, str) and listen and not is_loopback(parse_address(listen).host):
        problems.append(_problem("config.plain_http", f"{section}.listen", fatal=False, value=listen))
    if key and (folder / str(key)).is_file():
        problems += _judge_mode(folder / str(key), f"{section}.key")
    return problems


def _judge_files(folder: Path, values: Mapping[str, Value]) -> list[Problem]:
    """Judge the files that are named."""
    problems = [
        _problem("config.no_file", name, value=str(values[name]))
        for name in _FILES
        if values.get(name) and not (folder / str(values[name])).is_file()
    ]
    for name in _AUTHORITIES:
        authorities = folder / str(values.get(name) or "")
        if authorities.is_file():
            problems += _judge_authorities(authorities, name)
    witnesses = str(values.get("witnesses.file", ""))
    if witnesses and (folder / witnesses).is_file():
        problems += _judge_witnesses(folder / witnesses)
    for name in ("metrics.token", "mail.password", "einvoice.token"):
        secret = folder / str(values.get(name) or "")
        if secret.is_file():
            problems += _judge_mode(secret, name)
    program = str(values.get("sms.command", ""))
    if program and (folder / program).is_file():
        problems += _judge_program(Path(program))
    root = folder / str(values.get("keys.file", ""))
    if root.is_file():
        problems += _judge_mode(root, "keys.file")
    elif (folder / "keys").is_dir():
        # Not fatal here: it may lie on a medium that is there at the start only; who opens it finds out.
        problems.append(_problem("config.no_file", "keys.file", fatal=False, value=str(values.get("keys.file"))))
    return problems


def _judge_authorities(path: Path, name: str) -> list[Problem]:
    """Refuse authorities that are none: a call would find out, long after the start."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError:
        return [_problem("config.authorities", name, value=str(path))]
    return []


def _judge_witnesses(path: Path) -> list[Problem]:
    """Refuse a list of outside witnesses that cannot be read."""
    try:
        read_witnesses(path)
    except MedchainError as error:
        reason = " ".join([error.code, *(f"{name}={value}" for name, value in error.fields.items())])
        return [_problem("config.witnesses", "witnesses.file", value=str(path), reason=reason)]
    return []


def _judge_program(path: Path) -> list[Problem]:
    """Refuse a program that is none, or that others can exchange: it is told who is written to."""
    found = path.stat()
    is_own = found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022
    return [] if is_own and os.access(path, os.X_OK) else [_problem("config.program", "sms.command", value=str(path))]


def _judge_mode(path: Path, name: str) -> list[Problem]:
    """Refuse a secret that others can read."""
    return [_problem("config.open_key", name, value=str(path))] if path.stat().st_mode & 0o077 else []


def _build(folder: Path, values: Mapping[str, Value]) -> NodeConfig:
    """Turn checked values into the configuration."""
    ca, token, witnesses, witnesses_ca = (
        str(values[name]) for name in ("peer.ca", "metrics.token", "witnesses.file", "witnesses.ca")
    )
    return NodeConfig(
        folder=folder,
        org_id=str(values["organisation.id"]),
        peer_listen=parse_address(str(values["peer.listen"])),
        peer_tls=_tls(folder, "peer", values),
        peer_ca=folder / ca if ca else None,
        peer_private=values["peer.private"] == "yes",
        web_listen=parse_address(str(values["web.listen"])),
        web_tls=_tls(folder, "web", values),
        web_workers=int(values["web.workers"]),
        web_threads=int(values["web.threads"]),
        web_jobs=int(values["web.jobs"]),
        key_source=str(values["keys.source"]),
        key_file=folder / str(values["keys.file"]),
        database_cache_mib=int(values["database.cache_mib"]),
        log_level=str(values["log.level"]),
        metrics_token=folder / token if token else None,
        stop_timeout_s=int(values["node.stop_timeout_s"]),
        emergency_grace_s=int(values["emergency.grace_s"]),
        witnesses_file=folder / witnesses if witnesses else None,
        witnesses_ca=folder / witnesses_ca if witnesses_ca else None,
        fhir_validation=str(values["fhir.validation"]),
        time_zone=str(values["fhir.time_zone"]),
        web_origin=str(values["web.origin"]),
        login_provider=folder / str(values["login.provider"]) if values["login.provider"] else None,
        web_proxy=values["web.proxy"] == "yes",
        sign_listen=parse_address(str(values["sign.listen"])) if values["sign.listen"] else None,
        sign_tls=_tls(folder, "sign", values),
        sign_origin=str(values["sign.origin"]),
        emergency_release=values["emergency.release"] == "yes",
        mail=_mail(folder, values),
        sms_command=Path(str(values["sms.command"])) if values["sms.command"] else None,
        einvoice=_einvoice(folder, values),
        rules=_rules(values),
    )


def read_metrics_token(path: Path | None) -> str | None:
    """Read the token that a monitor must show.

    Args:
        path: of its file, one line; None where there is none.

    Returns:
        The token, None without a file's name.

    Raises:
        InputError: ``metrics.token`` for one that is not 32 to 256 printable ASCII characters, or cannot be read.
    """
    if path is None:
        return None
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("metrics.token", path=str(path)) from error
    if not 32 <= len(token) <= 256 or not all("!" <= char <= "~" for char in token):  # noqa: PLR2004  # documented
        raise InputError("metrics.token", path=str(path))
    return token


def _mail(folder: Path, values: Mapping[str, Value]) -> MailServer | None:
    """Name the mail server, if there is one."""
    server, authorities, password = (str(values[name]) for name in ("mail.server", "mail.ca", "mail.password"))
    if not server:
        return None
    return MailServer(
        address=parse_address(server),
        security=str(values["mail.security"]),
        authorities=folder / authorities if authorities else None,
        sender=str(values["mail.sender"]),
        user=str(values["mail.user"]),
        password=folder / password if password else None,
    )


def _einvoice(folder: Path, values: Mapping[str, Value]) -> EInvoiceService | None:
    """Name the service that checks invoices, if there is one."""
    url, token, authorities = (str(values[f"einvoice.{name}"]) for name in ("url", "token", "ca"))
    if not url:
        return None
    return EInvoiceService(url, folder / token if token else None, folder / authorities if authorities else None)


def _rules(values: Mapping[str, Value]) -> PolicyRules:
    """Tell what is asked of each claim."""
    age = str(values["claims.age"])
    return PolicyRules(0 if age == "none" else int(age), int(values["claims.stay_days"]), str(values["claims.codes"]))


def _tls(folder: Path, section: str, values: Mapping[str, Value]) -> Tls | None:
    """Name a server's certificate, if it has one."""
    certificate = str(values[f"{section}.certificate"])
    return Tls(folder / certificate, folder / str(values[f"{section}.key"])) if certificate else None


def parse_address(text: str) -> Address:
    """Split ``host:port``; an IPv6 host stands in brackets."""
    parts = urlsplit(f"//{text}")
    host = parts.hostname
    if host is None or parts.port is None or parts.username is not None or parts.path or parts.query:
        raise ValueError(text)
    if ":" in host:
        ipaddress.IPv6Address(host)
    elif not _HOST.fullmatch(host):
        raise ValueError(text)
    return Address(host, parts.port)


def is_loopback(host: str) -> bool:
    """Tell whether an address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unknown(name: str) -> Problem:
    """Explain a name that is no setting, with the nearest that is one."""
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    hint_zh = f"是否想写 {near[0]}？" if near else f"可用的设置：{', '.join(_BY_NAME)}。"
    hint_en = f"Did you mean {near[0]}?" if near else f"The settings are: {', '.join(_BY_NAME)}."
    return _problem("config.unknown", name, hint_zh=hint_zh, hint_en=hint_en)


def _problem(code: str, setting: str, *, fatal: bool = True, **fields: str) -> Problem:
    """Word a problem in both languages."""
    zh, en = _MESSAGES[code]
    return Problem(
        setting, code, fatal, zh.format(setting=setting, **fields), en.format(setting=setting, **fields).rstrip()
    )


def _toml(value: Value) -> str:
    """Write a value as TOML (a basic string, or a number)."""
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
