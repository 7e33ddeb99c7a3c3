"""What the command line says, in Chinese and English. Long for being a table; errors and the demo have theirs beside.

Keeps true: a text and its translation have the same fields (a test compares them). Trusts nothing: fields are shown as
they are, and never hold patient data, keys or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

# The program

TOP_SUMMARY: Final = Text(
    "MedChain：各机构在患者本人同意下共享健康数据，事后可离线证明。",
    "MedChain: organisations share health data under the patient's own consent, and can prove it offline.",
)
TOP_EXAMPLES: Final = Text(
    "初次使用：\n"
    "  medchain init node --org-id renhe-hospital --role hospital --name-zh 仁和医院 --name-en 'Renhe Hospital'\n"
    "  medchain config check --config node/node.toml\n"
    "  medchain node run --config node/node.toml\n"
    "每个命令都有带示例的帮助：medchain 命令 --help",
    "To begin:\n"
    "  medchain init node --org-id renhe-hospital --role hospital --name-zh 仁和医院 --name-en 'Renhe Hospital'\n"
    "  medchain config check --config node/node.toml\n"
    "  medchain node run --config node/node.toml\n"
    "Each command has help with examples: medchain COMMAND --help",
)
USAGE: Final = Text("用法:", "usage:")
POSITIONALS: Final = Text("参数", "arguments")
OPTIONS: Final = Text("选项", "options")
HELP_HELP: Final = Text("显示本说明", "show this help and exit")
MISTAKE: Final = Text("{call}：{mistake}", "{call}: {mistake}")
WRONG_CALLS: Final = (
    Text("缺少：{names}", "the following arguments are required: {names}"),
    Text(
        "{name}：{value} 不在可选值之中（{choices}）",
        "argument {name}: invalid choice: {value} (choose from {choices})",
    ),
    Text("{name}：值 {value} 无效（应为 {kind}）", "argument {name}: invalid {kind} value: {value}"),
    Text("{name}：需要一个值", "argument {name}: expected one argument"),
    Text("{name}：需要至少一个值", "argument {name}: expected at least one argument"),
    Text("{name}：不带值，却给了 {value}", "argument {name}: ignored explicit argument {value}"),
    Text("{name} 不能与 {other} 同用", "argument {name}: not allowed with argument {other}"),
    Text("必须给出其中之一：{names}", "one of the arguments {names} is required"),
    Text("无法识别：{words}", "unrecognized arguments: {words}"),
)
"""Mistakes of a call, as `argparse` words them in English."""
COMMAND_WORD: Final = Text("命令", "COMMAND")
EXAMPLES: Final = Text("示例", "examples")
LANG_HELP: Final = Text("语言，默认取自 LANG", "language; LANG decides otherwise")
JSON_HELP: Final = Text("以一个 JSON 文档作答", "answer one JSON document")
CONFIG_HELP: Final = Text(
    "节点的 node.toml；默认取 MEDCHAIN_CONFIG，否则为当前文件夹中的 node.toml",
    "the node's node.toml; otherwise MEDCHAIN_CONFIG, otherwise node.toml in this folder",
)
OUT_FILE: Final = Text("写入的文件", "file to write")
PASSPHRASE: Final = Text("根密钥口令", "Passphrase of the root key")
PASSPHRASE_NEW: Final = Text("新口令（至少 12 个字符）", "New passphrase (at least 12 characters)")
PASSPHRASE_AGAIN: Final = Text("再次输入口令", "The same passphrase again")

# init

INIT_SUMMARY: Final = Text(
    "建立节点文件夹：配置、根密钥与全部密钥", "make a node's folder: settings, root key, all keys"
)
INIT_EXAMPLES: Final = Text(
    "medchain init renhe --org-id renhe-hospital --role hospital --name-zh 仁和医院 --name-en 'Renhe Hospital'\n"
    "medchain init renhe --org-id renhe-hospital --role hospital --name-zh 仁和医院 --name-en 'Renhe Hospital' \\\n"
    "    --url https://node.renhe.example --peer-listen 0.0.0.0:443 --passphrase    # 以口令保护根密钥",
    "medchain init renhe --org-id renhe-hospital --role hospital --name-zh 仁和医院 --name-en 'Renhe Hospital'\n"
    "medchain init renhe --org-id renhe-hospital --role hospital --name-zh 仁和医院 --name-en 'Renhe Hospital' \\\n"
    "    --url https://node.renhe.example --peer-listen 0.0.0.0:443 --passphrase    # a passphrase guards the root key",
)
INIT_FOLDER: Final = Text("新节点的文件夹", "folder of the new node")
INIT_ORG: Final = Text("机构标识：小写字母、数字与连字符", "the organisation's id: lower-case letters, digits, hyphens")
INIT_ROLE: Final = Text("机构的角色", "the organisation's role")
INIT_NAME_ZH: Final = Text("中文名称", "name in Chinese")
INIT_NAME_EN: Final = Text("英文名称", "name in English")
INIT_CONTROL: Final = Text(
    "控制该机构的主体；同一主体控制的机构不算彼此独立",
    "who controls the organisation; those under one control are not independent of each other",
)
INIT_URL: Final = Text("其他节点访问本节点的地址", "where other nodes reach this one")
INIT_ORIGIN: Final = Text("门户网站的源，可重复", "web origin of a portal, may be repeated")
INIT_ISSUER: Final = Text(
    "本机构电子票据的开票单位代码，可重复", "issuer code of the organisation's invoices, may be repeated"
)
INIT_PEER: Final = Text("账本守护进程的监听地址", "where the ledger daemon listens")
INIT_WEB: Final = Text("网页与 FHIR 的监听地址", "where pages and FHIR are served")
INIT_SIGN_LISTEN: Final = Text(
    "签署页面的监听地址（sign.listen）；患者在本节点签署时才需要",
    "where the pages listen on which patients sign (sign.listen), if patients sign here",
)
INIT_SIGN_ORIGIN: Final = Text(
    "浏览器访问签署页面的网址（sign.origin）", "address at which browsers reach these pages (sign.origin)"
)
INIT_TIME_ZONE: Final = Text(
    "节点的时区（fhir.time_zone），IANA 名称；默认 UTC",
    "the node's time zone (fhir.time_zone), an IANA name; UTC by default",
)
INIT_PASSPHRASE: Final = Text(
    "以口令（MEDCHAIN_PASSPHRASE 或询问）保护根密钥，而非密钥文件",
    "guard the root key by a passphrase (MEDCHAIN_PASSPHRASE, or asked for) instead of a key file",
)
INIT_DONE: Final = Text(
    "节点已建于 {folder}。把 {member}（只含公钥）交给其他创始成员。",
    "The node is in {folder}. Give {member} (public keys only) to the other founders.",
)
INIT_KEY_FILE: Final = Text(
    "根密钥在 {path}：持有者可打开一切。请移到安全处并备份，或改用 --passphrase。",
    "The root key is in {path}: who holds it opens everything. Guard it and keep a copy, or use --passphrase.",
)

# join

JOIN_GROUP: Final = Text("创建联盟账本：由成员文件到创世文件", "found a consortium: from member files to a genesis")
PROPOSE_SUMMARY: Final = Text("由成员文件写出创世文件", "write a genesis from member files")
PROPOSE_EXAMPLES: Final = Text(
    "medchain join propose */member.json --name medchain.example/east --orderer renhe-hospital \\\n"
    "    --rp-id medchain.example --sign-origin https://sign.medchain.example",
    "medchain join propose */member.json --name medchain.example/east --orderer renhe-hospital \\\n"
    "    --rp-id medchain.example --sign-origin https://sign.medchain.example",
)
PROPOSE_MEMBERS: Final = Text("每个创始成员的 member.json", "member.json of each founder")
PROPOSE_NAME: Final = Text("账本名称，作为检查点的首行", "name of the ledger, first line of its checkpoints")
PROPOSE_ORDERER: Final = Text("负责排序的机构", "organisation that orders")
PROPOSE_QUORUM: Final = Text("法定联署数，默认为允许的最小值", "how many must cosign; the smallest allowed by default")
PROPOSE_RP: Final = Text("通行密钥的依赖方域名", "relying-party domain of passkeys")
PROPOSE_SIGN_ORIGIN: Final = Text("患者签署同意的网页源，可重复", "web origin at which patients sign, may be repeated")
PROPOSE_POLICY: Final = Text("背书策略文件，默认为内置策略", "endorsement policy; the built-in one by default")
PROPOSE_DEMO: Final = Text("演示账本，可用 localhost", "a demo ledger, which may use localhost")
PROPOSE_DONE: Final = Text(
    "创世文件在 {file}。账本标识 {ledger}：请经另一渠道（电话、当面）与各成员核对。",
    "The genesis is in {file}. Ledger id {ledger}: compare it with each member over another channel, such as a call.",
)
PROPOSE_IRREPLACEABLE: Final = Text(
    "注意：若 {orderer} 丢失，其余成员无法另立排序者：规则 protocol/active（默认为含监管机构的多数）"
    "或法定联署数离不开它，账本将停止。请让其他机构排序，或改变该规则或法定数。",
    "Mind: should {orderer} be lost, the others could put no other orderer in its place: the rule protocol/active (by "
    "default a majority with a regulator) or the quorum needs it, and the ledger would stand still. Let another "
    "organisation order, or change that rule or the quorum.",
)
SIGN_SUMMARY: Final = Text("为创世文件证明本节点持有全部密钥", "prove possession of this node's keys for a genesis")
SIGN_EXAMPLES: Final = Text(
    "medchain join sign genesis.json --config renhe/node.toml",
    "medchain join sign genesis.json --config renhe/node.toml",
)
SIGN_DONE: Final = Text(
    "证明在 {file}，请交给各成员。账本标识 {ledger}。",
    "The proofs are in {file}; give them to every member. Ledger id {ledger}.",
)
GENESIS_SAYS: Final = Text(
    "账本 {name}，创世时间 {time}，由 {orderer} 排序，{count} 个成员中须 {quorum} 个联署：",
    "Ledger {name}, founded {time}, ordered by {orderer}; {quorum} of {count} members make a quorum:",
)
GENESIS_MEMBER: Final = Text("  {org_id}（{name}）：{role}，{url}", "  {org_id} ({name}): {role}, {url}")
GENESIS_ISSUERS: Final = Text("    开票单位代码：{issuers}", "    issues invoices under: {issuers}")
GENESIS_SIGNS: Final = Text(
    "患者通行密钥属于 {rp_id}，只在以下网址签署有效：{origins}",
    "Patients' passkeys are those of {rp_id}; what they sign counts at {origins} alone.",
)
GENESIS_PREVIOUS: Final = Text(
    "它接续一个已放弃的账本，其最后检查点的摘要为 {previous}。",
    "It goes on from an abandoned ledger, whose last checkpoint has the digest {previous}.",
)
GENESIS_DEMO: Final = Text(
    "仅供演示：允许 localhost 与无 TLS 的地址。", "A demo: localhost and addresses without TLS are allowed."
)
GENESIS_POLICY: Final = Text("背书策略为默认策略。", "The endorsement policy is the usual one.")
GENESIS_POLICY_OTHER: Final = Text(
    "背书策略与默认策略不同之处（null 表示没有该规则）：",
    "The endorsement policy differs from the usual one (null: no such rule):",
)
GENESIS_FILE: Final = Text("创世文件", "the genesis")
START_SUMMARY: Final = Text("核验创世文件与全部证明，并由此启动", "verify a genesis with all proofs, and start from it")
START_EXAMPLES: Final = Text(
    "medchain join start genesis.json proofs.*.json --ledger 5f2c… --config renhe/node.toml",
    "medchain join start genesis.json proofs.*.json --ledger 5f2c… --config renhe/node.toml",
)
START_PROOFS: Final = Text("每个成员的证明", "proofs of each member")
START_LEDGER: Final = Text("经另一渠道得知的账本标识", "ledger id as told over another channel")
START_DONE: Final = Text(
    "已加入账本 {ledger}，共 {count} 个成员。用 medchain node run 启动节点。",
    "Joined ledger {ledger} with {count} members. Start the node with `medchain node run`.",
)

# node, status, config

NODE_GROUP: Final = Text("运行节点", "run a node")
CONFIG_GROUP: Final = Text("节点的配置", "a node's configuration")
RUN_SUMMARY: Final = Text("运行节点，直到收到停止信号", "run a node until it is told to stop")
RUN_EXAMPLES: Final = Text(
    "medchain node run --config renhe/node.toml\n"
    "medchain node run --config renhe/node.toml --set web.workers=4 --set log.level=debug",
    "medchain node run --config renhe/node.toml\n"
    "medchain node run --config renhe/node.toml --set web.workers=4 --set log.level=debug",
)
SET_HELP: Final = Text("覆盖一项设置，可重复", "override a setting, may be repeated")
RUN_END_WITH_STDIN: Final = Text(
    "标准输入关闭时即停止：由另一程序启动时，不会比它活得更久",
    "stop when standard input closes, so as not to outlive the program that started it",
)
RUN_STARTING: Final = Text(
    "{org_id} 的节点启动中，网页与 FHIR 在 {web}；按 Ctrl-C 停止。",
    "Starting the node of {org_id}; pages and FHIR at {web}; Ctrl-C stops it.",
)
STATUS_SUMMARY: Final = Text("节点的状况", "how a node is")
STATUS_EXAMPLES: Final = Text(
    "medchain status --config renhe/node.toml\nmedchain status --json | jq .health.final_size",
    "medchain status --config renhe/node.toml\nmedchain status --json | jq .health.final_size",
)
STATUS_READY: Final = Text("就绪", "ready")
STATUS_NOT_READY: Final = Text("未就绪", "not ready")
STATUS_NODE: Final = Text("{org_id}：{state}", "{org_id}: {state}")
STATUS_LEDGER: Final = Text(
    "账本：高度 {height}，{size} 条，其中 {final_size} 条已终局",
    "ledger: height {height}, {size} entries, {final_size} of them final",
)
STATUS_REASONS: Final = Text("需要留意：{reasons}", "to look at: {reasons}")
STATUS_AWAITED: Final = Text(
    "自 {since} 起未终局：还差 {needed} 个机构的联署，尚缺 {missing}",
    "not final since {since}: {needed} more must cosign, of {missing}",
)
STATUS_LEAVING: Final = Text(
    "其中有暂停或移除 {leaving} 的变更：须先终局，可由其自身的联署促成",
    "a change that suspends or removes {leaving} waits for that; lines of theirs count for it",
)
STATUS_CLOCK: Final = Text(
    "本机时钟可能有误：与足够多其他成员的时钟不符，或尚不知其时钟；一致之前不排序、不联署，一致后自动继续",
    "this machine's clock may be wrong: too few other members' clocks are known to agree with it. Until they do "
    "nothing is ordered or cosigned; then it goes on by itself",
)
STATUS_AHEAD: Final = Text(
    "最新区块的时间为 {time}，晚于成员的时钟：各成员时钟曾超前。在此时间之前不排序任何交易，届时自动继续",
    "the newest block is dated {time}, later than the members' clocks: they were fast. Nothing is ordered before that "
    "time; then it goes on by itself",
)
STATUS_PROCESS: Final = Text(
    "{name}：进程 {pid}，重启 {restarts} 次", "{name}: process {pid}, restarted {restarts} times"
)
STATUS_NO_PROCESS: Final = Text(
    "{name}：未在运行，重启 {restarts} 次", "{name}: does not run, restarted {restarts} times"
)
STATUS_ALARM: Final = Text(
    "警报 {id}：{code} {subject}，高度 {height}，共 {count} 次；处理后用 medchain alarm acknowledge {id} 确认",
    "alarm {id}: {code} {subject} at height {height}, {count} times; `medchain alarm acknowledge {id}` once looked at",
)
ALARM_GROUP: Final = Text("须有人处理的警报", "alarms that somebody must look at")
ALARM_LIST_SUMMARY: Final = Text("列出尚未确认的警报", "list the alarms that nobody has acknowledged")
ALARM_LIST_EXAMPLES: Final = Text(
    "medchain alarm list\nmedchain alarm list --acknowledged --json",
    "medchain alarm list\nmedchain alarm list --acknowledged --json",
)
ALARM_ACKNOWLEDGED_HELP: Final = Text("改列已确认的警报", "those that somebody has acknowledged instead")
ALARM_ROW: Final = Text(
    "{id}  {code} {subject}：高度 {height}，首见于 {first}，共 {count} 次，{fields}",
    "{id}  {code} {subject}: height {height}, first seen {first}, {count} times, {fields}",
)
ALARM_NONE: Final = Text("没有警报。", "There are no alarms.")
ALARM_ACK_SUMMARY: Final = Text("确认警报已有人处理", "acknowledge that somebody has looked at an alarm")
ALARM_ACK_EXAMPLES: Final = Text(
    "medchain alarm acknowledge 3 --note 已与仁和医院核实",
    "medchain alarm acknowledge 3 --note 'asked Renhe Hospital'",
)
ALARM_ID: Final = Text("警报编号", "number of the alarm")
ALARM_NOTE: Final = Text("处理结果", "what came of it")
ALARM_DONE: Final = Text("警报 {id} 已确认。", "Alarm {id} is acknowledged.")
CHECK_SUMMARY: Final = Text("检查配置，一次指出所有问题", "check a configuration, all mistakes at once")
CHECK_EXAMPLES: Final = Text(
    "medchain config check --config renhe/node.toml", "medchain config check --config renhe/node.toml"
)
CHECK_GOOD: Final = Text("{file} 没有问题。", "{file} is good.")
CHECK_FATAL: Final = Text("错误：{text}", "mistake: {text}")
CHECK_WARNING: Final = Text("提醒：{text}", "note: {text}")

# verify, log mirror

VERIFY_SUMMARY: Final = Text("离线核验证明包", "verify a proof bundle offline")
VERIFY_EXAMPLES: Final = Text(
    "medchain verify bundle.zip --policy trusted-policy.txt\n"
    "medchain verify bundle/ --policy trusted-policy.txt --current --max-age 300    # 须为最新状态，否则退出码 3",
    "medchain verify bundle.zip --policy trusted-policy.txt\n"
    "medchain verify bundle/ --policy trusted-policy.txt --current --max-age 300    # newest state, or exit code 3",
)
PAGE_SUMMARY: Final = Text("写出离线核验网页", "write the page that verifies evidence offline")
PAGE_EXAMPLES: Final = Text(
    "medchain verify-page verify.html    # 可放在 U 盘上，用浏览器打开",
    "medchain verify-page verify.html    # may lie on a USB stick; open it in a browser",
)
PAGE_FILE: Final = Text("写到哪个文件；不覆盖已有文件", "file to write; one that is there is left as it is")
PAGE_WRITTEN: Final = Text(
    "已写出 {file}（{size} 字节，SHA-256 {sha256}）", "{file} is written ({size} bytes, SHA-256 {sha256})"
)
VERIFY_BUNDLE: Final = Text("证明包：文件夹或 zip 文件", "bundle: a folder or a zip file")
VERIFY_POLICY: Final = Text(
    "您信任的 policy.txt，须来自包外", "policy.txt that you trust, from elsewhere than the bundle"
)
VERIFY_LEDGER: Final = Text("应为的账本标识", "ledger id that it must be")
VERIFY_CURRENT: Final = Text("要求是最新状态", "demand the newest state")
VERIFY_AGE: Final = Text("最新状态的联署最多多旧（秒）", "how old the newest state's cosignatures may be (seconds)")
VERIFY_SHOW: Final = Text("显示包中打开的内容", "show the content that the bundle opens")
VERIFY_OWN_POLICY: Final = Text(
    "注意：策略文件 {file} 就在该证明包内，谁做了包谁就能写它；核验只有用来自别处的策略才有意义。",
    "Mind: {file} lies in the bundle itself, and whoever made the one could make the other;"
    " only a policy from elsewhere makes this a proof.",
)
VERIFY_STALE: Final = Text(
    "退出码 3：要求最新状态，而包中的不是其检查点的最新状态，或联署早于 {limit} 秒（--max-age）。请索取新的包。",
    "Exit code 3: the newest state was demanded. The bundle's is not the newest of its checkpoint, or its cosignatures"
    " are older than {limit} s (--max-age). Ask for a new bundle.",
)
VERIFY_NO_STATE: Final = Text(
    "退出码 3：要求最新状态，而该包只证明账本中的一条记录，不含状态。",
    "Exit code 3: the newest state was demanded, and the bundle proves an entry of the ledger and no state.",
)
VERDICT_CURRENT: Final = Text(
    "核验通过：为当前状态（检查点含 {size} 条）。", "Verified: it holds now (checkpoint of {size} entries)."
)
VERDICT_AS_OF: Final = Text(
    "核验通过：截至检查点 {size} 条、时刻 {time}；不说明其后的状态。",
    "Verified as of the checkpoint of {size} entries, time {time}; it says nothing of later ones.",
)
VERDICT_ENTRY: Final = Text("账本第 {position} 条确有此记录。", "This is entry {position} of the ledger.")
VERDICT_RECORD: Final = Text(
    "对象 {object} 的状态为 {status}，版本 {version}，登记于第 {position} 条。",
    "Object {object} is {status} at version {version}, registered by entry {position}.",
)
VERDICT_EARLIER: Final = Text(
    "这不是最新版本：该状态中的最新版本为 {newest}。", "It is not the newest: in that state, version {newest} is."
)
VERDICT_CONTENT: Final = Text(
    "{file} 就是所登记的内容，自登记以来未被改动。", "{file} is the content that was registered, unaltered since."
)
VERDICT_CONTENT_PART: Final = Text(
    "{file} 就是作为 {part} 部分登记的内容；其余部分未出示，同名部分是否唯一也未证明。",
    "{file} is what was registered as part {part}; the other parts are not shown, nor that no other has this name.",
)
VERDICT_LARGE: Final = Text(
    "包中是内容的大小和 SHA-256：{size} 字节，{sha256}。用 --content FILE 与文件比对。",
    "The bundle has size and SHA-256 of the content: {size} bytes, {sha256}. Compare a file with --content FILE.",
)
VERIFY_CONTENT: Final = Text("与登记内容比对的文件", "a file to compare with the registered content")
VERDICT_ABSENT: Final = Text("账本上没有对象 {object}。", "There is no object {object} on the ledger.")
VERDICT_DISCLOSURES: Final = Text(
    "授权 {grant} 之下，截至该检查点（{size} 条），{custodian} 的披露共 {count} 次；账本上没有记录其他披露。",
    "Under grant {grant}, {custodian} made {count} disclosures; no other is recorded up to the checkpoint of {size} "
    "entries.",
)
VERDICT_DISCLOSED: Final = Text(
    "  第 {position} 条（版本 {version}，{time}）：向 {recipient} 披露 {count} 条记录，用途 {purpose}",
    "  entry {position} (version {version}, {time}): {count} records to {recipient}, purpose {purpose}",
)
VERDICT_LOOKS: Final = Text(
    "{custodian} 关于 {patient} 的查看记录：截至 {until}（根的版本 {version}）共 {count} 次；"
    "此清单中没有记入其他查看。",
    "What {custodian} has entered of looks at {patient}: {count}, up to {until} (version {version} of the root); "
    "nothing else is entered in this list.",
)
VERDICT_LOOK: Final = Text(
    "  {time}（{entered} 记入）：{client} {who}，{action}，用途 {purpose}",
    "  {time} (entered {entered}): {client} {who}, {action}, purpose {purpose}",
)
VERDICT_LOOK_REFUSED: Final = Text(
    "  {time}（{entered} 记入）：{client} {who}，{action}，被拒绝",
    "  {time} (entered {entered}): {client} {who}, {action}, refused",
)
VERDICT_LOOKS_LOST: Final = Text(
    "  保管机构称：因恢复备份，根的版本 {first} 至 {last} 已丢失；其间记入的查看可能不在清单中。",
    "  The custodian says that it lost versions {first} to {last} of the root with a restored backup: what was entered "
    "with them may be missing here.",
)
VERDICT_GREW: Final = Text("与较早的证明相比：清单只增不改。", "Compared with the earlier proof: the list only grew.")
VERIFY_BEFORE: Final = Text(
    "同一患者较早的查看记录证明；另核验清单此后只增不改",
    "an earlier proof of the same patient's looks: also that the list only grew since",
)
VERDICT_DESTROYED: Final = Text(
    "  版本 {version}：内容已销毁，只知有过披露",
    "  version {version}: content destroyed; only that something was disclosed is known",
)
VERDICT_COSIGNERS: Final = Text("计入的联署 {count} 个：{names}", "{count} cosignatures counted: {names}")
VERDICT_OPENED: Final = Text(
    "内容（{size} 字节）自登记以来未被改动。", "The content ({size} bytes) is unaltered since registration."
)
VERDICT_OPENED_PART: Final = Text(
    "所示内容（{size} 字节）登记为 {part} 部分；其余部分未出示，同名部分是否唯一也未证明。",
    "What is shown ({size} bytes) was registered as part {part}; the other parts are not shown, nor that no other has "
    "this name.",
)
VERDICT_REGISTERED: Final = Text(
    "第 {position} 条于 {time} 记入账本（所在区块的时间）。",
    "Entry {position} was accepted by the ledger at {time}, the time of its block.",
)
VERDICT_ITEMS: Final = Text(
    "包中有 {count} 个对象，都以同一状态证明：", "The bundle has {count} objects, all proven under one state:"
)
VERDICT_ITEM: Final = Text(
    "  对象 {object}：状态 {status}，版本 {version}（最新 {newest}），第 {position} 条，记入账本 {registered}",
    "  object {object}: {status}, version {version} (newest {newest}), entry {position}, accepted {registered}",
)
VERDICT_FIELDS: Final = Text(
    "所示的 {count} 个字段自登记以来未被改动；其余字段被隐去，其中是否另有同名字段，只有完整内容能说明：",
    "The fields shown ({count}) are unaltered since registration; the others are hidden. Only the whole tells whether "
    "one of them has the name of one shown:",
)
VERDICT_FIELD: Final = Text("  {name}：{value}", "  {name}: {value}")
VERDICT_HIDDEN: Final = Text(
    "  内容只出示了一部分：有 {count} 项被隐去，其中可能有所示字段的另一个值；只有完整内容能排除。",
    "  It is shown in part: {count} leaves are hidden, among them perhaps another value of a field shown. Only the "
    "whole rules that out.",
)
LOG_GROUP: Final = Text("透明日志", "the transparency log")
MIRROR_SUMMARY: Final = Text(
    "把已终局的日志复制到文件夹，并核对根哈希", "copy the final log to a folder, and check its root"
)
MIRROR_EXAMPLES: Final = Text(
    "medchain log mirror mirror/ --config renhe/node.toml", "medchain log mirror mirror/ --config renhe/node.toml"
)
MIRROR_FOLDER: Final = Text("写入的文件夹", "folder to write")
MIRROR_POLICY: Final = Text(
    "须核对的信任策略（policy.txt）：联署达到法定数，且日志末尾写明的正是其成员",
    "trusted policy (policy.txt) to hold the log to: its quorum has cosigned, and the end of the log names its members",
)
MIRROR_REPLACED: Final = Text(
    "镜像中的 {path} 与日志不符，已重新获取。", "{path} of the mirror was not what the log has; it was fetched again."
)
MIRROR_DONE: Final = Text(
    "{folder} 中有 {size} 条日志，新取 {fetched} 个文件，根哈希相符。",
    "{folder} has {size} entries, {fetched} files were new, the root matches.",
)

WITNESSES_SUMMARY: Final = Text(
    "查看外部见证者的签名情况，以及须告知见证者的日志公钥",
    "show what outside witnesses have cosigned, and the log keys that they must know",
)
WITNESSES_EXAMPLES: Final = Text(
    "medchain log witnesses --config renhe/node.toml", "medchain log witnesses --config renhe/node.toml"
)
WITNESSES_ORIGIN: Final = Text("日志名：{origin}", "origin of the log: {origin}")
WITNESSES_ORDERER: Final = Text("日志公钥（{org_id}，现任排序方）：{key}", "log key ({org_id}, orders now): {key}")
WITNESSES_MEMBER: Final = Text("日志公钥（{org_id}）：{key}", "log key ({org_id}): {key}")
WITNESSES_ROW: Final = Text(
    "{name}（{url}）：已见证 {size} 条，时间 {time}", "{name} ({url}): has cosigned {size} entries, at {time}"
)
WITNESSES_AMISS: Final = Text(
    "{name}（{url}）：{code}；此前已见证 {size} 条，时间 {time}",
    "{name} ({url}): {code}; had cosigned {size} entries, at {time}",
)
WITNESSES_NONE: Final = Text(
    "未配置外部见证者（设置 witnesses.file）。", "No outside witness is configured (setting witnesses.file)."
)

# clients and tokens

CLIENT_GROUP: Final = Text("可取得访问令牌的客户端系统", "client systems that may get access tokens")
TOKEN_GROUP: Final = Text("访问令牌", "access tokens")
TOKEN_SUMMARY: Final = Text(
    "签发短期访问令牌，供试用与脚本", "issue a short-lived access token, for trials and scripts"
)
TOKEN_EXAMPLES: Final = Text(
    "curl -H \"Authorization: Bearer $(medchain token issue --scope 'system/*.r')\" http://127.0.0.1:41000/fhir/Patient/1",
    "curl -H \"Authorization: Bearer $(medchain token issue --scope 'system/*.r')\" http://127.0.0.1:41000/fhir/Patient/1",
)
TOKEN_CLIENT: Final = Text("令牌所属的名称", "who the token is for")
TOKEN_SECONDS: Final = Text("有效秒数，最多 3600", "for how many seconds, at most 3600")

# import

IMPORT_SUMMARY: Final = Text(
    "导入 FHIR Bundle 或 NDJSON，可中断后继续，不遗漏任何一条",
    "import FHIR Bundles or NDJSON; can be interrupted and resumed, and loses nothing unsaid",
)
IMPORT_EXAMPLES: Final = Text(
    "medchain import bundles/ --config renhe/node.toml\n"
    "medchain import patients.ndjson.gz more.json.xz --config renhe/node.toml\n"
    "medchain import bundles/ --rejected rejected.ndjson    # 拒收的条目及原因",
    "medchain import bundles/ --config renhe/node.toml\n"
    "medchain import patients.ndjson.gz more.json.xz --config renhe/node.toml\n"
    "medchain import bundles/ --rejected rejected.ndjson    # what was refused, and why",
)
IMPORT_PATHS: Final = Text(
    "文件或文件夹：.json、.ndjson，可为 .gz、.xz", "files or folders: .json, .ndjson, also .gz, .xz"
)
IMPORT_WORKERS: Final = Text(
    "工作进程数；0 为在本进程中导入；默认按数据量和处理器数决定",
    "worker processes; 0 imports in this one; by default as the amount of data and the processors suggest",
)
IMPORT_RATE: Final = Text("{seconds:.1f} 秒，每秒 {rate:.0f} 条。", "{seconds:.1f} s, {rate:.0f} records a second.")
IMPORT_REJECTED: Final = Text(
    "写入被拒条目清单的文件（不含内容）", "file for the list of what was refused (no content)"
)
IMPORT_PROGRESS: Final = Text(
    "[{bar}] {done}/{total} 个文件，已存 {stored} 条，拒收 {rejected} 条",
    "[{bar}] {done}/{total} files, {stored} stored, {rejected} refused",
)
IMPORT_DONE: Final = Text(
    "读入 {entries} 条：存入 {stored}，原已存在 {present}，拒收 {rejected}；跳过已导入的文件 {skipped} 个。",
    "{entries} entries read: {stored} stored, {present} there already, {rejected} refused; "
    "{skipped} files were imported before.",
)
IMPORT_REFUSED: Final = Text(
    "拒收 {file} 第 {entry} 条：{code} {detail}", "refused {file} entry {entry}: {code} {detail}"
)

# records

RECORD_GROUP: Final = Text("本节点的记录", "records of this node")
RECORD_NAME: Final = Text("记录，如 Observation/123", "record, such as Observation/123")
RECORD_VERSION: Final = Text("版本，默认为最新", "version; the newest by default")
RECORD_SHOW_SUMMARY: Final = Text("显示记录的内容", "show a record's content")
RECORD_SHOW_EXAMPLES: Final = Text(
    "medchain record show Patient/1\nmedchain record show Patient/1 --version 2\n"
    "medchain record show Binary/7 --out report.pdf    # 与登记的字节完全相同，供 verify --content 使用",
    "medchain record show Patient/1\nmedchain record show Patient/1 --version 2\n"
    "medchain record show Binary/7 --out report.pdf    # exactly the registered bytes, for verify --content",
)
RECORD_SHOW_OUT: Final = Text(
    "写入的文件：与登记的字节完全相同，不加密", "file to write: exactly the registered bytes, unencrypted"
)
RECORD_WRITTEN: Final = Text("内容已写入 {file}，{size} 字节。", "The content is in {file}, {size} bytes.")
RECORD_HISTORY_SUMMARY: Final = Text("列出记录的版本及其锚定", "list a record's versions and their anchors")
RECORD_HISTORY_EXAMPLES: Final = Text("medchain record history Patient/1", "medchain record history Patient/1")
RECORD_ROW: Final = Text(
    "版本 {version}：存于 {created}，对象 {object}，{anchored}",
    "version {version}: stored {created}, object {object}, {anchored}",
)
RECORD_PENDING: Final = Text("待锚定", "not anchored yet")
RECORD_ANCHORED: Final = Text("锚定于第 {position} 条", "anchored by entry {position}")
RECORD_PROVE_SUMMARY: Final = Text("写出记录的证明包（zip）", "write a record's proof bundle (zip)")
RECORD_PROVE_EXAMPLES: Final = Text(
    "medchain record prove Observation/123 --out proof.zip\n"
    "medchain record prove Encounter/7 --field /period --field /class/code\n"
    "medchain record prove Encounter/7 Invoice/3 Condition/12 --out visit.zip",
    "medchain record prove Observation/123 --out proof.zip\n"
    "medchain record prove Encounter/7 --field /period --field /class/code\n"
    "medchain record prove Encounter/7 Invoice/3 Condition/12 --out visit.zip",
)
RECORD_NAMES: Final = Text(
    "记录，写作 类型/标识；可给出多条，合为一个证明包",
    "a record, written TYPE/ID; several make one bundle",
)
RECORD_FIELD: Final = Text(
    "只出示该字段，隐去其余内容：指向记录内的 JSON 指针，如 /period；可重复给出",
    "show this field and hide all else: a JSON pointer into the record, such as /period; may be given several times",
)
RECORD_SINCE: Final = Text(
    "较早的检查点文件；证明包另证明日志此后只增不改",
    "file with an earlier checkpoint; the bundle then proves that the log only grew since",
)
RECORD_PROVED: Final = Text("证明包在 {file}，共 {count} 个文件。", "The bundle is in {file}, {count} files.")
DISCLOSURES_SUMMARY: Final = Text(
    "写出一项授权之下全部披露的证明包（zip）", "write the proof of all disclosures under a grant (zip)"
)
DISCLOSURES_EXAMPLES: Final = Text(
    "medchain record disclosures GRANT --custodian renhe-hospital --out proof.zip",
    "medchain record disclosures GRANT --custodian renhe-hospital --out proof.zip",
)
DISCLOSURES_GRANT: Final = Text("授权对象的映射键", "map key of the grant")
DISCLOSURES_CUSTODIAN: Final = Text("保管机构；默认为本机构", "custodian of the grant; this organisation unless given")
LOOKS_SUMMARY: Final = Text(
    "写出一名患者的查看与拒绝记录的证明包（zip）",
    "write the proof of who looked at a patient's records here, and who was refused (zip)",
)
LOOKS_EXAMPLES: Final = Text(
    "medchain record looks PATIENT --out looks.zip",
    "medchain record looks PATIENT --out looks.zip",
)
LOOKS_PATIENT: Final = Text("患者在本机构的编号（FHIR id）", "FHIR id of the Patient here")

ERASE_SUMMARY: Final = Text(
    "销毁一名患者的全部密钥（删除权），并记入账本",
    "destroy all keys of a patient (right to erasure), and tell the ledger",
)
ERASE_EXAMPLES: Final = Text(
    "medchain record erase --patient p1 --reason 患者依个人信息保护法第四十七条请求删除\n"
    "medchain record erase --patient p1 --reason 'PIPL 47' --yes --json    # 不再询问",
    "medchain record erase --patient p1 --reason 'asked for by the patient, PIPL art. 47'\n"
    "medchain record erase --patient p1 --reason 'PIPL 47' --yes --json    # asks nothing",
)
ERASE_PATIENT: Final = Text(
    "患者在本机构的标识，如 p1 或 Patient/p1", "the patient's id here, such as p1 or Patient/p1"
)
ERASE_REASON: Final = Text("理由，最多 200 字；请勿写患者姓名", "why, at most 200 characters; name nobody in it")
ERASE_YES: Final = Text("不再询问", "do not ask")
ERASE_WAIT: Final = Text("等待账本记录的秒数", "for how many seconds to wait for the ledger's entry")
ERASE_EXTENT: Final = Text(
    "将销毁 {keys} 个密钥：{records} 条记录（{versions} 个版本）将永远无法打开，包括在本机构的同意书副本。",
    "{keys} keys will be destroyed: {records} records ({versions} versions) can never be opened again, and copies of "
    "the consents that concern only this organisation go too.",
)
ERASE_REMAINING: Final = Text(
    "{count} 条记录提到该患者而不属其一人，或在旧密钥之下，删除后仍在；请逐一修改或删除：{names}",
    "{count} record(s) tell of the patient and are not that patient's alone, or lie under an older key: they stay. "
    "Change or delete each: {names}",
)
ERASE_NOTHING_LEFT: Final = Text(
    "索引和已存储的 Bundle 中没有其他记录提到该患者。",
    "The index and the stored Bundles have no other record that tells of the patient.",
)
ERASE_UNKNOWN: Final = Text(
    "索引尚未完成，无法列出仍提到该患者的记录。",
    "The index is not complete: which other records tell of the patient and stay cannot be said now.",
)
ERASE_ASK: Final = Text("确实要销毁吗？输入“是”继续：", "Destroy them? Type yes to go on:")
ERASE_LEFT: Final = Text("没有销毁任何内容。", "Nothing was destroyed.")
ERASE_DONE: Final = Text(
    "已销毁 {keys} 个密钥；{records} 条记录（{versions} 个版本）再也无法打开。",
    "{keys} keys were destroyed; {records} records ({versions} versions) can no longer be opened.",
)
ERASE_FINAL: Final = Text(
    "账本已登记（对象 {object}），并已终局。", "The ledger has it (object {object}), and it is final."
)
ERASE_PENDING: Final = Text(
    "账本登记（对象 {object}）由节点在运行时完成，直至终局。",
    "The node makes the ledger's entry (object {object}) while it runs, until it is final.",
)
ERASE_BACKUPS: Final = Text(
    "请现在备份，并销毁较早的备份：其中仍有这些密钥。已提供给其他机构的副本无法收回。",
    "Back up now, and destroy earlier backups: they still hold these keys. Copies released to others cannot be "
    "called back.",
)
ERASED_SUMMARY: Final = Text("声明已删除某项授权之下收到的记录", "state that what was received under a grant is erased")
ERASED_EXAMPLES: Final = Text(
    'medchain record erased\nmedchain record erased GRANT --reason "deleted from the claims system"',
    'medchain record erased\nmedchain record erased GRANT --reason "deleted from the claims system"',
)
ERASED_GRANT: Final = Text(
    "授权对象的映射键；不给则列出尚待声明的授权",
    "map key of the grant; without it: what is still to be stated",
)
ERASED_REASON: Final = Text("为何删除、如何删除；勿写人名", "why or how; it names nobody")
ERASED_DUE: Final = Text(
    "授权 {grant}：{custodian} 披露 {releases} 次，共 {records} 条；已终止，待删除并声明",
    "grant {grant}: {records} records in {releases} releases of {custodian}; it is over, erase them and state it",
)
ERASED_NONE: Final = Text("没有尚待声明的删除。", "Nothing is still to be stated.")
ERASED_DONE: Final = Text(
    "已声明删除授权 {grant} 之下收到的记录，声明已入账本。",
    "It is stated on the ledger that what was received under grant {grant} is erased.",
)
EMERGENCY_GROUP: Final = Text("紧急访问与其复核", "emergencies and their reviews")
EMERGENCY_LIST_SUMMARY: Final = Text("列出待复核的紧急访问", "list emergencies that nobody has reviewed")
EMERGENCY_LIST_EXAMPLES: Final = Text("medchain emergency list --all", "medchain emergency list --all")
EMERGENCY_ALL: Final = Text("已复核的也列出", "those that were reviewed, too")
EMERGENCY_NONE: Final = Text("没有待复核的紧急访问。", "No emergency is to be reviewed.")
EMERGENCY_ROW: Final = Text(
    "{key}\n  {time} {owner} {staff}：{reason}；{state}，期限 {due}",
    "{key}\n  {time} {owner} {staff}: {reason}; {state}, due {due}",
)
EMERGENCY_ASKED: Final = Text("；向{organisation}调阅", "; asked {organisation} for the record")
EMERGENCY_GIVEN: Final = Text("；提供给{organisation}：{count} 条记录", "; {count} records given to {organisation}")
EMERGENCY_OPEN: Final = Text("待复核", "to be reviewed")
EMERGENCY_OVERDUE: Final = Text("逾期未复核", "overdue")
EMERGENCY_REVIEWED: Final = Text("已复核", "reviewed")
EMERGENCY_OBJECTED: Final = Text("；患者有异议", "; the patient objects")
EMERGENCY_REVIEW_SUMMARY: Final = Text("记录对一次紧急访问的复核", "record the review of an emergency")
EMERGENCY_REVIEW_EXAMPLES: Final = Text(
    "medchain emergency review KEY --by officer-2 --finding justified",
    "medchain emergency review KEY --by officer-2 --finding justified",
)
EMERGENCY_KEY: Final = Text("紧急访问对象的映射键", "map key of the emergency")
EMERGENCY_BY: Final = Text("复核人", "who reviewed it")
EMERGENCY_FINDING: Final = Text("结论：justified 或其他代码", "finding: justified, or another code")
EMERGENCY_DONE: Final = Text(
    "{key} 已复核（{finding}），并入账本。", "{key} is reviewed ({finding}), and the ledger has it."
)
SUBJECT_GROUP: Final = Text("患者的登记与恢复程序", "patients' subjects and recoveries")
SUBJECT_SHOW_SUMMARY: Final = Text(
    "显示一位患者的登记：通行密钥、受托人、保管机构、进行中的恢复",
    "show a patient's subject: passkeys, delegates, custodians, recoveries under way",
)
SUBJECT_SHOW_EXAMPLES: Final = Text("medchain subject show KEY", "medchain subject show KEY")
SUBJECT_KEY: Final = Text("数据主体对象的映射键", "map key of the subject")
SUBJECT_HEAD: Final = Text(
    "{key}\n  第 {version} 版，{state}；登记机构 {enroller}；保管机构 {custodians}",
    "{key}\n  version {version}, {state}; enrolled by {enroller}; custodians {custodians}",
)
SUBJECT_ABLE: Final = Text("能自行决定", "decides alone")
SUBJECT_MINOR: Final = Text("未成年", "under age")
SUBJECT_INCAPABLE: Final = Text("无法自行决定", "cannot decide")
SUBJECT_DEAD: Final = Text("已去世", "has died")
SUBJECT_PASSKEY: Final = Text("  通行密钥，{since} 起", "  passkey since {since}")
SUBJECT_DELEGATE: Final = Text(
    "  受托人 {subject}（{role}）：{may}；至 {until}；{state}",
    "  delegate {subject} ({role}): {may}; until {until}; {state}",
)
SUBJECT_IN_FORCE: Final = Text("生效中", "in force")
SUBJECT_NOT_IN_FORCE: Final = Text("目前不生效", "not in force now")
SUBJECT_ENDED: Final = Text("已结束", "ended")
SUBJECT_RECOVERY: Final = Text(
    "  恢复 {key}\n    {what}；{by} 于 {announced} 发起（{method}）；{carry_out_from} 起可执行",
    "  recovery {key}\n    {what}; announced by {by} at {announced} ({method}); can take effect from {carry_out_from}",
)
SUBJECT_REPLACE: Final = Text("更换全部通行密钥", "other passkeys in the place of all")
SUBJECT_GUARDIANSHIP: Final = Text("更换监护人", "other guardians")
SUBJECT_RECOVERIES_SUMMARY: Final = Text("列出一位患者进行中的恢复", "list a patient's recoveries that are under way")
SUBJECT_RECOVERIES_EXAMPLES: Final = Text("medchain subject recoveries KEY", "medchain subject recoveries KEY")
SUBJECT_NO_RECOVERY: Final = Text("没有进行中的恢复。", "No recovery is under way.")
SUBJECT_CANCEL_SUMMARY: Final = Text("以本机构的名义取消一项恢复", "cancel a recovery in this organisation's own name")
SUBJECT_CANCEL_EXAMPLES: Final = Text("medchain subject cancel RECOVERY", "medchain subject cancel RECOVERY")
SUBJECT_RECOVERY_KEY: Final = Text("恢复对象的映射键", "map key of the recovery")
SUBJECT_CANCEL_YES: Final = Text("不再询问", "do not ask")
SUBJECT_CANCEL_ASK: Final = Text(
    "取消后无法撤回，账本写明由本机构取消。输入“是”继续：",
    "This cannot be taken back, and the ledger says that this organisation did it. Type yes to go on:",
)
SUBJECT_CANCEL_LEFT: Final = Text("未取消，什么都没有改变。", "Nothing was cancelled.")
SUBJECT_CANCELLED: Final = Text(
    "恢复 {key} 已取消：本机构立即遵守，并将写入账本。",
    "Recovery {key} is cancelled: this organisation obeys at once, and the ledger will have it.",
)
LOCK_SUMMARY: Final = Text(
    "依法锁定患者的记录，使其不得删除", "lock a patient's records against erasure, as a law asks"
)
LOCK_EXAMPLES: Final = Text(
    "medchain record lock --patient p1 --reason 医疗机构病历管理规定 --until 2056-11-25",
    "medchain record lock --patient p1 --reason 'medical records act' --until 2056-11-25",
)
LOCK_REASON: Final = Text("所依据的法律或程序", "the law or proceeding that asks for it")
LOCK_UNTIL: Final = Text("最后一日；默认无期限", "last day; without end by default")
LOCK_DONE: Final = Text("已锁定，无期限：{reason}", "Locked without end: {reason}")
LOCK_DONE_UNTIL: Final = Text("已锁定至 {until}：{reason}", "Locked until {until}: {reason}")
UNLOCK_SUMMARY: Final = Text("解除锁定", "take a lock away")
UNLOCK_EXAMPLES: Final = Text("medchain record unlock --patient p1", "medchain record unlock --patient p1")
UNLOCK_DONE: Final = Text("锁定已解除。", "The lock is gone.")

# members and policy

ORG_GROUP: Final = Text("联盟成员", "members of the consortium")
ORG_LIST_SUMMARY: Final = Text("列出成员", "list the members")
ORG_LIST_EXAMPLES: Final = Text("medchain org list", "medchain org list")
ORG_ROW: Final = Text("{org_id}（{name}）：{role}，{status}，{url}", "{org_id} ({name}): {role}, {status}, {url}")
ORG_SHOW_SUMMARY: Final = Text("显示成员及其公钥标识", "show a member and the ids of its keys")
ORG_SHOW_EXAMPLES: Final = Text("medchain org show renhe-hospital", "medchain org show renhe-hospital")
ORG_ID: Final = Text("机构标识", "the organisation's id")
ORG_CONTROL: Final = Text("控制方：{control}", "controlled by: {control}")
ORG_ISSUERS: Final = Text("开票单位代码：{issuers}", "issues invoices under: {issuers}")
ORG_INVOICE_KEY: Final = Text("{day} 起的票据标识密钥：{key}", "key for ids of invoices from {day} on: {key}")
ORG_KEY: Final = Text("密钥 {use}：{key}", "key {use}: {key}")
POLICY_GROUP: Final = Text("背书策略与信任策略", "endorsement policy and trusted policy")
POLICY_SHOW_SUMMARY: Final = Text("显示现行背书策略", "show the endorsement policy in force")
POLICY_SHOW_EXAMPLES: Final = Text(
    "medchain policy show\nmedchain policy show --trusted > trusted-policy.txt    # 供 medchain verify 使用",
    "medchain policy show\nmedchain policy show --trusted > trusted-policy.txt    # for medchain verify",
)
POLICY_TRUSTED: Final = Text(
    "写出检查点的信任策略（policy.txt）", "write the trusted policy of checkpoints (policy.txt)"
)
POLICY_ROW: Final = Text("{rule}：{expression}", "{rule}: {expression}")

# backup, restore, doctor

BACKUP_SUMMARY: Final = Text("备份运行中的节点（不含根密钥）", "back up a node, running or not (without its root key)")
BACKUP_EXAMPLES: Final = Text(
    "medchain backup /mnt/backup/renhe-1 --config renhe/node.toml\n"
    "medchain backup /mnt/backup/renhe-1.tar --config renhe/node.toml    # 单个文件",
    "medchain backup /mnt/backup/renhe-1 --config renhe/node.toml\n"
    "medchain backup /mnt/backup/renhe-1.tar --config renhe/node.toml    # one file",
)
BACKUP_FOLDER: Final = Text("尚不存在的文件夹或 .tar 文件", "folder or .tar file that does not exist yet")
BACKUP_DONE: Final = Text(
    "备份在 {folder}，{count} 个文件。根密钥不在其中，请另外保管。",
    "The backup is in {folder}, {count} files. The root key is not in it: keep it elsewhere.",
)
RESTORE_SUMMARY: Final = Text("由备份恢复为新的节点文件夹", "restore a backup to a new node's folder")
RESTORE_EXAMPLES: Final = Text(
    "medchain restore /mnt/backup/renhe-1 renhe-new --root-key /mnt/safe/root.key",
    "medchain restore /mnt/backup/renhe-1 renhe-new --root-key /mnt/safe/root.key",
)
RESTORE_BACKUP: Final = Text("备份文件夹或 .tar 文件", "the backup's folder or .tar file")
RESTORE_FOLDER: Final = Text("新的节点文件夹，须不存在或为空", "folder of the restored node, absent or empty")
RESTORE_ROOT: Final = Text("根密钥文件", "the root key's file")
RESTORE_OLD: Final = Text(
    "旧节点的文件夹，若其记录数据库仍可读：其后的删除会再次执行",
    "the old node's folder, if its records can still be read: erasures since are carried out again",
)
RESTORE_NEWER: Final = Text(
    "较新的备份：其中记载的删除会再次执行",
    "a newer backup: erasures that it knows are carried out again",
)
RESTORE_NOTHING: Final = Text("声明备份之后没有删除过任何密钥", "state that no key was destroyed since the backup")
RESTORE_ERASED: Final = Text(
    "再次销毁了 {count} 个密钥；节点对外服务前将重新执行 {patients} 次患者删除（restore.erasing）。",
    "{count} keys were destroyed again; the node carries out {patients} erasures of patients again before it serves "
    "(restore.erasing).",
)
RESTORE_LOCKS: Final = Text(
    "依法锁定（record lock）恢复到备份时的状态：请重新设置此后的锁定。",
    "Legal locks are as they were at the backup: set again what was locked since (`record lock`).",
)
RESTORE_ACCOUNTS: Final = Text(
    "{count} 个账号已关闭，须逐一确认（medchain account confirm）：{names}",
    "{count} account(s) are shut until somebody confirms them (`medchain account confirm`): {names}",
)
RESTORE_CLIENTS: Final = Text(
    "{count} 个客户端已停用，须逐一确认（medchain client confirm）：{names}",
    "{count} client(s) are shut until somebody confirms them (`medchain client confirm`): {names}",
)
RESTORE_ERASURES: Final = Text(
    "备份之后销毁过的患者密钥在此副本中仍然存在。若账本上有此后的删除记录，节点不会对外服务（restore.erasures），"
    "直至用 --old、--erasures 或 --nothing-erased 重新恢复。",
    "Keys of patients destroyed after the backup exist again in this copy. If the ledger shows an erasure since, the "
    "node will not serve (restore.erasures) until it is restored with --old, --erasures or --nothing-erased.",
)
RESTORE_DONE: Final = Text(
    "已恢复到 {folder}，{count} 个文件核对无误。",
    "Restored to {folder}, {count} files compared.",
)
KEY_GROUP: Final = Text("本机构的密钥", "the organisation's keys")
ROTATE_SUMMARY: Final = Text(
    "更换一种密钥：先登记到账本，再由节点启用", "exchange the keys of one use: on the ledger first, then in the node"
)
ROTATE_EXAMPLES: Final = Text(
    "medchain key rotate authentication --config renhe/node.toml\n"
    "medchain key rotate cosign --config renhe/node.toml    # 中断后再次执行即可继续",
    "medchain key rotate authentication --config renhe/node.toml\n"
    "medchain key rotate cosign --config renhe/node.toml    # after an interruption, the same again goes on",
)
ROTATE_USE: Final = Text("密钥的用途", "what the keys are for")
ROTATE_RESTART: Final = Text("正在重新启动节点的进程。", "The node's processes start anew.")
ROTATE_AGAIN: Final = Text(
    "更换尚未完成，在完成之前本节点的签署可能不被承认。请排除原因（例如磁盘已满），"
    "再执行一次 medchain key rotate {use}：它会从中断处继续。",
    "The exchange is not finished, and what the node signs until then may not count. Remove what stopped it, such as a "
    "full disk, and run `medchain key rotate {use}` again: it goes on where it stopped.",
)
ROTATE_DONE: Final = Text(
    "{use} 密钥已更换（本机构在账本上的第 {version} 版）。",
    "The {use} keys were exchanged (version {version} of the organisation on the ledger).",
)
ROTATE_BEGINS: Final = Text(
    "新密钥用于开票日期自 {day} 起的票据；此前的票据仍用旧密钥。",
    "It makes the ids of invoices dated {day} or later; those before keep the old key.",
)
ROTATE_BACKUP: Final = Text(
    "请立即备份：较早的备份中没有新密钥。", "Make a backup now: earlier ones do not have the new keys."
)
DOCTOR_SUMMARY: Final = Text(
    "检查节点：密码库、配置、密钥、权限、数据库、时钟、磁盘、其他节点",
    "examine a node: cryptography, settings, keys, permissions, databases, clock, disk, other nodes",
)
DOCTOR_EXAMPLES: Final = Text("medchain doctor --config renhe/node.toml", "medchain doctor --config renhe/node.toml")
DOCTOR_FULL: Final = Text("读完数据库的每一页", "read every page of the databases")
DOCTOR_GOOD: Final = Text("正常  {check}{detail}", "good  {check}{detail}")
DOCTOR_BAD: Final = Text("异常  {check}：{detail}", "bad   {check}: {detail}")
DOCTOR_SKIPPED: Final = Text("略过  {check}：{detail}", "skip  {check}: {detail}")
DOCTOR_CHECKS: Final[Mapping[str, Text]] = {
    "libraries": Text("密码库版本", "cryptographic libraries"),
    "outbox": Text("待上链记录", "records waiting for their anchor"),
    "messages": Text("待发出的通知", "notices waiting to be sent to people"),
    "mail": Text("邮件服务器", "mail server"),
    "confirmations": Text("恢复后待确认的账号与客户端", "accounts and clients to confirm after a restore"),
    "attesting": Text(
        "窗口账号是否写明医务人员（account person）", "which Practitioner the desk's accounts name (`account person`)"
    ),
    "signatures": Text("签名判定规则", "rule of signatures"),
    "configuration": Text("配置", "configuration"),
    "keys": Text("密钥", "keys"),
    "invoices": Text("票据标识密钥", "keys for ids of invoices"),
    "permissions": Text("文件权限", "permissions"),
    "records": Text("记录数据库", "records database"),
    "ledger": Text("账本数据库", "ledger database"),
    "pages": Text("数据库的每一页", "every page of the databases"),
    "promises": Text("联署承诺", "what was cosigned"),
    "blobs": Text("大文件", "large content"),
    "clock": Text("时钟", "clock"),
    "disk": Text("磁盘空间", "disk space"),
    "daemon": Text("守护进程", "daemon"),
    "peers": Text("其他节点", "other nodes"),
    "finality": Text("终局", "finality"),
    "signing": Text("签署页面", "pages on which patients sign"),
}

# Errors

SYSTEM_IO: Final = Text("系统拒绝了文件操作：{reason} {path}", "The system refused a file operation: {reason} {path}")
INTERNAL: Final = Text("内部错误 {error}（{place}）", "Internal error {error} at {place}")
