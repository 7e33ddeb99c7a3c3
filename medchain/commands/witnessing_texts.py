"""What the commands about a witness of one's own say, in both languages."""

from __future__ import annotations

from typing import Final

from medchain.commands.command import Text

WITNESS_GROUP: Final = Text(
    "自己的见证方：不是节点，独立联署日志", "a witness of one's own: no node, it cosigns the log"
)
INIT_SUMMARY: Final = Text(
    "新建见证方的文件夹与密钥，并给出节点须配置的两行",
    "make a witness's folder and keys, and write the two lines that nodes are configured with",
)
INIT_EXAMPLES: Final = Text(
    "medchain witness init witness/ --url https://witness.commission.example --logs logs.txt",
    "medchain witness init witness/ --url https://witness.commission.example --logs logs.txt",
)
FOLDER: Final = Text("见证方的文件夹", "the witness's folder")
URL: Final = Text("节点访问它的网址（提交前缀）", "address by which nodes reach it (submission prefix)")
NAME: Final = Text("签名所用的名称，默认由网址得出", "name that it signs under; made of the address where it is absent")
LOGS: Final = Text(
    "所信任日志的公钥文件：由节点的 medchain log witnesses --out 写出，每行 log 公钥",
    "file with the keys of logs that it trusts: `medchain log witnesses --out` of a node writes it, log VKEY a line",
)
PASSPHRASE: Final = Text(
    "以口令（MEDCHAIN_PASSPHRASE 或询问）保护根密钥，而非密钥文件",
    "guard the root key by a passphrase (MEDCHAIN_PASSPHRASE, or asked for) instead of a key file",
)
INIT_DONE: Final = Text(
    "见证方已建于 {folder}。把以下各行交给节点的运维方（witnesses.file）：",
    "The witness is in {folder}. Give these lines to who operates a node (witnesses.file):",
)
INIT_KEY_FILE: Final = Text(
    "根密钥在 {path}：持有者可以本见证方的名义联署。请严加保管，或改用 --passphrase；绝不从备份恢复此文件夹。",
    "The root key is in {path}: who has it can cosign in this witness's name. Guard it, or use --passphrase; never put "
    "the folder back from a backup.",
)
SERVE_SUMMARY: Final = Text(
    "运行见证方，直到 SIGTERM 或 Ctrl-C：联署只增不改的检查点",
    "run a witness until SIGTERM or Ctrl-C: it cosigns checkpoints of logs that only grow",
)
SERVE_EXAMPLES: Final = Text(
    "medchain witness serve witness/ --listen 0.0.0.0:443 --certificate tls.pem --key tls.key",
    "medchain witness serve witness/ --listen 0.0.0.0:443 --certificate tls.pem --key tls.key",
)
LISTEN: Final = Text("监听地址，默认只在本机", "where it listens; this machine alone where it is absent")
CERTIFICATE: Final = Text("TLS 证书链（PEM）", "TLS certificate chain (PEM)")
KEY: Final = Text("其私钥（PEM）", "its private key (PEM)")
SERVING: Final = Text("{name} 在 {address} 联署；按 Ctrl-C 停止。", "{name} cosigns at {address}; Ctrl-C stops it.")
PLAIN: Final = Text(
    "{address} 不在本机，又没有 TLS：请在前面放置代理。",
    "{address} is not this machine alone, and without TLS: put a proxy in front.",
)
TRUST_SUMMARY: Final = Text(
    "改为信任这些日志公钥（全部列出）；运行中的见证方随即生效",
    "trust these keys of logs, and no others; a witness that runs goes by them at once",
)
TRUST_EXAMPLES: Final = Text(
    "medchain witness trust witness/ --logs logs.txt", "medchain witness trust witness/ --logs logs.txt"
)
TRUST_DONE: Final = Text("信任 {count} 把公钥：{origins}。", "{count} keys are trusted, of {origins}.")
SHOW_SUMMARY: Final = Text(
    "名称、公钥、各日志已联署到哪里，以及保留的证据",
    "name, keys, up to where each log is cosigned, and the evidence that is kept",
)
SHOW_EXAMPLES: Final = Text("medchain witness show witness/", "medchain witness show witness/")
SHOW_LOG: Final = Text(
    "{origin}：已联署 {size} 条，时间 {time}，信任 {count} 把公钥",
    "{origin}: has cosigned {size} entries, at {time}; {count} keys are trusted",
)
SHOW_LOST: Final = Text(
    "{origin}：已联署的状态不见了或已损坏，不再联署",
    "{origin}: what was cosigned is gone or damaged; nothing is cosigned",
)
SHOW_SPLIT: Final = Text(
    "证据 {path}：日志在同一大小签了两个不同的根",
    "evidence {path}: the log has signed two roots of one size",
)
SHOW_UNPROVEN: Final = Text(
    "线索 {path}：日志签了它，却未证明它延续已联署的内容",
    "lead {path}: the log has signed it, and it was not shown to follow from what was cosigned",
)

LOGS_OUT: Final = Text(
    "另写成见证方所用的文件（medchain witness init --logs）",
    "also write them as the file for a witness (`medchain witness init --logs`)",
)
LOGS_WRITTEN: Final = Text("{path} 已写好，交给见证方。", "{path} is written, for the witness.")

ERRORS: Final = {
    "logs.malformed": Text(
        "日志公钥文件的第 {line} 行有误：每行应为 log 公钥。", "Line {line} of the keys of logs is not right: log VKEY."
    ),
    "witnessing.busy": Text("另一命令正在更改 {folder} 的信任。", "Another command is changing what {folder} trusts."),
    "witnessing.keys": Text("{path} 是另一见证方的根密钥。", "{path} is the root key of another witness."),
    "witnessing.listen": Text(
        "监听地址 {value} 有误：应为 主机:端口。", "{value} is no address to listen at: HOST:PORT."
    ),
    "witnessing.missing": Text(
        "{path} 不存在：这不是见证方的文件夹。", "{path} is not there: this is no witness's folder."
    ),
    "witnessing.running": Text("{folder} 的见证方已在运行。", "The witness of {folder} runs already."),
    "witnessing.state": Text(
        "{path} 不见了或不是本见证方写的：它不再知道自己联署过什么，为免自相矛盾而不再联署这一日志。"
        "请用新的文件夹与名称另建见证方。",
        "{path} is gone, or not what this witness wrote: it does not know what it has cosigned, and cosigns this log no"
        " more, lest it contradict itself. Make a new witness, with a folder and a name of its own.",
    ),
    "witnessing.tls": Text("TLS 同时需要证书与私钥。", "TLS needs both a certificate and its private key."),
    "witnessing.url": Text("{url} 不是可用的网址。", "{url} is no address that nodes could use."),
}
"""Code → text."""
