"""What is said of an error, by its code, in Chinese and English. Long for being a table.

Keeps true: as `medchain.commands.messages`. A text has fields that every raise of its code gives; where they are lost
on the way, what is said of the error's class takes its place. Trusts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands import (
    attest_texts,
    case_texts,
    claim_texts,
    counter_texts,
    demo_texts,
    proposal_texts,
    witnessing_texts,
)
from medchain.commands.command import Text
from medchain.errors import (
    AccessDeniedError,
    ConflictError,
    InputError,
    MedchainError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)
from medchain.web.refusals import REFUSALS

ERROR_KINDS: Final[Mapping[type[MedchainError], Text]] = {
    InputError: Text("输入有误。", "The input is not right."),
    AccessDeniedError: Text("没有权限。", "Not allowed."),
    NotFoundError: Text("找不到。", "Not found."),
    ConflictError: Text("与现状冲突。", "It conflicts with what is there."),
    VerificationError: Text("核验未通过。", "Refused: it does not verify."),
    UnavailableError: Text("暂时不可用，请稍后重试。", "Not available now; try again later."),
}
"""What is said of a code that has no text of its own."""

ERRORS: Final[Mapping[str, Text]] = {
    "account.minor": Text(
        "按出生日期，此人未成年（或可能未成年），须在登记窗口与监护人一起登记。",
        "By the birth date this person is under age, or may be: the desk enrols a child with its guardians.",
    ),
    "account.no_patient": Text("本院没有这个编号的患者。", "There is no Patient of that id here."),
    "ask.exists": Text("已有同一编号的另一请求。", "There is another ask of that id."),
    "ask.malformed": Text("请求的内容有误。", "What is asked is not right."),
    "ask.quota": Text("等待答复的请求过多。", "Too many asks wait for an answer."),
    "ask.unknown": Text("没有等待答复的这一请求。", "No such ask waits for an answer."),
    "concern.many": Text("该患者待答复的诉求过多。", "Too many concerns of this patient wait for an answer."),
    "concern.state": Text("诉求当前的状态不允许这一步。", "This step does not follow from the concern's state."),
    "concern.uncorrected": Text("该记录尚无更正后的版本。", "The record has no later version that corrects it yet."),
    "concern.unknown": Text("本机构没有这项诉求。", "There is no such concern of this organisation."),
    **attest_texts.ERRORS,
    **case_texts.ERRORS,
    **counter_texts.ERRORS,
    **claim_texts.ERRORS,
    **demo_texts.ERRORS,
    **proposal_texts.ERRORS,
    **witnessing_texts.ERRORS,
    **{code: Text(*pair) for code, pair in REFUSALS.items()},
    "bundle.format": Text(
        "{path} 不是 zip 文件，或打包方式不同于证明包。",
        "{path} is no zip file, or is not packed as proof bundles are.",
    ),
    "call.setting": Text("--set 应为 名称=值，现为 {setting}。", "--set takes NAME=VALUE, not {setting}."),
    "call.zone": Text("没有名为 {zone} 的时区。", "There is no time zone {zone}."),
    "account.confirmed": Text("该账号没有等待确认。", "This account waits for no confirmation: use `account enable`."),
    "account.unconfirmed": Text(
        "该账号因恢复备份而关闭，须用 account confirm 确认。",
        "A restore shut this account: confirm it with `account confirm`.",
    ),
    "client.confirmed": Text(
        "客户端 {client} 没有等待确认。",
        "Client {client} waits for no confirmation: use `client enable`.",
    ),
    "client.unconfirmed": Text(
        "客户端 {client} 因恢复备份而停用，须用 client confirm 确认。",
        "A restore shut client {client}: confirm it with `client confirm`.",
    ),
    "doctor.confirmations": Text(
        "{accounts} 个账号、{clients} 个客户端自恢复备份起关闭，等待确认（account confirm、client confirm）",
        "{accounts} account(s) and {clients} client(s) are shut since a restore and wait to be confirmed (`account "
        "confirm`, `client confirm`)",
    ),
    "doctor.attesting": Text(
        "窗口账号 {names} 没有写明是哪位医务人员，不能用于双人证明（account person NAME Practitioner/ID）",
        "the desk's account(s) {names} do not say which Practitioner they belong to, and attest nothing (`account "
        "person NAME Practitioner/ID`)",
    ),
    "account.provider": Text(
        "账号 {name} 的人员信息由身份提供方给出。",
        "Who the account {name} belongs to is what its identity provider says.",
    ),
    "client.exists": Text("客户端 {client} 已登记。", "Client {client} is registered already."),
    "client.unknown": Text("没有登记客户端 {client}。", "Client {client} is not registered."),
    "daemon.not_running": Text(
        "守护进程没有运行。用 medchain node run 启动节点。",
        "The daemon is not running. Start it with `medchain node run`.",
    ),
    "backup.archive": Text("{path} 不是备份文件。", "{path} is no backup."),
    "backup.io": Text("无法读写 {path}。", "{path} cannot be read or written."),
    "backup.manifest": Text("备份清单的格式不对。", "The backup's list has not the form of one."),
    "backup.tag": Text(
        "备份不是由持有此根密钥的节点所作，或其清单已被改动。",
        "The backup was not made by a node with this root key, or its list was changed.",
    ),
    "backup.changed": Text("备份中的 {path} 与清单不符。", "{path} in the backup is not what its list says."),
    "bundle.content": Text("{path} 不是所登记的内容。", "{path} is not the content that was registered."),
    "bundle.no_content": Text(
        "此包没有打开任何内容，无法与文件比对。", "The bundle opens no content that a file could be compared with."
    ),
    "job.busy": Text("工作进程都在忙，请稍后重试。", "All worker processes are busy; try again later."),
    "job.died": Text(
        "工作进程在完成前退出（可能被终止）。未完成的部分没有存储，可重试。",
        "A worker process ended before it was done, perhaps killed. What was not done is not stored; try again.",
    ),
    "job.memory": Text(
        "内容超出工作进程的内存上限，请拆分。",
        "The content needs more memory than a worker process may have; split it.",
    ),
    "doctor.blobs": Text(
        "{count} 个大文件中有 {bad} 个缺失或损坏。请从备份恢复。",
        "Of {count} files of large content {bad} are absent or damaged. Restore from a backup.",
    ),
    "doctor.invoices": Text(
        "账本登记的票据标识密钥中，自 {days} 起的不在本节点：从较新的备份恢复，否则这些日期的票据无法标识。",
        "This node lacks the keys for ids of invoices that begin on {days}: restore them from a newer backup, or no "
        "invoice of these dates can be named.",
    ),
    "doctor.messages": Text(
        "{waiting} 条通知未能发出，最久 {age_s} 秒。",
        "{waiting} notices wait to be sent to people, the oldest for {age_s} s.",
    ),
    "doctor.outbox": Text(
        "{waiting} 条记录待上链，最久 {age_s} 秒。",
        "{waiting} records wait for their anchor, the oldest for {age_s} s.",
    ),
    "doctor.bad": Text("{count} 项异常。", "{count} checks found something wrong."),
    "mail.authorities": Text(
        "mail.ca 指向的文件不是 PEM 证书。", "The file that mail.ca names holds no certificates (PEM)."
    ),
    "mail.login": Text(
        "邮件服务器不接受 mail.user 与 mail.password。", "The mail server does not accept mail.user and mail.password."
    ),
    "mail.password": Text(
        "无法从 {path} 读取密码：应为一行可打印的 ASCII 字符。",
        "{path} holds no password: it must be one line of printable ASCII.",
    ),
    "mail.sender": Text(
        "邮件服务器不接受 mail.sender 作为发件地址。", "The mail server does not take letters from mail.sender."
    ),
    "mail.tls": Text(
        "与邮件服务器之间无法建立可信的 TLS：服务器不支持，或证书不属于该名称或不受信任（mail.ca）。",
        "There is no TLS to the mail server to be trusted: it offers none, or its certificate has another name or "
        "comes from nobody trusted (mail.ca).",
    ),
    "mail.unreachable": Text(
        "连不上邮件服务器，或它没有作答。", "The mail server cannot be reached, or gives no answer."
    ),
    "encoding.hex": Text(
        "应为 {size_bytes} 字节的小写十六进制数。", "It must be {size_bytes} bytes in lower-case hexadecimal."
    ),
    "alarm.note": Text("说明须为 1 至 {limit} 字。", "A note has 1 to {limit} characters."),
    "alarm.unknown": Text("没有待确认的警报 {id}。", "There is no alarm {id} to acknowledge."),
    "confirm.missing": Text(
        "没有人可以确认；如确有此意，请加 --yes。", "Nobody is there to confirm it; add --yes if it is meant."
    ),
    "erasure.locked": Text(
        "依法锁定，不得删除：{reason}（至 {until}）。", "Locked against erasure: {reason} (until {until})."
    ),
    "emergency.over": Text("这次紧急访问已经结束。", "The emergency is over."),
    "emergency.own": Text("查看者不能复核自己的紧急访问。", "Who looked in an emergency does not review it."),
    "emergency.reviewed": Text("已复核过。", "It is reviewed already."),
    "emergency.unknown": Text("本机构没有这次紧急访问。", "There is no such emergency of this organisation."),
    "erasure.grant": Text("该授权不是给本机构的，或其正文不在此处。", "The grant is to somebody else, or is not here."),
    "erasure.in_force": Text(
        "授权仍有效，其后还会收到记录；终止后再声明。",
        "The grant is in force, and more may be received under it; state the erasure when it is over.",
    ),
    "erasure.stated": Text("已声明过。", "It is stated already."),
    "grant.unknown": Text("此处没有这项授权。", "There is no such grant here."),
    "erasure.moved_on": Text(
        "其间密钥有变动，未作改动；请重试。", "The keys changed meanwhile, nothing was destroyed; try again."
    ),
    "erasure.nothing": Text("没有以该患者密钥封存的记录。", "Nothing is sealed under a key of that patient."),
    "erasure.reason": Text("理由须为 1 至 {limit} 字。", "A reason has 1 to {limit} characters."),
    "retention.date": Text("{until} 不是日期（年-月-日）。", "{until} is no date (YYYY-MM-DD)."),
    "retention.none": Text("该患者的记录没有锁定。", "That patient's records are not locked."),
    "file.busy": Text(
        "另一条命令正在写入 {path}；未作改动。", "Another command is writing {path}; nothing was changed."
    ),
    "file.changed": Text(
        "{file} 与写入时不一致：磁盘或他人改动过它。请先查明原因，再用备份恢复此节点（`medchain restore`）。",
        "{file} is not as it was written: the disk, or somebody, has changed it. Find out why, then restore the node"
        " from a backup (`medchain restore`).",
    ),
    "file.exists": Text("{path} 已存在，未作改动。", "{path} is there already; nothing was changed."),
    "file.json": Text("{path} 不是 JSON 文件。", "{path} is no JSON file."),
    "file.missing": Text("找不到文件 {path}。", "There is no file {path}."),
    "file.too_large": Text("{path} 超过 {limit} 字节。", "{path} is larger than {limit} bytes."),
    "genesis.exists": Text("{path} 已是另一个账本的创世文件。", "{path} is the genesis of another ledger already."),
    "genesis.ledger": Text(
        "创世文件的账本标识是 {ledger}，与您给出的不同：请停止并向各成员核实。",
        "The genesis has ledger id {ledger}, not the one that you gave: stop and ask the members.",
    ),
    "genesis.missing": Text(
        "缺少创世文件 {path}。用 medchain join start 加入账本。",
        "There is no genesis {path}. Join a ledger with `medchain join start`.",
    ),
    "genesis.not_member": Text(
        "创世文件中没有 {org_id}。要加入运行中的联盟，请用 medchain join request。",
        "The genesis does not name {org_id}. To join a consortium that runs, begin with `medchain join request`.",
    ),
    "genesis.own_keys": Text(
        "创世文件中 {org_id} 的密钥不是本节点的密钥。", "The keys that the genesis gives {org_id} are not this node's."
    ),
    "keystore.exists": Text("{path} 已存在，未作改动。", "{path} is there already; nothing was changed."),
    "keystore.no_root_key": Text("打不开根密钥 {path}。", "The root key {path} cannot be opened."),
    "keystore.open_key": Text(
        "{path} 可被其他用户读取。请执行 chmod 600 {path}。", "{path} can be read by other users. Run chmod 600 {path}."
    ),
    "keys.unwrap": Text(
        "密钥库与此根密钥不符。请使用创建本节点密钥库时的根密钥。",
        "The keystore does not belong to this root key. Use the root key with which this node's keystore was made.",
    ),
    "local.operation": Text("运行中的节点没有操作 {operation}。", "The running node has no operation {operation}."),
    "keystore.candidates": Text(
        "{uses} 密钥的更换尚未完成，请先完成。", "The exchange of {uses} keys is not finished: finish it first."
    ),
    "node.not_restarted": Text(
        "{folder} 中的节点没有重新启动，请查看日志。", "The node in {folder} has not started anew: look at its logs."
    ),
    "proposal.log_key": Text(
        "{org_id} 曾在排序时被接管，须先更换日志密钥（medchain key rotate log）才能再次排序。",
        "{org_id} was replaced while it ordered: it orders again once its log key is exchanged"
        " (`medchain key rotate log`).",
    ),
    "proposal.to_itself": Text(
        "{org_id} 不能提议把排序交给自己：请由其他成员提议移交；若排序方已失联，请改用 take-over。",
        "{org_id} cannot propose a hand-over to itself: another member proposes it; from an orderer that is lost, use"
        " take-over.",
    ),
    "proposal.orderer": Text("须由将要排序的 {org_id} 批准。", "{org_id}, who is to order, has to approve it."),
    "rotation.administrator": Text(
        "只有能打开本节点根密钥的管理员可以更换密钥。",
        "Only an administrator who can open the node's root key exchanges keys.",
    ),
    "rotation.full": Text(
        "账本上本机构的票据编号密钥已满 {most} 代，不能再加。",
        "The ledger lists {most} keys for ids of this organisation's invoices, and takes no more.",
    ),
    "rotation.no_invoices": Text(
        "账本上没有本机构的开票单位代码：先用 medchain org issuers 提议登记。",
        "The ledger lists no issuer code of this organisation: propose one first with `medchain org issuers`.",
    ),
    "rotation.not_ordered": Text(
        "变更尚未排序，稍后再次执行即可继续。", "The change is not ordered yet: the same again later goes on."
    ),
    "rotation.orderer": Text(
        "本机构正负责排序：更换日志密钥前须先移交排序。",
        "This organisation orders: hand over ordering before its log key is exchanged.",
    ),
    "node.not_running": Text(
        "{folder} 中的节点没有运行。用 medchain node run 启动。",
        "The node in {folder} is not running. Start it with `medchain node run`.",
    ),
    "node.running": Text("{folder} 中的节点已在运行。", "The node in {folder} is running already."),
    "organisation.generation": Text(
        "票据编号密钥只能追加，不能更改或删除；新的一代须在写入账本后 3 至 366 天开始使用。",
        "Keys for ids of invoices are only added, never changed or dropped; a new one begins 3 to 366 days after the "
        "ledger lists it.",
    ),
    "organisation.issuer": Text(
        "已登记的开票单位代码不能撤销。", "An issuer code that the ledger lists cannot be given up."
    ),
    "organisation.invoices": Text(
        "开票单位代码由 1 至 32 个 0-9、A-Z 组成，每个机构至多 64 个。",
        "An issuer code has 1 to 32 of 0-9 and A-Z; an organisation has 64 at most.",
    ),
    "organisation.unknown": Text("联盟中没有 {org_id}。", "There is no member {org_id}."),
    "passphrase.authentication": Text(
        "口令不对，或根密钥文件已损坏。", "Wrong passphrase, or a damaged root key file."
    ),
    "passphrase.differ": Text("两次输入的口令不同。", "The two passphrases differ."),
    "passphrase.format": Text(
        "根密钥文件不是用口令加密的文件。请检查 keys.source 与 keys.file 两项设置。",
        "The root key's file is none that a passphrase seals. Look at the settings keys.source and keys.file.",
    ),
    "passphrase.key_file": Text(
        "根密钥文件已损坏，或不是密钥文件。请检查 keys.source 与 keys.file 两项设置。",
        "The root key's file is damaged, or no key file. Look at the settings keys.source and keys.file.",
    ),
    "passphrase.missing": Text(
        "需要口令：在终端输入，或设置环境变量 {variable}。",
        "A passphrase is needed: type it at a terminal, or set the variable {variable}.",
    ),
    "passphrase.too_short": Text("口令至少 12 个字符。", "A passphrase has at least 12 characters."),
    "record.erased": Text("记录的密钥已销毁，无法再打开。", "The record's key was destroyed; nothing can open it."),
    "record.name": Text("记录写作 类型/标识，如 Patient/1。", "A record is written TYPE/ID, such as Patient/1."),
    "record.no_field": Text("记录中没有 {pointer} 所指的字段。", "The record has nothing at {pointer}."),
    "record.no_fields": Text(
        "这条记录没有逐项承诺其字段，只能整条出示。",
        "This record's fields are not committed to one by one; it can only be shown whole.",
    ),
    "record.not_text": Text(
        "内容不是文本（{content_type}），请用 --out 写入文件。",
        "The content is no text ({content_type}): write it to a file with --out.",
    ),
    "record.versions": Text(
        "多条记录合为一包时不能指定版本。", "Several records in one bundle are proven in their newest versions."
    ),
    "record.unknown": Text("本节点没有这条记录。", "This node has no such record."),
    "store.corrupt": Text(
        "数据库损坏，或密钥不对，或被旧副本替换。", "A database is damaged, has another key, or is an older copy."
    ),
    "bundle.answer": Text("证明包所称与其证明不符。", "The bundle says more than its proofs show."),
    "bundle.consistency": Text("证明包不能证明日志只增不改。", "The bundle does not show that the log only grew."),
    "bundle.entry": Text("日志条目不是这条记录的。", "The log entry is not that of this record."),
    "bundle.history": Text("版本链不相接。", "The chain of versions does not hold together."),
    "bundle.ledger": Text("证明包属于另一账本。", "The bundle is of another ledger."),
    "bundle.ledger_unnamed": Text(
        "证明包没有写明账本：它属于哪个账本，只由可信策略中的日志决定。请不带 --ledger 验证。",
        "The bundle names no ledger: only the trusted policy's log tells which it is. Verify it without --ledger.",
    ),
    "bundle.link": Text(
        "证明包中的 {name} 不是普通文件。", "The bundle holds {name}, which is a link or another thing that is no file."
    ),
    "bundle.twice": Text("证明包中 {name} 出现了两次。", "The bundle holds {name} twice."),
    "bundle.field_root": Text(
        "承诺中的字段根不是所示内容的：在它之下可以出示别的内容。",
        "The field root committed to is not that of the content shown: other contents could be shown under it.",
    ),
    "transaction.issuer": Text(
        "该开票单位代码已属另一家机构。", "This issuer code belongs to another organisation already."
    ),
    "transaction.vrf": Text(
        "该票据编号密钥已属另一家机构。", "This key for ids of invoices belongs to another organisation already."
    ),
    "trace.items": Text(
        "一个证明包可含 1 至 {limit} 个不同对象；给出了 {count} 个，或有重复。",
        "A bundle proves 1 to {limit} different objects; {count} were given, or one twice.",
    ),
    "bundle.block": Text(
        "所附的区块首尾不是该条目所在区块的，不能证明其时间。",
        "The ends of blocks in it are not those of the entry's block, and so prove no time.",
    ),
    "bundle.opening": Text("展示的内容不是账本所承诺的。", "What is shown is not what the ledger commits to."),
    "looks.absent": Text("包中没有查看记录的清单。", "The bundle has no list of looks."),
    "looks.backdated": Text(
        "清单中有条目的日期早于较早的根，而当时并无此条目：是倒填的。",
        "An entry is dated before the earlier root, which did not have it: it was dated back.",
    ),
    "looks.chain": Text(
        "第 {number} 条与前一条不相接：有条目缺失、添加或移动。",
        "Entry {number} does not follow on the one before: an entry is missing, added or moved.",
    ),
    "looks.malformed": Text("查看记录的格式不对。", "The list of looks has not the form of one."),
    "looks.none": Text("本机构尚未记入任何查看。", "No look has been entered here yet."),
    "looks.object": Text(
        "所证明的不是保管机构的查看记录之根。", "What is proven is not the root of a custodian's looks."
    ),
    "looks.older": Text("这份证明比较早的那份还旧。", "This proof is older than the earlier one."),
    "looks.other": Text(
        "两份证明的保管机构、患者或清单不同。", "The two proofs are of different custodians, patients or lists."
    ),
    "looks.pending": Text(
        "新的根正在登上账本；请稍后再试。", "A new root is on its way to the ledger; try again in a moment."
    ),
    "looks.proof": Text(
        "账本所证的根不含这样的清单：有条目缺失、添加或被改动。",
        "The root on the ledger does not hold this list: an entry is missing, added or changed.",
    ),
    "looks.rewritten": Text(
        "较早证明中的条目在这份清单里已不是原样。", "Entries of the earlier proof are not in this list as they were."
    ),
    "looks.time": Text("条目或根的日期不合次序。", "An entry or the root is not dated in order."),
    "looks.version": Text(
        "所证明的是根的第 {version} 版，而账本上已有第 {newest} 版。",
        "What is proven is version {version} of the root; the ledger has version {newest}.",
    ),
    "disclosures.bodies": Text(
        "披露链应有 {version} 条，证明包里是 {count} 条。",
        "The chain has {version} entries, the bundle {count}.",
    ),
    "disclosures.body": Text(
        "披露链第 {version} 条的内容不是账本所承诺的。",
        "Entry {version} of the disclosures is not what the ledger commits to.",
    ),
    "disclosures.grant": Text("披露链第 {version} 条属于另一项授权。", "Entry {version} is under another grant."),
    "disclosures.history": Text(
        "披露链在第 {version} 条处不相接：有遗漏、增添或调换。",
        "The chain of disclosures does not hold together at {version}: an entry is missing, added or moved.",
    ),
    "disclosures.repeated": Text(
        "披露链第 {version} 条用了用过的请求。", "Entry {version} stands on a request that was used before."
    ),
    "disclosures.request": Text(
        "披露链第 {version} 条与请求方签名的请求不符。", "Entry {version} is not what the asker's signed request says."
    ),
    "disclosures.signature": Text(
        "披露链第 {version} 条的请求没有被披露方当时密钥的签名：可能是编造的。",
        "The request of entry {version} is not signed by a key that its recipient had then: it may be made up.",
    ),
    "bundle.verdict": Text(
        "证明包自带的结论与按其证据重新得出的不同：它被改过，或由正式发布前的旧版做成；请向保险公司索取新的证明包。",
        (
            "The bundle's own verdict is not the one that follows from its evidence: it was changed, or made by a "
            "version of before the release. Ask the insurer for a new bundle."
        ),
    ),
    "bundle.rules": Text(
        "证明包的结论按另一版规则得出，本程序不认识这些规则：请用与之相符的版本核验。",
        "The bundle's verdict follows from rules of another number, which this program does not know: verify it with a "
        "version that does.",
    ),
    "evidence.access": Text(
        "{org_id} 的披露不在账本的访问记录之中。", "The access on the ledger does not list what {org_id} discloses."
    ),
    "evidence.claim": Text(
        "证据与索赔不符，或其中的索赔无法读取。", "The evidence is for another claim, or the claim cannot be read."
    ),
    "evidence.malformed": Text("证据文件格式有误。", "The evidence has another form."),
    "evidence.member": Text("证明包没有列出成员 {org_id}。", "The bundle does not list member {org_id}."),
    "evidence.question": Text(
        "票据查询不是该保险公司就这张票据签署的。", "The question about the invoice is not what the insurer signed."
    ),
    "evidence.request": Text(
        "{org_id} 据以披露的请求不是该保险公司为本索赔签署的。",
        "The request that {org_id} answered is not what the insurer signed for this claim.",
    ),
    "evidence.signature": Text("{org_id} 没有签署这份披露。", "{org_id} did not sign the disclosure."),
    "bundle.split_view": Text(
        "证明包含有大小同为 {size} 而根不同的两个检查点：有人展示了两份历史。请保存证明包，并告知各成员。",
        "The bundle holds two checkpoints of the same size, {size}, with different roots: somebody shows two histories."
        " Keep it and tell the members.",
    ),
    "bundle.policy_chain": Text(
        "从所信任的策略到不了现行策略。", "No chain leads from the trusted policy to the one in force."
    ),
    "bundle.state": Text(
        "证明包没有给出其日志的最后一条状态条目。", "The bundle does not show the state entry that ends its log."
    ),
    "bundle.other_policy": Text(
        "联署者不是日志末尾所写明的策略的成员：请取最新的信任策略。",
        "Those who cosigned are not the members whom the end of the log names: take the newest trusted policy.",
    ),
    "bundle.record": Text("状态记录不是这个对象的。", "The state record is not that of this object."),
    "bundle.size": Text("证明包大于 {limit} 字节。", "The bundle is larger than {limit} bytes."),
    "client.bound": Text(
        "客户端 {client} 只能使用绑定密钥的令牌，须由其自行申请。",
        "Client {client} may have tokens that are bound to its key alone; it asks for them itself.",
    ),
    "client.disabled": Text("客户端 {client} 已停用。", "Client {client} is disabled."),
    "config.invalid": Text("设置 {setting} 有误：{problem}。", "{setting} is not right: {problem}."),
    "client.jwk": Text("应为一个 ES384 公钥（JWK）。", "This takes one public ES384 key (JWK)."),
    "genesis.malformed": Text(
        "创世文件有误：{member}。rp_id 为 localhost、地址为 http 只可用于 --demo。",
        "The genesis is not right: {member}. An rp_id of localhost and addresses without TLS are for --demo alone.",
    ),
    "import.unreadable": Text("文件无法解压。", "The file cannot be unpacked."),
    "keystore.missing": Text("找不到密钥 {path}。", "There are no keys at {path}."),
    "log.mirror_damaged": Text(
        "镜像中的 {path} 已损坏，不再符合镜像自己的检查点；请镜像到新的文件夹。",
        "{path} of the mirror is damaged: it does not fit the mirror's own checkpoint. Mirror into a new folder.",
    ),
    "log.older": Text(
        "节点的日志比此处的镜像短（{size} 条）。", "The node's log is shorter than the mirror here ({size} entries)."
    ),
    "log.rewritten": Text(
        "日志被改写：前 {size} 条已不同于镜像。",
        "The log was rewritten: its first {size} entries are not those of the mirror.",
    ),
    "log.root": Text("条目算出的根与检查点 {size} 不符。", "The entries do not make the root of checkpoint {size}."),
    "log.other_policy": Text(
        "日志末尾写明的不是该策略的成员：请取最新的信任策略。",
        "The end of the log names other members than those of the policy: take the newest trusted policy.",
    ),
    "log.tile": Text("{path} 与其条目不符。", "{path} is not what its entries make."),
    "member.type": Text("不是成员文件（member.json）。", "This is no member file (member.json)."),
    "policy.unnamed": Text(
        "没有写明生效的策略（策略文件缺少 consortium@ 组，或账本是旧版格式）。",
        "The policy in force is not named: a policy file without a consortium@ group, or a ledger of an older format.",
    ),
    "policy.text": Text("{path} 不是信任策略文件。", "{path} is no policy file."),
    "proofs.ledger": Text("{path} 是另一账本的证明。", "{path} holds proofs for another ledger."),
    "proofs.type": Text("{path} 不是证明文件。", "{path} is no file of proofs."),
    "scope.malformed": Text(
        "权限范围有误；例如 system/*.rs 或 system/Observation.r。",
        "The scope is not right; write it such as system/*.rs or system/Observation.r.",
    ),
    "submit.busy": Text(
        "同一对象的另一版本正在提交，请稍后重试。", "Another version of the same object is under way: try again later."
    ),
    "submit.not_final": Text(
        "其他成员未在限时内确认，之后仍可能生效；请先查看，再重试。",
        "The other members have not confirmed it in time, and it may still come to be: look first, then try again.",
    ),
    "submit.no_endorser": Text(
        "抽中的背书机构都没有应答，请稍后重试。", "None of the drawn organisations answers: try again later."
    ),
    "submit.promised": Text(
        "上一次提交因中断而下落不明，可能仍会排序；请几分钟后重试。",
        "An attempt of before was lost on the way and may still be ordered; try again in a few minutes.",
    ),
    "vouched.missing": Text(
        "{path} 不见了：节点不再知道自己联署过什么，为免自相矛盾而不启动。"
        "请用 medchain backup 备份此文件夹，再用 medchain restore 恢复到新文件夹。",
        "{path} is gone: the node does not know what it has cosigned, and does not start, lest it contradict itself."
        " Back up this folder (medchain backup), and restore that into a new one (medchain restore).",
    ),
    "store.full": Text("磁盘已满：请腾出空间后重试。", "The disk is full: free space, then try again."),
    "store.schema": Text(
        "数据库的版本（{schema}）与本程序不同：先启动节点以升级，或使用更新的程序。",
        "The database's version ({schema}) is not this program's: start the node to upgrade it, or use a newer one.",
    ),
    "tlog.consistency": Text(
        "日志在 {old_size} 条与 {size} 条之间不是只增不改。",
        "The log did not only grow from {old_size} to {size} entries.",
    ),
    "tlog.inclusion": Text(
        "条目不在检查点所示的日志中：内容或证明被改动。",
        "The entry is not in the log of the checkpoint: it or its proof was changed.",
    ),
    "tlog.log_signature": Text("检查点没有所信任的日志签名。", "The checkpoint lacks the signature of a trusted log."),
    "tlog.map_proof": Text("状态证明与根不符。", "The proof of the state does not give the root."),
    "tlog.policy": Text("信任策略文件有误。", "The policy file is not right."),
    "tlog.quorum": Text("所信任的成员中联署的太少。", "Too few members of the trusted policy have cosigned."),
}
"""Code → text. A text's fields are those of the error."""
