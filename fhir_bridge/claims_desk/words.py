"""What the pages of claims say, in Chinese and English. A data table.

Source: `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

CLAIM_WORDS: Final[Words] = {
    "claims.parts": ("理赔页面", "Parts of claims"),
    "claims.tab.cases": ("赔案", "Claims"),
    "claims.tab.check": ("查重", "Duplicate check"),
    "claims.tab.proofs": ("收到的证明", "Received proofs"),
    "claims.tab.disputes": ("质询", "Disputes"),
    "claims.colour.green": ("无异常", "in order"),
    "claims.colour.amber": ("需留意", "look closer"),
    "claims.colour.red": ("有问题", "something is wrong"),
    "claims.known": ("依据是什么", "How do we know"),
    "claims.cases.title": ("赔案", "Claims"),
    "claims.cases.none": ("没有符合条件的赔案。", "There is no such claim."),
    "claims.cases.count": ("第 {first} 至 {last} 件，共 {total} 件", "{first} to {last} of {total}"),
    "claims.cases.keys": ("用上下方向键移动，回车打开", "Arrow keys move, Enter opens"),
    "claims.cases.earlier": ("上一页", "Previous page"),
    "claims.cases.later": ("下一页", "Next page"),
    "claims.back": ("返回上一页", "Go back"),
    "claims.cases.back": ("全部赔案", "All claims"),
    "claims.column.number": ("赔案号", "Number"),
    "claims.column.colour": ("核查结论", "Verdict"),
    "claims.column.amount": ("金额", "Amount"),
    "claims.column.created": ("受理", "Opened"),
    "claims.age": ("{count} 天", "{count} days"),
    "claims.age.one": ("1 天", "1 day"),
    "claims.next": ("下一步", "Next step"),
    "claims.next.new": (
        "先请患者为这一笔索赔授权。在此之前没有向任何人查询过，医院也不会出示记录。",
        "Ask the patient to permit this claim. Nobody has been asked anything yet, and the hospital shows no records.",
    ),
    "claims.next.unaskable": (
        "索赔没有写明成员医院的患者，或没有引用记录，无法请求授权。可以核查其余部分。",
        "The claim names no patient of a member, or cites no records: nobody can be asked. The rest can be judged.",
    ),
    "claims.next.asked": (
        "等待患者答复。患者授权后，这里会显示；患者若拒绝，不会告知任何请求方。",
        "Wait for the patient. A permission shows here once it is given; a no is told to nobody who asks.",
    ),
    "claims.next.permitted": (
        "患者已为这一笔索赔授权：可以收集证据并核查。",
        "The patient has permitted this claim: the evidence can be gathered and judged.",
    ),
    "claims.outlook.title": ("目前已知", "What is known so far"),
    "claims.outlook.lead": (
        "只依据索赔和保单；还没有核查，也没有向医院查询。",
        "By the claim and the policy alone. It is not judged yet, and no hospital was asked.",
    ),
    "claims.outlook.unknown": ("尚不知道", "not known yet"),
    "claims.outlook.new": (
        "等待患者授权。尚未请求。",
        "Waits for the patient's permission, which was not asked for yet.",
    ),
    "claims.outlook.unaskable": ("没有可以请求授权的患者。", "There is nobody to ask for a permission."),
    "claims.outlook.asked": ("已请求患者授权，等待答复。", "The patient was asked for a permission."),
    "claims.outlook.permitted": (
        "患者已授权，证据尚未收集。",
        "The patient has permitted it; it is still to be gathered.",
    ),
    "claims.outlook.invoice": (
        "核查时会问医院。现在就可以查重，不需要患者授权；医院会记录，患者也能看到。",
        (
            "Asked when it is judged. It can be checked now, without a permission; the hospital records it, and the "
            "patient sees it."
        ),
    ),
    "claims.outlook.no_invoice": (
        "没有票据，问不了。可在下面填写。",
        "No invoice is known, so it cannot be asked. Give it below.",
    ),
    "claims.terms.title": ("保单与票据", "Policy and invoice"),
    "claims.terms.lead": (
        "与赔案一起加密保存，以后每次核查都用。改动后，以前的核查结论作废。",
        "Kept sealed with the claim, and used whenever it is judged. A change takes away the verdict of before.",
    ),
    "claims.terms.open": (
        "索赔中没有保障期或票据时填写；不填则用索赔中写明的。",
        "Where the claim does not say them. Left empty, what the claim says counts.",
    ),
    "claims.terms.send": ("保存", "Keep them"),
    "claims.terms.none": ("没有填写", "not given"),
    "claims.policy": ("保障期", "Policy"),
    "claims.policy.days": ("{start}至{end}", "{start} to {end}"),
    "claims.policy.from": ("{start}起", "from {start}"),
    "claims.policy.until": ("至{end}", "until {end}"),
    "claims.policy.waits": ("，等待期 {count} 天", ", {count} waiting days"),
    "claims.policy.waits.one": ("，等待期 1 天", ", 1 waiting day"),
    "claims.policy.start": ("保障起始日", "First day of the policy"),
    "claims.policy.end": ("保障终止日", "Last day of the policy"),
    "claims.policy.waiting": ("等待期（天）", "Waiting days"),
    "claims.policy.day.hint": ("例如 2025-09-06，可不填。", "Such as 2025-09-06, or nothing."),
    "claims.policy.waiting.hint": (
        "起始日起多少天内不赔，可不填。",
        "For how many days from the first on nothing is paid, or nothing.",
    ),
    "claims.invoice": ("票据", "Invoice"),
    "claims.invoice.lead": (
        "纸质或电子票据上的内容；或选择一个表格。",
        "As it stands on the invoice, of paper or electronic; or choose a table.",
    ),
    "claims.invoice.table.hint": (
        "列名与查重的表格相同，不超过 4 MiB。",
        "Its columns are those of the duplicate check. At most 4 MiB.",
    ),
    "claims.invoice.row": ("表格中的第几行", "Row of the table"),
    "claims.invoice.row.hint": ("只有一行时可不填。", "Not needed where there is one."),
    "claims.invoice.check": ("现在查重", "Check it now"),
    "claims.judge.early": ("不等授权，现在核查", "Judge without waiting for the permission"),
    "claims.judge.early.lead": (
        "没有授权时，医院不出示记录，并会登记一次没有给出的查询，患者能看到；结论会显示缺少证据。",
        (
            "Without a permission the hospital shows nothing, and notes that it was asked in vain, which the patient "
            "sees; the verdict will say what is missing."
        ),
    ),
    "claims.verdict.before": (
        "作出这个结论时，没有任何医院出示过证据：红色可能只是因为缺少证据。",
        "It was made before any hospital had shown anything: red may mean no more than that.",
    ),
    "claims.unjudged": ("尚未核查", "not judged yet"),
    "claims.filter.all": ("全部", "all"),
    "claims.filter.colour": ("核查结论", "Verdict"),
    "claims.filter.status": ("状态", "State"),
    "claims.filter.hospital": ("医院", "Hospital"),
    "claims.filter.send": ("筛选", "Show these"),
    "claims.find": ("按赔案号开头查找", "Find by the beginning of its number"),
    "claims.status.new": ("尚未请求授权", "patient not asked yet"),
    "claims.status.asked": ("已请求患者授权", "patient asked"),
    "claims.status.permitted": ("患者已授权", "patient has permitted"),
    "claims.status.gathering": ("正在收集证据", "evidence is being gathered"),
    "claims.status.judged": ("已核查", "judged"),
    "claims.status.reserved": ("已预留", "reserved"),
    "claims.status.settled": ("已赔付", "settled"),
    "claims.status.refused": ("不予赔付", "refused"),
    "claims.case.einvoice": (
        "电子票据查验（不计入核查结论）",
        "Check of the e-invoice (no part of the verdict)",
    ),
    "claims.case.disputed": ("质询中", "disputed"),
    "claims.open.title": ("受理一件赔案", "Open a claim"),
    "claims.open.lead": ("任选一种方式。", "In one of three ways."),
    "claims.open.reference": ("本节点保存的索赔", "A claim that is stored here"),
    "claims.open.reference.hint": ("例如 Claim/…", "Such as Claim/…"),
    "claims.open.content": ("粘贴索赔（FHIR JSON）", "Paste a claim (FHIR JSON)"),
    "claims.open.file": ("或选择文件", "Or choose a file"),
    "claims.open.send": ("受理", "Open"),
    "claims.open.problem": (
        "没有受理：请填写 Claim/编号，或粘贴 FHIR R4 的 Claim 或 ExplanationOfBenefit。",
        "It was not opened. Give Claim/ID, or paste a FHIR R4 Claim or ExplanationOfBenefit.",
    ),
    "claims.case.title": ("赔案 {number}", "Claim {number}"),
    "claims.case.cited": ("索赔引用的记录", "Records that the claim cites"),
    "claims.case.outside": ("不属于任何成员", "Of no member"),
    "claims.case.done": ("已经做的事", "What was done"),
    "claims.case.asked": (
        "{time}：请{hospital}的患者授权，涉及 {count} 份记录",
        "{time}: the patient at {hospital} was asked for {count} records",
    ),
    "claims.case.asked.one": (
        "{time}：请{hospital}的患者授权，涉及 1 份记录",
        "{time}: the patient at {hospital} was asked for 1 record",
    ),
    "claims.case.permitted": (
        "{time}：{hospital}的患者为这一笔索赔授权，账本第 {position} 条",
        "{time}: the patient at {hospital} permitted this claim, entry {position} of the ledger",
    ),
    "claims.case.ended": (
        "{time}：{hospital}的患者的授权已收回或到期",
        "{time}: the permission of the patient at {hospital} was withdrawn, or ended",
    ),
    "claims.case.judged": (
        "{time}：已核查，截至账本第 {position} 条",
        "{time}: judged, as of entry {position} of the ledger",
    ),
    "claims.case.part": ("{part}，索赔 {whole}", "{part} of {whole}"),
    "claims.case.reserved": ("已预留", "Reserved"),
    "claims.case.settled": ("已赔付", "Paid"),
    "claims.case.deed": (
        "{time}：{action} {amount}，账本第 {position} 条",
        "{time}: {action} {amount}, entry {position} of the ledger",
    ),
    "claims.case.given_up": (
        "{time}：{action}，账本第 {position} 条",
        "{time}: {action}, entry {position} of the ledger",
    ),
    "claims.case.notes": ("备注", "Notes"),
    "claims.case.notes.none": ("没有备注。", "There are no notes."),
    "claims.case.do": ("可以做的事", "What you can do"),
    "claims.deed.reserve": ("预留", "reserved"),
    "claims.deed.settle": ("赔付", "settled"),
    "claims.deed.release": ("放弃", "released"),
    "claims.deed.amount": ("金额", "Amount"),
    "claims.deed.amount.hint": ("不填即为索赔金额。", "Empty for what is claimed."),
    "claims.ask.title": ("请求证据：请患者为这一笔索赔授权", "Request evidence: ask the patient for this claim alone"),
    "claims.ask.lead": (
        "患者在手机上看到：哪家保险公司、哪笔索赔、多少金额、哪些记录。授权只用于这一笔索赔，只出示票据号码、日期、金额、诊断大类和几项判断（如是否手术），不给出完整记录。",
        (
            "The patient sees on the phone which insurer, claim, amount and records. The permission is for this claim "
            "alone: the bill's number, dates, amounts, category of diagnosis and a few answers such as on surgery are "
            "shown, and no record whole."
        ),
    ),
    "claims.ask.days": ("授权多少天", "For how many days"),
    "claims.ask.send": ("请患者授权", "Ask the patient"),
    "claims.reserve.title": ("预留", "Reserve"),
    "claims.reserve.lead": (
        "在账本上为这笔索赔预留这张发票的一部分；先到先得，到期自动失效。",
        "Reserves a part of the invoice for this claim on the ledger. The first one wins; it ends by itself.",
    ),
    "claims.reserve.days": ("预留多少天", "For how many days"),
    "claims.reserve.send": ("预留", "Reserve"),
    "claims.settle.title": ("赔付", "Settle"),
    "claims.settle.lead": (
        "在账本上登记已预留部分的赔付，或其中一部分。",
        "Registers on the ledger that what was reserved, or less, is paid.",
    ),
    "claims.settle.send": ("登记赔付", "Settle"),
    "claims.release.title": ("放弃", "Release"),
    "claims.release.lead": (
        "放弃预留或赔付的部分，其他保险公司可以理赔。",
        "Gives the part up, so that others can claim it.",
    ),
    "claims.release.send": ("放弃", "Release"),
    "claims.refuse.title": ("不予赔付", "Refuse"),
    "claims.refuse.reason": ("理由", "Reason"),
    "claims.refuse.send": ("不予赔付", "Refuse"),
    "claims.drop.title": ("删除这件赔案", "Delete this claim"),
    "claims.drop.lead": (
        "销毁本机构保存的索赔、证据和备注，不能恢复；账本和医院保存的不受影响。按贵公司的保存期限办理。",
        (
            "Destroys the claim, its evidence and notes here, for good; what the ledger and the hospital have stays. "
            "When is up to your own rules on keeping claims."
        ),
    ),
    "claims.drop.send": ("删除", "Delete"),
    "claims.note.title": ("写备注", "Write a note"),
    "claims.note.text": ("备注", "Note"),
    "claims.note.hint": (
        "1 至 1000 字，只在本机构内部可见。",
        "1 to 1,000 characters; seen in this organisation alone.",
    ),
    "claims.note.send": ("保存", "Keep it"),
    "claims.dispute.open": ("就此索赔向医院质询", "Ask the hospital about this claim, on the record"),
    "claims.dispute.question": ("问题", "Your question"),
    "claims.judge.lead": (
        "向医院和账本收集证据并核查。医院会记录，患者也能看到。",
        "Gathers the evidence from hospitals and the ledger, and judges. Hospitals record it, and the patient sees it.",
    ),
    "claims.judge.send": ("收集证据并核查", "Gather the evidence and judge"),
    "claims.judge.again": ("重新收集证据并核查", "Gather the evidence anew and judge"),
    "claims.judge.progress": ("正在收集证据", "The evidence is being gathered"),
    "claims.failure.title": ("没有提供证据的医院", "Hospitals that told nothing"),
    "claims.failure.unheard": ("没有答复的医院", "Hospitals that did not answer"),
    "claims.failure.unheard.lead": (
        "{time} 询问未果。每次重新收集证据时会再次询问；已有的证据仍然有效。",
        (
            "Asked in vain {time}. They are asked again each time that the evidence is gathered; what they told "
            "before stays in it."
        ),
    ),
    "claims.failure.case.no_grant": ("患者尚未授权", "the patient has permitted nothing yet"),
    "claims.failure.case.permission_ended": (
        "患者的授权已收回或到期",
        "the patient's permission was withdrawn, or has ended",
    ),
    "claims.failure.release.nothing": (
        "没有可出示的：未授权、没有这些记录，或患者已拒绝",
        "it has nothing to show: not permitted, no such records, or the patient has said no",
    ),
    "claims.failure.peer.unreachable": ("无法连接", "it cannot be reached"),
    "claims.failure.peer.timeout": ("没有及时答复", "it did not answer in time"),
    "claims.rule.title": ("保单条款的核实", "What the policies ask"),
    "claims.rule.age_at_least": ("{day} 年满 {years} 周岁", "At least {years} years old on {day}"),
    "claims.rule.stay_at_most": ("住院不超过 {days} 天（{record}）", "A stay of at most {days} days ({record})"),
    "claims.rule.stay_at_most.one": ("住院不超过 1 天（{record}）", "A stay of at most 1 day ({record})"),
    "claims.rule.code_in": ("诊断在 {list} 之内（{record}）", "A diagnosis within {list} ({record})"),
    "claims.rule.yes": ("是", "yes"),
    "claims.rule.no": ("否", "no"),
    "claims.rule.unknown": ("医院没有说明", "not said by the hospital"),
    "claims.rule.unasked.stay_at_most": (
        "保单条款问及住院天数，但该索赔没有引用任何就诊记录，请人工核对。",
        "The policies ask how long a stay was, and the claim cites no encounter: look yourself.",
    ),
    "claims.rule.unasked.code_in": (
        "保单条款问及诊断，但该索赔没有引用任何诊断记录，请人工核对。",
        "The policies ask about the diagnosis, and the claim cites none: look yourself.",
    ),
    "claims.judge.failed": (
        "上次核查未能完成，以下仍是此前的情况：{why}",
        "The last time that it was judged nothing came of it; what stands below is from before. {why}",
    ),
    "claims.failure.peer.other": ("暂时无法答复", "it cannot answer at the moment"),
    "claims.failure.other": ("医院没有提供，请稍后重试", "it gave nothing; try again later"),
    "claims.bundle.get": ("下载证据包（zip）", "Download the evidence (zip)"),
    "claims.bundle.verify": ("离线核查网页", "The page that checks it offline"),
    "claims.verdict.title": ("核查结论", "Verdict"),
    "claims.verdict.as_of": (
        "截至 {time}，账本第 {position} 条。同一份证据在命令行、接口和离线文件中结论相同。",
        (
            "As of {time}, entry {position} of the ledger. The same evidence gives the same verdict in the command, "
            "the API and the offline file."
        ),
    ),
    "claims.graph.title": ("证据图", "The evidence"),
    "claims.graph.lead": ("点击任一框，查看依据。", "Follow a box to see how it is known."),
    "claims.graph.table": ("证据图的内容", "The evidence as a table"),
    "claims.graph.who": ("谁", "Who"),
    "claims.graph.what": ("什么", "What"),
    "claims.graph.items": ("证明包第 {numbers} 项", "items {numbers} of the bundle"),
    "claims.graph.items.one": ("证明包第 {numbers} 项", "item {numbers} of the bundle"),
    "claims.lane.hospital": ("医院", "Hospital"),
    "claims.lane.patient": ("患者", "Patient"),
    "claims.lane.ledger": ("账本", "Ledger"),
    "claims.lane.insurer": ("保险公司", "Insurer"),
    "claims.node.records": ("{hospital}：{count} 份记录", "{hospital}: {count} records"),
    "claims.node.records.one": ("{hospital}：1 份记录", "{hospital}: 1 record"),
    "claims.node.consent": ("对{hospital}的授权", "Permission to {hospital}"),
    "claims.node.registered": ("{hospital}的登记", "Registered by {hospital}"),
    "claims.node.access": ("{hospital}的访问记录", "Access entry of {hospital}"),
    "claims.node.invoice": ("票据与金额", "Invoice and totals"),
    "claims.node.unclaimed": ("是否已理赔", "Whether it is claimed"),
    "claims.node.claim": ("索赔 {number} {amount}", "Claim {number} {amount}"),
    "claims.node.coverage": ("保障期与等待期", "Policy and its waiting days"),
    "claims.node.flags": ("警示", "Red flags"),
    "claims.node.verdict": ("核查结论", "Verdict"),
    "claims.known.records": (
        "医院签署了每份记录由谁、用什么系统、何时录入；出示的字段与账本上的承诺逐一核对。",
        (
            "The hospital signed who wrote each record, with which system and when; the fields that it shows are "
            "checked against the commitment on the ledger."
        ),
    ),
    "claims.known.consent": (
        "授权内容与账本上的登记相符，签署者由其在账本上的密钥核对。",
        "What the permission says is what is registered on the ledger; who signed it is checked by the key there.",
    ),
    "claims.known.registered": (
        "账本的状态证明含有每份记录的承诺；时间是区块的时间，由成员共同签名。",
        "The ledger's state proves each record's commitment; the time is that of the block, cosigned by the members.",
    ),
    "claims.known.access": (
        "医院先在账本上登记了这次提供，写明依据哪项授权，然后才给出。",
        "The hospital entered on the ledger that it gives this, and under which permission, before it gave it.",
    ),
    "claims.known.invoice": (
        "医院票据上的金额由账本上的承诺核对，再与索赔比较。",
        "The totals of the hospital's invoice are checked against the ledger, and compared with the claim.",
    ),
    "claims.known.unclaimed": (
        "编号由医院的可验证随机函数得出；账本证明该编号下有或没有理赔，不显示是谁、多少。",
        (
            "The id follows by the hospital's verifiable random function; the ledger proves whether anything is "
            "claimed under it, and shows neither by whom nor how much."
        ),
    ),
    "claims.known.claim": (
        "索赔逐字节保存，其摘要写在授权、提供和账本的请求中。",
        "The claim is kept to the letter; permission, disclosure and requests name its digest.",
    ),
    "claims.known.coverage": (
        "保障期出自保险公司自己；服务日期出自医院出示的字段；医院当时是否有效成员出自账本。",
        (
            "The policy is the insurer's own word; the days are fields that the hospital shows; its standing of then "
            "is on the ledger."
        ),
    ),
    "claims.known.flags": (
        "由医院签署的陈述、登记时间和账本推出。",
        "These follow from statements that the hospital signed, from times of registration and from the ledger.",
    ),
    "claims.known.verdict": (
        "由以上各项计算得出，任何人用同一份证据都得出同样的结论。",
        "Computed from all of the above; whoever has the same evidence computes the same.",
    ),
    "claims.proofs.title": ("收到的证明", "Received proofs"),
    "claims.proofs.lead": (
        "核查别人交来的证明包：别的保险公司、医院、患者或法院。以本节点信任的成员为准，保存 90 天。",
        (
            "Verifies proofs that others hand over: insurers, hospitals, patients, courts. It goes by the members whom "
            "this node trusts. They are kept for 90 days."
        ),
    ),
    "claims.proofs.file": ("证明包（zip）", "Proof (zip)"),
    "claims.proofs.file.hint": ("不超过 8 MiB。", "At most 8 MiB."),
    "claims.proofs.send": ("核查", "Verify"),
    "claims.proofs.problem": ("请选择不超过 8 MiB 的 zip 文件。", "Choose a zip file of at most 8 MiB."),
    "claims.proofs.kept": ("已核查", "Verified"),
    "claims.proofs.none": ("还没有。", "None yet."),
    "claims.proofs.back": ("全部收到的证明", "All received proofs"),
    "claims.proof.title": ("收到的证明", "Received proof"),
    "claims.proof.holds": ("证明成立", "it holds"),
    "claims.proof.broken": ("证明不成立", "it does not hold"),
    "claims.proof.failed": (
        "它违反了证明包格式的一条规则，其内容一概不可信。",
        "It breaks a rule of the format: nothing that it says is to be believed.",
    ),
    "claims.proof.failed.bundle.format": ("这不是证明包。", "This is no proof."),
    "claims.proof.failed.bundle.verdict": (
        "其中的核查结论与证据不符。",
        "The verdict in it is not what its evidence gives.",
    ),
    "claims.proof.failed.bundle.other_policy": (
        "它出自其他成员组成的账本，或更新过的成员名单。",
        "It is of a ledger of other members, or of a list of members that has changed since.",
    ),
    "claims.proof.entry": ("一条登记", "An entry"),
    "claims.proof.record": ("一个对象的状态", "The state of an object"),
    "claims.proof.absent": ("没有这个对象", "That there is no such object"),
    "claims.proof.items": ("若干对象的状态", "The states of several objects"),
    "claims.proof.claim": ("一笔索赔的证据", "The evidence for a claim"),
    "claims.proof.disclosures": ("一项许可下的全部提供", "All that was given under a permission"),
    "claims.proof.looks": ("谁查看过", "Who has looked"),
    "claims.proof.now": ("证明的是最新状态", "the newest state"),
    "claims.proof.then": ("证明的是过去某时的状态", "the state of then"),
    "claims.proof.fact.answer": ("证明了什么", "What it proves"),
    "claims.proof.fact.current": ("时效", "As of"),
    "claims.proof.fact.time": ("时间", "Time"),
    "claims.proof.fact.position": ("账本条目", "Entry of the ledger"),
    "claims.proof.fact.cosigners": ("共同签名的成员", "Cosigned by"),
    "claims.proof.fact.items": ("对象数", "Objects"),
    "claims.proof.fact.object": ("对象", "Object"),
    "claims.proof.fact.status": ("状态", "State"),
    "claims.proof.fact.version": ("版本 / 最新版本", "Version / newest"),
    "claims.proof.known": (
        "成员的签名、默克尔证明、每项内容与其承诺逐一核对；本页每次打开都重新计算。",
        (
            "The members' signatures, the Merkle proofs and each content with its commitment are checked; this page "
            "computes it anew each time that it is opened."
        ),
    ),
    "claims.proof.brought": ("由 {author} 于 {time} 提交", "Brought by {author}, {time}"),
    "claims.proof.file": ("下载原文件", "Download the file"),
    "claims.proof.drop": ("删除", "Delete"),
    "claims.disputes.title": ("理赔质询", "Disputes about claims"),
    "claims.disputes.lead": (
        "保险公司就一笔索赔向医院提问，医院按期答复。每一步均由一方签名，双方各自留存并登记。请勿书写姓名。",
        (
            "An insurer asks a hospital about a claim; the hospital answers by a day. Each step is signed, kept and "
            "registered by both. Write no names."
        ),
    ),
    "claims.disputes.none": ("没有质询。", "There is no dispute."),
    "claims.disputes.count": ("共 {count} 件，其中 {overdue} 件逾期", "{count} in all, {overdue} of them overdue"),
    "claims.disputes.count.one": ("共 1 件，其中 {overdue} 件逾期", "1 in all, {overdue} of them overdue"),
    "claims.disputes.back": ("全部质询", "All disputes"),
    "claims.dispute.title": ("理赔质询：{other}", "Dispute: {other}"),
    "claims.dispute.state.question": ("等待医院答复", "Waiting for the hospital's answer"),
    "claims.dispute.state.answer": ("医院已答复", "Answered by the hospital"),
    "claims.dispute.state.close": ("已结束", "Closed"),
    "claims.dispute.step.question": ("提问", "Question"),
    "claims.dispute.step.answer": ("答复", "Answer"),
    "claims.dispute.step.close": ("结束", "Closed"),
    "claims.dispute.overdue": ("逾期，期限 {due}", "overdue since {due}"),
    "claims.dispute.due": ("期限 {due}，还剩 {count} 天", "due {due}, {count} days left"),
    "claims.dispute.due.one": ("期限 {due}，还剩 1 天", "due {due}, 1 day left"),
    "claims.dispute.unheard": (
        "对方尚未收到，会继续送达",
        "not received by the other side yet; it is being brought",
    ),
    "claims.dispute.refused": (
        "对方不接收（{why}），一天之内还会再送",
        "the other side does not take it ({why}); it is brought again for a day",
    ),
    "claims.dispute.given_up": (
        "对方不接收（{why}），不再送达；可结束后另行提问",
        "the other side did not take it ({why}), and it is brought no more; you can close it and ask anew",
    ),
    "claims.dispute.refused.answer": (
        "对方不接收（{why}），30 天之内还会再送",
        "the other side does not take it ({why}); it is brought again for 30 days",
    ),
    "claims.dispute.given_up.answer": (
        "对方不接收（{why}），不再送达；请以其他方式告知保险机构",
        "the other side did not take it ({why}), and it is brought no more; tell the insurer in another way",
    ),
    "claims.dispute.refusal.dispute.records": (
        "问题涉及医院没有为此提供的记录",
        "it names records of which it has told you nothing",
    ),
    "claims.dispute.refusal.dispute.sender": (
        "对方的账本上，本机构不是有效成员",
        "on its ledger, your organisation is no active member",
    ),
    "claims.dispute.refusal.dispute.signature": (
        "对方的账本上没有本机构的签名密钥",
        "its ledger does not have the key under which you signed",
    ),
    "claims.dispute.refusal.dispute.time": ("两边的时钟相差太大", "your clocks are too far apart"),
    "claims.dispute.refusal.dispute.head": ("前后步骤对不上", "it does not follow what it has"),
    "claims.dispute.refusal.other": ("对方没有说明理由", "it does not say why"),
    "claims.dispute.heard": ("对方于 {time} 收到", "received by the other side {time}"),
    "claims.dispute.claim": ("索赔摘要", "Digest of the claim"),
    "claims.dispute.records": ("涉及的医院记录", "Records of the hospital that it is about"),
    "claims.dispute.said": ("双方说了什么", "What was said"),
    "claims.dispute.known": (
        "{who} 用其认证密钥签署了这一步及其前一步的哈希；双方各自留存，并作为记录登记在账本上。被签署的哈希：",
        (
            "{who} signed this step, and the hash of the one before, with its authentication key; both keep it, and "
            "each has anchored its own record of it. What was signed:"
        ),
    ),
    "claims.dispute.answer": ("答复", "Your answer"),
    "claims.dispute.answer.send": ("签署并发送答复", "Sign and send the answer"),
    "claims.dispute.again": ("再次提问", "Ask again"),
    "claims.dispute.again.send": ("签署并发送提问", "Sign and send the question"),
    "claims.dispute.close": ("结束质询", "Close the dispute"),
    "claims.dispute.close.hint": ("可以不写理由。之后双方不能再补充。", "A reason is optional. Nothing can follow."),
    "claims.dispute.close.send": ("结束", "Close"),
    "claims.dispute.text.hint": (
        "1 至 1000 字，对方会看到，不能更改或撤回。请勿书写姓名。",
        "1 to 1,000 characters. The other side reads it; it can't be changed or taken back. Write no names.",
    ),
    "claims.dispute.days": ("答复期限", "Days to answer"),
    "claims.dispute.days.hint": ("从医院收到提问时起算。", "They run from when the hospital has received it."),
    "claims.dispute.problem.text": ("请写 1 至 1000 字。", "Write 1 to 1,000 characters."),
    "claims.dispute.problem.step": (
        "对方刚刚作了答复或已结束，请先看看。",
        "The other side has answered or closed meanwhile. Look first.",
    ),
    "claims.check.title": ("发票查重", "Duplicate check"),
    "claims.check.lead": (
        "查询发票是否真实、是否已理赔。不会显示是哪家保险公司、多少金额。每次查询医院都会记录，患者也能看到。",
        (
            "Whether an invoice is genuine, and whether it is claimed. Which insurer, and how much, is not shown. The "
            "hospital records each question, and the patient sees it."
        ),
    ),
    "claims.check.one": ("查一张发票", "One invoice"),
    "claims.check.field.issuer": ("开票单位代码", "Issuer code"),
    "claims.check.field.code": ("票据代码", "Invoice code"),
    "claims.check.field.number": ("票据号码", "Invoice number"),
    "claims.check.field.date": ("开票日期", "Date"),
    "claims.check.field.check_code": ("校验码", "Check code"),
    "claims.check.field.amount": ("金额（元）", "Amount (CNY)"),
    "claims.check.optional": ("（可不填）", " (optional)"),
    "claims.check.ask": ("查询", "Check"),
    "claims.check.found": ("票据 {number}", "Invoice {number}"),
    "claims.check.hospital": ("医院", "Hospital"),
    "claims.check.claim_id": ("理赔编号", "Claim id"),
    "claims.check.known": (
        "医院用可验证随机函数证明编号由这张发票得出；是否已理赔以本节点账本的最终状态为准（{time}，前 {size} 条）。",
        (
            "The hospital proves with a verifiable random function that the id follows from this invoice; whether it "
            "is claimed is what this node's own ledger says, as it is final at {time} with {size} {size:entry|entries}."
        ),
    ),
    "claims.check.many": ("查一批发票", "Many invoices"),
    "claims.check.table": ("表格文件（CSV）", "Table (CSV)"),
    "claims.check.table.hint": (
        "列名：开票单位代码、票据代码、票据号码、开票日期、校验码，可有金额、币种、行号。不超过 4 MiB。",
        "Columns: issuer, code, number, date, check_code; amount, currency and line if there are any. At most 4 MiB.",
    ),
    "claims.check.column": (
        "表格缺少列“{column}”，或该列重复。",
        "The table has no column {column}, or has it twice.",
    ),
    "claims.check.begin": ("开始查询", "Begin"),
    "claims.check.batches": ("您的查询批次", "Your tables"),
    "claims.check.batch": ("{time} 的表格，{count} 行", "Table of {time}, {count} rows"),
    "claims.check.batch.one": ("{time} 的表格，1 行", "Table of {time}, 1 row"),
    "claims.check.progress": ("已查询 {done} / {all}", "{done} of {all} done"),
    "claims.check.done": ("已完成", "Done"),
    "claims.check.leave": (
        "可以离开此页，稍后再回来；24 小时内有效，节点重启后需重新提交。",
        "You may leave this page and come back within 24 hours. After a restart of the node, bring the table again.",
    ),
    "claims.check.look_again": ("看看进度", "See how far it is"),
    "claims.check.failed": (
        "查询中断，未查询的行记为医院暂时无法连接。请重新提交。",
        "This ended before all was asked; what was not is written as not reachable. Bring the table again.",
    ),
    "claims.check.report": ("下载结果（CSV）", "Download the report (CSV)"),
    "claims.check.counts": ("结果汇总", "What was found"),
    "claims.check.meaning": ("说明", "meaning"),
    "claims.check.rows": ("行数", "Rows"),
    "claims.check.row": ("行", "Row"),
    "claims.check.held": ("表格内容", "As in the table"),
    "claims.check.look": ("需要查看的行", "Rows to look at"),
    "claims.check.more": ("另有 {count} 行，见结果文件。", "{count} more rows are in the report."),
    "claims.check.more.one": ("另有 1 行，见结果文件。", "1 more row is in the report."),
    "claims.check.back": ("查重首页", "Back to the duplicate check"),
    "error.claims.role": (
        "本机构不处理理赔：此页仅供保险公司、公共机构，质询页另供医院。",
        "Your organisation does not handle claims: these pages are an insurer's, disputes also a hospital's.",
    ),
    "error.case.unjudged": ("这件赔案尚未核查。", "This claim is not judged yet."),
    "error.case.busy": (
        "正在核查其他赔案，请稍后再试。",
        "Other claims are being judged at the moment. Try again soon.",
    ),
    "error.case.unknown": ("没有这件赔案。", "There is no such claim."),
    "error.case.note": ("请写 1 至 1000 字。", "Write 1 to 1,000 characters."),
    "error.case.notes": ("备注已达上限。", "No more notes can be kept of this claim."),
    "error.case.patient": (
        "索赔没有写明该医院的患者，无法请求授权。",
        "The claim does not name a patient there: nobody can be asked.",
    ),
    "error.case.no_invoice": ("这件赔案没有票据。", "This claim has no invoice."),
    "error.case.reserved": ("已预留或已结付的部分须先放弃。", "Release first what is reserved or settled."),
    "error.case.refused": (
        "已决定不予赔付，不能预留或赔付。",
        "It is refused: nothing can be reserved or paid for it.",
    ),
    "error.case.failed": ("本节点出错，请重新核查。", "This node went wrong; have it judged again."),
    "error.case.changed": (
        "自您所见的判定以来有新情况：记录、同意、票据或争议已变。请看现在的判定后再决定。",
        (
            "Something has come to light since the verdict that you saw: in records, permissions, invoice or disputes. "
            "Look at the verdict of now, and decide again."
        ),
    ),
    "error.case.seen": ("请重新打开本页。", "Open this page again."),
    "error.case.policy": ("保障期有误。", "The policy is not right."),
    "error.case.policy_start": (
        "保障起始日有误，请写成 2025-09-06。",
        "The first day of the policy is not right; write it as 2025-09-06.",
    ),
    "error.case.policy_end": (
        "保障终止日有误，请写成 2025-09-06。",
        "The last day of the policy is not right; write it as 2025-09-06.",
    ),
    "error.case.policy_order": (
        "保障终止日早于起始日。",
        "The last day of the policy is before its first.",
    ),
    "error.case.policy_waiting": (
        "等待期有误，请填 0 至 3650 的整数。",
        "The waiting days are not right; they are a whole number from 0 to 3650.",
    ),
    "error.case.policy_waits": (
        "有等待期时，请填写保障起始日。",
        "Waiting days run from the first day of the policy. Give that as well.",
    ),
    "error.case.invoice_twice": (
        "请填写票据，或选择表格，不要两样都填。",
        "Fill the invoice in or choose a table, not both.",
    ),
    "error.claim.row": (
        "请填写是表格中的第几行。",
        "Say which row of the table it is.",
    ),
    "error.case.days": ("天数有误。", "The days are not right."),
    "error.claim.amount": ("金额超过可理赔或已预留的金额。", "It is more than is open, or was reserved."),
    "error.claim.head": ("其他机构抢先更改了这张发票，请重试。", "Others were first; try again."),
    "error.claim.apart": (
        "这张发票已按整张或按明细行理赔，不能再以另一种方式理赔。",
        "This invoice is claimed already the other way, whole or by its lines.",
    ),
    "error.claim.lines": (
        "这样理赔可能超过整张发票的金额，请医院核对其明细行与退费。",
        "So more than the invoice could be claimed; have the hospital look at its lines and refunds.",
    ),
    "error.claim.cancelled": (
        "医院的这张发票已作废或冲红。",
        "The hospital has cancelled this invoice, or taken it back.",
    ),
    "error.submit.busy": (
        "同一张发票的另一次操作正在进行，请稍后重试。",
        "Something else is being done with this invoice. Try again in a moment.",
    ),
    "error.submit.no_endorser": (
        "抽中的背书机构都没有应答，请稍后重试。",
        "None of the drawn organisations answers. Try again later.",
    ),
    "error.submit.not_final": (
        "其他成员未在限时内确认，之后仍可能生效；请先刷新查看，再重试。",
        "The other members have not confirmed it in time, and it may still come to be. Look before you try again.",
    ),
    "error.submit.promised": (
        "上一次提交下落不明，可能仍会排序；请几分钟后重试。",
        "An attempt of before was lost on the way and may still be ordered. Try again in a few minutes.",
    ),
    "error.claim.replaced": (
        "这张发票是重开的，原发票尚未冲红：医院须先冲红原发票。",
        "It was issued in the place of another invoice, which the hospital has to take back first.",
    ),
    "error.claim.no_body": (
        "医院暂时没有这张发票理赔的内容，请稍后重试。",
        "The hospital lacks the contents of the claims on this invoice. Try again later.",
    ),
    "error.claim.done": (
        "医院称已完成，但账本上没有：请勿付款，请与医院核对。",
        "The hospital says that it is done, and the ledger does not. Do not pay; ask the hospital.",
    ),
    "error.claim.fishing": (
        "今日查无此票的次数过多，医院停止答复。",
        "Too many invoices were unknown today: the hospital answers no more.",
    ),
    "error.claim.full": ("参与这张发票理赔的机构已满。", "No more parts of this invoice can be claimed."),
    "error.claim.repeated": ("这已经做过。", "That is done already."),
    "error.claim.reservation": ("没有有效的预留。", "Nothing is reserved, or not any more."),
    "error.claim.unknown": (
        "医院没有此发票，或校验码有误。",
        "The hospital has no such invoice, or its check code is another one.",
    ),
    "error.claim.outside": ("开票单位不是联盟成员。", "No member issues invoices under that code."),
    "error.claim.inactive": (
        "开票单位已停用或已退出联盟。",
        "Who issued the invoice is suspended, or no member any more.",
    ),
    "error.proofs.unknown": ("没有这份证明，或已过 90 天。", "There is no such proof, or 90 days have gone by."),
    "error.proofs.quota": ("保存的证明已达上限，请先删除。", "No more proofs can be kept. Delete some first."),
    "error.dispute.hospital": ("请选择医院。", "Choose the hospital."),
    "error.dispute.unknown": ("没有这件质询。", "There is no such dispute."),
    "error.dispute.state": (
        "对方刚刚作了答复或已结束，请先看看。",
        "The other side has answered or closed meanwhile. Look first.",
    ),
    "error.dispute.head": (
        "对方刚刚作了答复或已结束，请先看看。",
        "The other side has answered or closed meanwhile. Look first.",
    ),
    "error.dispute.malformed": ("内容有误，请检查。", "Something of it is not right. Check it."),
    "error.dispute.quota": (
        "一年内与该机构的质询已达上限。",
        "No more disputes can be opened with that organisation this year.",
    ),
    "error.claim.csv": (
        "不是表格，或各行列数不一。",
        "This is no table, or a row has another number of cells.",
    ),
    "error.claim.csv_column": ("缺少一列，或有列重复。", "A column is missing, or there twice."),
    "error.claim.csv_rows": ("没有行，或行数过多。", "There is no row, or there are too many."),
    "error.claim.csv_size": ("表格超过 4 MiB，请分开提交。", "The table is larger than 4 MiB. Bring it in parts."),
    "error.claim.checks": (
        "等待查询的表格过多，请等前面的完成。",
        "Too many tables are waiting. Wait until those before are done.",
    ),
    "error.claim.checking": ("尚未查完，请稍后再下载。", "It is not done yet. Download it later."),
    "error.claim.no_check": (
        "没有这份表格：已过 24 小时，或节点已重启。请重新提交。",
        "There is no such table: a day has gone by, or the node was restarted. Bring it again.",
    ),
    "error.claim.malformed": ("内容过长或有误，请检查。", "Something of it is too long, or not right. Check it."),
    "error.invoice.issuer": ("开票单位代码有误。", "The issuer code is not right."),
    "error.invoice.code": ("票据代码有误。", "The invoice code is not right."),
    "error.invoice.number": ("票据号码有误。", "The invoice number is not right."),
    "error.invoice.date": (
        "开票日期有误，请写成 2025-09-06。",
        "The date is not right; write it as 2025-09-06.",
    ),
    "error.invoice.check_code": ("校验码有误。", "The check code is not right."),
    "error.invoice.amount": ("金额有误。", "The amount is not right."),
    "error.invoice.currency": ("币种有误。", "The currency is not right."),
    "error.invoice.line": ("行号有误。", "The line is not right."),
}
"""Every word of these pages."""
