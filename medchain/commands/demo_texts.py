"""What `medchain demo` says, in Chinese and English. Beside `messages`, since nothing else says these words.

Keeps true: as `medchain.commands.messages`. Trusts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medchain.commands.command import Text

SUMMARY: Final = Text(
    "在本机启动五家机构的示例联盟，载入数据并演示主要流程",
    "start the sample consortium of five organisations here, load data, play the main path",
)
EXAMPLES: Final = Text(
    "medchain demo    # 一直运行，Ctrl-C 停止\n"
    "medchain demo --once    # 检查完毕即退出，以退出码表示结果\n"
    "medchain demo --data synthea/ --folder var/synthea    # 使用自己的 FHIR Bundle 文件夹",
    "medchain demo    # runs until Ctrl-C\n"
    "medchain demo --once    # ends after the checks; the exit code says how they went\n"
    "medchain demo --data synthea/ --folder var/synthea    # your own folder of FHIR Bundles",
)
DATA_HELP: Final = Text(
    "FHIR Bundle 文件夹（.json，可为 .gz、.xz）；默认为示例数据",
    "folder of FHIR Bundles (.json, also .gz, .xz); the sample data by default",
)
ONCE_HELP: Final = Text("检查完毕即停止并退出", "stop and end after the checks")
FOLDER_HELP: Final = Text("演示所用文件夹，默认 var/demo", "the demo's folder; var/demo by default")

# Progress; each line begins with the seconds since the start.

LINE: Final = Text("[{seconds:5.1f} 秒] {text}", "[{seconds:5.1f} s] {text}")
FOUNDED: Final = Text(
    "五家机构各自生成密钥并共同签署创世文件：{folder}",
    "Five organisations made their keys and signed a common genesis: {folder}",
)
BEGUN_ANEW: Final = Text(
    "上次运行在记录全部载入之前被中断，{folder} 从头开始",
    "The last run was interrupted before all records were loaded; beginning {folder} anew",
)
REUSED: Final = Text("沿用 {folder} 中的联盟", "Using the consortium in {folder}")
STARTING: Final = Text(
    "启动五个节点，各有自己的进程、密钥与数据库（约半分钟）",
    "Starting five nodes, each with its own processes, keys and databases (about half a minute)",
)
STARTED: Final = Text("五个节点均已就绪", "All five nodes are ready")
EINVOICES: Final = Text(
    "电子票据查验由演示替身答复（非财政部门）：{url}；两家保险公司的节点向它查询",
    "A stand-in, not the ministry's service, answers for e-invoices at {url}; both insurers' nodes ask it",
)
LOADING: Final = Text(
    "已提交 {done}/{total} 个文件，{records} 条记录", "{done} of {total} files posted, {records} records"
)
LOADED: Final = Text(
    "{records} 条记录经 FHIR 接口存入医院与保险公司的节点，用时 {seconds:.1f} 秒（每秒 {rate:.0f} 条）",
    "{records} records went into the nodes of hospitals and insurers over FHIR in {seconds:.1f} s ({rate:.0f}/s)",
)
REFUSED_FILE: Final = Text("节点拒收 {file}：{code}", "A node refused {file}: {code}")
ANCHORED: Final = Text(
    "全部 {records} 条记录的承诺已在账本上并经法定联署",
    "The commitments of all {records} records are on the ledger, cosigned by a quorum",
)
AGREED: Final = Text(
    "五个节点得到同一根哈希：{size} 条，{root}", "All five nodes have the same root: {size} entries, {root}"
)
KEPT_DATA: Final = Text("数据已在上次载入：{records} 条", "The data were loaded before: {records} records")
DATA_LEFT_OUT: Final = Text(
    "{data} 未载入：本演示已有数据。请用 --folder 另建演示（make demo DATA=... ARGS='--folder var/other'）",
    "{data} was not loaded: this demo has its data. Make another with --folder (make demo DATA=... ARGS='--folder "
    "var/other')",
)
ENROLLED: Final = Text(
    "仁和医院为患者登记通行密钥，由抽签选出的 {endorser} 背书（{seconds:.2f} 秒）",
    "Renhe Hospital enrols a patient's passkey; {endorser} was drawn to endorse it ({seconds:.2f} s)",
)
ENROLLED_BEFORE: Final = Text("患者已在上次登记", "The patient was enrolled before")
CONSENTED: Final = Text(
    "患者用通行密钥签署同意：{recipient}可为理赔读取{types}；{endorser}背书（{seconds:.2f} 秒）",
    "The patient signs a consent with the passkey: {recipient} may read {types} to settle claims; endorsed by "
    "{endorser} ({seconds:.2f} s)",
)
GRANTED: Final = Text(
    "仁和医院在同意范围内授权（{endorser} 背书，{seconds:.2f} 秒）",
    "Renhe Hospital grants access within the consent (endorsed by {endorser}, {seconds:.2f} s)",
)
READ: Final = Text(
    "{recipient} 的节点收到并打开 {count} 条密封记录，逐条与账本承诺相符（{seconds:.2f} 秒，含访问登记）",
    "{recipient}'s node received and opened {count} sealed records; each matches its commitment on the ledger "
    "({seconds:.2f} s, access entry included)",
)
STRANGER_REFUSED: Final = Text("{org} 用同一授权请求：被拒绝", "{org} asks under the same grant: refused")
WITHDRAWN: Final = Text(
    "患者撤回同意：{seconds:.2f} 秒内对医院生效", "The patient withdraws: it binds the hospital within {seconds:.2f} s"
)
READ_REFUSED: Final = Text("{org} 再次请求：被拒绝", "{org} asks again: refused")
STOP_FINAL: Final = Text(
    "撤回已在五个节点终局（{seconds:.2f} 秒）", "The withdrawal is final on all five nodes ({seconds:.2f} s)"
)
ACCESSES: Final = Text(
    "双方账本上的访问登记一致：版本 {version}，列出 {count} 次释放",
    "The access entry is the same on both sides' ledgers: version {version}, listing {count} release(s)",
)
VERIFIED: Final = Text(
    "证明包 {name}：离线核验通过（{cosigners} 个联署）",
    "Proof bundle {name}: verified offline ({cosigners} cosignatures)",
)
TAMPERED: Final = Text(
    "证明包 {name} 改动一个比特：被拒绝（{code}）", "Proof bundle {name} with one bit flipped: refused ({code})"
)
DISPENSED: Final = Text(
    "仁和医院的处方凭条在{pharmacy}配药，{seconds:.2f} 秒内终局；没有凭条被拒（{stranger}），再次配药被拒（{again}）",
    "A prescription of Renhe Hospital is dispensed at {pharmacy} with its ticket, final in {seconds:.2f} s; without "
    "it that is refused ({stranger}), a second time too ({again})",
)
REPORTED: Final = Text(
    "碳排放报告：{states}；医院自行核查被拒绝（{own}），同名的第二份被拒绝（{second}）；证明包只公开类型、排放量与状态",
    "A carbon report: {states}; its hospital's own verification is refused ({own}), a second one of its name too "
    "({second}); the bundle shows type, emissions and state alone",
)
NO_STATEMENTS: Final = Text(
    "账本建立时没有声明的类型：略过处方与碳排放报告",
    "The ledger was founded without types of statements: no prescription and no carbon report",
)
CLAIM_REASON: Final = Text("核对这一笔理赔", "to check this one claim")
GLASS_BROKEN: Final = Text(
    "{org}的急诊医师未经同意紧急调阅另一医院的 {count} 条记录；双方各自登记上账",
    "A clinician of {org} reads {count} records of the other hospital without consent, in an emergency; each side "
    "tells the ledger by itself",
)
COLOURS: Final[Mapping[str, Text]] = {
    "green": Text("绿", "green"),
    "amber": Text("黄", "amber"),
    "red": Text("红", "red"),
}
CLAIM_GENUINE: Final = Text(
    "{lines}七项均无异常。",
    "{lines}: nothing is wrong.",
)
CLAIM_JUDGED: Final = Text(
    "{insurer}核查{hospital}的一笔理赔，患者点按同意：{colour}（{seconds:.2f} 秒）。{told}",
    "{insurer} looks into a claim on {hospital}, the patient taps to agree: {colour} ({seconds:.2f} s). {told}",
)
CLAIM_PAID: Final = Text(
    "{insurer}随即在账本上预留并结清：从收到理赔到付款共 {seconds:.2f} 秒，含患者点按",
    "{insurer} reserves and settles it on the ledger: {seconds:.2f} s from the claim to paid, the patient's tap "
    "included",
)
CLAIMS: Final = Text("\n理赔台的结论：", "\nWhat the insurers' desks found:")
CLAIM: Final = Text(
    "  {insurer}，{hospital}的一笔理赔：{colour}（{why}；{seconds:.2f} 秒，含患者点按）",
    "  {insurer}, a claim on {hospital}: {colour} ({why}; {seconds:.2f} s with the patient's tap)",
)
CLAIM_PLAIN: Final = Text("无异常", "nothing wrong")
PAID: Final = Text("  第一笔从收到理赔到付款共 {seconds} 秒", "  the first took {seconds} s from the claim to paid")
EINVOICES_SHOWN: Final = Text(
    "  每笔理赔的页面在核验结果旁显示演示替身（非财政部门）对电子票据的答复",
    "  beside the verdict each claim's page shows what a stand-in, not the ministry's service, says of the e-invoice",
)
NO_CLAIMS: Final = Text(
    "没有尚待讲述的理赔故事：数据不是示例数据，或上次已讲述",
    "No claims to tell of: the data are not the sample data, or they were told of before",
)
STOPPING: Final = Text("停止五个节点", "Stopping five nodes")
STOPPED: Final = Text("五个节点已停止", "Five nodes stopped")
NODE_LOST: Final = Text(
    "{org} 的节点已结束（日志在 {logs}）；其余 {running} 个节点继续运行",
    "{org}'s node has ended (its logs are in {logs}); {running} nodes go on without it",
)
NODE_AGAIN: Final = Text("  重新启动：{command}", "  to start it again: {command}")
NODE_BACK: Final = Text("{org} 的节点又在运行", "{org}'s node runs again")

# The summary

HEADING: Final = Text(
    "\n演示完成，用时 {seconds:.0f} 秒。所有检查通过。", "\nDone in {seconds:.0f} s. All checks passed."
)
WHO: Final = Text("\n谁持有什么：", "\nWho holds what:")
HOLDER: Final = Text(
    "  {name}：{records} 条加密记录；账本副本 {size} 条；{web}",
    "  {name}: {records} records, encrypted; a copy of the ledger, {size} entries; {web}",
)
NON_HOLDER: Final = Text(
    "  {name}：无患者记录；账本副本 {size} 条；{web}",
    "  {name}: no patients' records; a copy of the ledger, {size} entries; {web}",
)
LEDGER: Final = Text(
    "\n账本：{size} 条，{transactions} 笔交易，{blocks} 个区块；排序者 {orderer}",
    "\nLedger: {size} entries, {transactions} transactions, {blocks} blocks; ordered by {orderer}",
)
OBJECTS: Final = Text("  对象版本：{objects}", "  versions of objects: {objects}")
CHECKPOINT: Final = Text("  检查点 {size}，根 {root}", "  checkpoint {size}, root {root}")
COSIGNERS: Final = Text("  联署（Ed25519 与 ML-DSA-44）：{names}", "  cosigned (Ed25519 and ML-DSA-44) by {names}")
PROOFS: Final = Text(
    "\n证明包：{folder}\n  自行核验：{command} verify {example} --policy {policy}",
    "\nProof bundles: {folder}\n  verify one: {command} verify {example} --policy {policy}",
)
STATEMENTS: Final = Text("\n声明的各个状态：", "\nStatements, and the states that they passed:")
STATEMENT: Final = Text("  {name}：{states}", "  {name}: {states}")
STATES: Final[Mapping[str, Text]] = {
    "cancelled": Text("已取消", "cancelled"),
    "dispensed": Text("已配药", "dispensed"),
    "issued": Text("已开具", "issued"),
    "published": Text("已公布", "published"),
    "rejected": Text("已退回", "rejected"),
    "reported": Text("已报告", "reported"),
    "settled": Text("已结清", "settled"),
    "verified": Text("已核查", "verified"),
}
"""State of a statement → its words."""
STATEMENT_NAMES: Final[Mapping[str, Text]] = {
    "carbon-report": Text(
        "医院的碳排放报告（证明包 carbon-report 只公开三项）",
        "a hospital's carbon report (the bundle carbon-report shows three of its fields alone)",
    ),
    "prescription": Text(
        "在另一家医院药房配药一次的处方", "a prescription, dispensed once at another hospital's pharmacy"
    ),
}
TOKEN: Final = Text(
    "\n试用接口：\n"
    "  TOKEN=$({command} token issue --config {config} --scope 'system/*.crus')\n"
    '  curl -H "Authorization: Bearer $TOKEN" {web}/fhir/Patient/{patient}',
    "\nTry the API:\n"
    "  TOKEN=$({command} token issue --config {config} --scope 'system/*.crus')\n"
    '  curl -H "Authorization: Bearer $TOKEN" {web}/fhir/Patient/{patient}',
)
RATES: Final = Text(
    "\n实测（{name}的节点，一个客户端依次请求；本机同时运行另外 {others} 个节点）：",
    "\nMeasured ({name}'s node, one client, one request after the other, beside {others} other nodes on this machine):",
)
RATE_LOAD: Final = Text(
    "  载入：每秒 {rate} 个资源，经 FHIR 事务进入两家医院",
    "  loading: {rate} resources/s, through FHIR transactions into the two hospitals",
)
RATE_KINDS: Final[Mapping[str, Text]] = {
    "read": Text(
        "  按标识读取：每秒 {rate:.0f} 次；p50 {p50:.1f} 毫秒，p99 {p99:.1f} 毫秒",
        "  read by id: {rate:.0f} requests/s; p50 {p50:.1f} ms, p99 {p99:.1f} ms",
    ),
    "search": Text(
        "  搜索一位患者的观察：每秒 {rate:.0f} 次；p50 {p50:.1f} 毫秒，p99 {p99:.1f} 毫秒",
        "  search of a patient's observations: {rate:.0f} requests/s; p50 {p50:.1f} ms, p99 {p99:.1f} ms",
    ),
}
BROWSE: Final = Text(
    "\n在浏览器中查看记录：{web}/browse\n"
    "  先为自己建账号，并在浏览器中打开所给地址以登记通行密钥：\n"
    "  {command} account add me --role clinician --config {config}",
    "\nLook at the records in a browser: {web}/browse\n"
    "  First make yourself an account, and open the address that it gives to enrol a passkey:\n"
    "  {command} account add me --role clinician --config {config}",
)
ASK_REASON: Final = Text(
    "核对近期门诊与住院费用的理赔申请，需要诊断和检查结果。",
    "To settle your claim for recent visits we need the diagnoses and test results.",
)
CORRECTION_TEXT: Final = Text(
    "我已搬家，登记的住址是旧的，请更正。",
    "I have moved; the address here is the old one. Please correct it.",
)
CLINICIAN: Final = Text("李医生（急诊科）", "Dr Li, emergency department")
GLASS: Final = Text("送来时昏迷，无法询问本人。", "Brought in unconscious; nobody could be asked.")
DESK: Final = Text(
    "\n登记窗口（发放登记码、恢复、没有手机者的纸质登记和许可）：两位工作人员，各有一个账号，各用一个浏览器：\n"
    "  {command} account add desk-1 --role desk --fhir-user Practitioner/desk-1 --config {config}\n"
    "  {command} account add desk-2 --role desk --fhir-user Practitioner/desk-2 --config {config}\n"
    "  登录后打开：{web}/desk",
    "\nThe enrolment desk (codes, recoveries; people without a phone on paper): two members of the staff, each\n"
    "  with an account and a browser of their own:\n"
    "  {command} account add desk-1 --role desk --fhir-user Practitioner/desk-1 --config {config}\n"
    "  {command} account add desk-2 --role desk --fhir-user Practitioner/desk-2 --config {config}\n"
    "  Once signed in: {web}/desk",
)
CLAIMS_DESK: Final = Text(
    "\n保险公司的理赔台：先为自己建一个账号，打开其给出的网址登记通行密钥\n"
    "  {command} account add claims-1 --role desk --config {config}\n"
    "  登录后打开：{web}/claims",
    "\nThe insurer's claims desk: make yourself an account, and open the address that it gives to enrol a passkey\n"
    "  {command} account add claims-1 --role desk --config {config}\n"
    "  Once signed in: {web}/claims",
)
PERSON: Final = Text(
    "\n用您自己的浏览器成为一位患者：打开下面的网址，登记通行密钥（仅可使用一次）。",
    "\nBe one of the patients in your own browser: open the address below and enrol a passkey (good once).",
)
PERSON_PLACE: Final = Text(
    "  {url}\n  以后登录：{sign_in}",
    "  {url}\n  to sign in later: {sign_in}",
)
PERSON_WAITS: Final[Mapping[str, Text]] = {
    "ask": Text(
        "  有一项保险公司的请求等您决定；同意之后，保险公司会读取，您可以看到，也可以停止。",
        "  An insurer's request waits for your decision; once you agree the insurer reads, you see it and can stop it.",
    ),
    "correction": Text(
        "  您提出的一项更正请求等医院答复。",
        "  A correction that you asked for waits for the hospital's answer.",
    ),
    "emergency": Text(
        "  一次紧急查看等待审查，您可以提出异议。",
        "  An emergency access waits for its review; you can object to it.",
    ),
}
"""What waits (`medchain.commands.demo_person.Person.invite`) → what is said of it."""
PERSON_IDLE: Final = Text(
    "  现在没有等待处理的事项；页面显示此前发生的一切。",
    "  Nothing waits now; the pages show what has happened.",
)
CLAIM_TO_TRY: Final = Text(
    "\n走一遍理赔：这位患者的理赔 {number} 在安心健康保险等待核查。\n"
    "  1. 在理赔台建账号，打开其给出的网址登记通行密钥：\n"
    "     {command} account add claims-1 --role desk --config {config}\n"
    "  2. 打开 {place}\n"
    "     在“下一步”写明事由，点“请患者授权”。\n"
    "  3. 作为患者（上一段）打开 {home}：打开这项请求，点“同意，只为这一笔”，再点“用通行密钥确认”。\n"
    "  4. 回到第 2 步的页面，点“收集证据并核查”：七项均为绿色。\n"
    "  5. 在同一页展开“预留”并点“预留”，再展开“赔付”并点“登记赔付”：已付。",
    "\nTry a claim from the insurer's question to the money: claim {number} of this patient waits at Anxin Health\n"
    "Insurance.\n"
    "  1. At the claims desk make yourself an account, and open the address that it gives to enrol a passkey:\n"
    "     {command} account add claims-1 --role desk --config {config}\n"
    "  2. Open {place}\n"
    '     and under "Next step" say why, and press "Ask the patient".\n'
    '  3. As the patient (above) open {home}, then the request; press "Allow, for this claim only",\n'
    '     and "Confirm with your passkey".\n'
    '  4. Back on the page of 2 press "Gather the evidence and judge": all seven lines are green.\n'
    '  5. There unfold and press "Reserve", then "Settle": paid.',
)
PERSON_READ: Final = Text(
    "患者已许可：安心健康保险读取了 {count} 条记录",
    "The patient agreed: Anxin Health Insurance has read {count} records",
)
PERSON_STRANGER: Final = Text(
    "泰和保险用同一授权请求：被拒绝，患者可以看到",
    "Taihe Insurance asks under the same grant: refused, and the patient sees it",
)
PERSON_REFUSED: Final = Text(
    "患者已停止许可：安心健康保险再次读取，被拒绝",
    "The patient stopped it: Anxin Health Insurance asks again and is refused",
)
RUNNING: Final = Text("\n节点仍在运行，按 Ctrl-C 停止。", "\nThe nodes keep running; press Ctrl-C to stop them.")

ERRORS: Final[Mapping[str, Text]] = {
    "demo.answer": Text("节点的回答不完整（{step}）。", "A node's answer is not whole ({step})."),
    "demo.command": Text("命令未完成：{command}。", "A command did not succeed: {command}."),
    "demo.expected": Text("检查未通过：{check}。", "A check failed: {check}."),
    "demo.file": Text("数据文件已损坏。", "A data file is damaged."),
    "demo.folder": Text(
        "{folder} 中有其他内容，未作改动。请用 --folder 指定空文件夹。",
        "{folder} holds something else; nothing was changed. Name an empty folder with --folder.",
    ),
    "demo.no_data": Text("{folder} 中没有 FHIR Bundle 文件。", "There are no FHIR Bundles in {folder}."),
    "demo.no_ports": Text("找不到空闲端口。", "No free ports were found."),
    "demo.node_ended": Text(
        "{org_id} 的节点已结束；日志在 {logs}。", "The node of {org_id} ended; its logs are in {logs}."
    ),
    "demo.not_agreed": Text("节点在 {seconds} 秒内未得到同一根哈希。", "The nodes did not agree within {seconds} s."),
    "demo.not_cosigned": Text("{seconds} 秒内并非所有节点都已联署。", "Not all nodes had cosigned within {seconds} s."),
    "demo.not_anchored": Text("记录在 {seconds} 秒内未全部锚定。", "Not all records were anchored within {seconds} s."),
    "demo.not_final": Text("对象在 {seconds} 秒内未终局。", "An object did not become final within {seconds} s."),
    "demo.not_started": Text("节点在 {seconds} 秒内未就绪。", "The nodes were not ready within {seconds} s."),
    "demo.port": Text(
        "{org_id} 的端口 {port} 被其他程序占用。请停止该程序，或用 --folder 另建演示。",
        "Port {port} of {org_id} is taken by another program. Stop it, or make another demo with --folder.",
    ),
    "demo.root": Text(
        "日志条目与检查点 {size} 的根不符。", "The log's entries do not make the root of checkpoint {size}."
    ),
    "demo.split": Text("两个节点在 {size} 条处根哈希不同。", "Two nodes have different roots at {size} entries."),
}
"""Code → text, as in `medchain.commands.error_texts.ERRORS`."""
