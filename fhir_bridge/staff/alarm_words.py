"""What alarms and the answers of outside witnesses mean, in Chinese and English, for who oversees and runs no node.

A data table: ``alarm.CODE``, or ``alarm.AREA`` for all codes that begin so; ``witness.CODE`` likewise. What to do
about each is in `docs/operations.md`.
Source: `docs/operations.md`, *Watch*; `docs/spec/log.md` 25.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

ALARM_WORDS: Final[Words] = {
    "alarm.anchor.conflict": (
        "同一份记录的同一版本被写入账本两次，内容不同",
        "A version of a record is on the ledger twice, with different contents",
    ),
    "alarm.anchor.refused": ("账本不接受一份记录的登记", "The ledger does not take the registration of a record"),
    "alarm.block": ("排序方给出的区块被拒绝", "A block of the orderer was refused"),
    "alarm.body.refused": (
        "某成员写入账本的内容违反规则，本节点不采用",
        "What a member put on the ledger breaks a rule; this node makes no use of it",
    ),
    "alarm.checkpoint.split_view": (
        "有人签署了两份互相矛盾的账本历史",
        "Two histories of the ledger that contradict each other were signed",
    ),
    "alarm.draw.given_up": (
        "某成员似乎在挑选为其背书的机构：抽中的未被采用",
        "A member seems to choose who endorses for it: it gave up drawn ones",
    ),
    "alarm.draw.passed_over": (
        "某成员似乎在挑选为其背书的机构：越过了抽中的",
        "A member seems to choose who endorses for it: it passed over drawn ones",
    ),
    "alarm.emergency.differs": (
        "两家医院对同一次紧急访问的登记不一致",
        "Two hospitals tell the ledger different things of one emergency",
    ),
    "alarm.emergency.unreachable": (
        "未收到一次紧急访问的内容：该机构没有应答",
        "The text of an emergency has not come: its organisation does not answer",
    ),
    "alarm.emergency.untold": (
        "另一家医院未在账本上登记一次紧急访问",
        "The other hospital of an emergency has not told the ledger of it",
    ),
    "alarm.emergency.withheld": (
        "未收到一次紧急访问的内容：该机构应答，但不交出",
        "The text of an emergency has not come: its organisation answers, and does not give it",
    ),
    "alarm.erasure.overdue": ("一次删除未及时写入账本", "An erasure is not on the ledger in time"),
    "alarm.notices.waiting": (
        "通知未能发出，收件人登录后仍能看到",
        "People are not sent word of notices; they see them when they sign in",
    ),
    "alarm.ordering.ahead": ("账本的时间早于各成员的时钟所示", "The ledger is dated ahead of the members' clocks"),
    "alarm.ordering.clock": ("本节点的时钟可能有误", "This node's clock may be wrong"),
    "alarm.ordering.denied": (
        "排序方否认了自己出具回执的区块",
        "The orderer denies a block for which it gave a receipt",
    ),
    "alarm.ordering.failed": ("本节点的排序部分停止工作", "A part of this node that orders has stopped"),
    "alarm.ordering.kept_back": ("排序方曾对本节点隐瞒区块", "The orderer kept blocks from this node"),
    "alarm.ordering.log_key": ("本节点的日志密钥须更换", "The log key of this node must be exchanged"),
    "alarm.ordering.not_given": (
        "其他成员已终局的区块没有送达本节点",
        "Blocks that are final elsewhere do not come to this node",
    ),
    "alarm.ordering.reordered": (
        "排序方没有遵守回执：交易的次序被改变",
        "The orderer broke a receipt: it changed the order of transactions",
    ),
    "alarm.ordering.thread": ("本节点的排序部分停止工作", "A part of this node that orders has stopped"),
    "alarm.ordering.two_blocks": (
        "排序方为同一高度签署了两个区块",
        "The orderer signed two blocks for one height",
    ),
    "alarm.ordering.withheld": (
        "排序方没有遵守回执：交易未写入账本",
        "The orderer broke a receipt: it left a transaction out",
    ),
    "alarm.receipt": ("排序方没有遵守回执", "The orderer broke a receipt"),
    "alarm.store.corrupt": ("本节点的数据文件损坏", "A file of this node's data is damaged"),
    "alarm.store.full": ("本节点的磁盘将满", "This node's disk is nearly full"),
    "witness.peer": ("联系不上该见证方", "The witness is out of reach"),
    "witness.tlog": ("该见证方的联署无效", "Its cosignature does not hold"),
    "witness.witness.ahead": (
        "该见证方见过的比本节点终局的更多",
        "It has seen more than is final at this node",
    ),
    "witness.witness.disputed": (
        "该见证方不认为账本由其所见增长而来",
        "It does not accept that the ledger grew from what it has seen",
    ),
    "witness.witness.log_key": ("该见证方不认识现任排序方的密钥", "It does not know the key of who orders now"),
    "witness.witness.time": ("该见证方的时钟与本节点相差太大", "Its clock is too far from this node's"),
    "witness.witness.unknown_log": ("该见证方不认识本账本", "It does not know this ledger"),
    "witness.witness.went_back": (
        "该见证方退回到较早的状态，可能是从备份恢复的",
        "It has gone back to an earlier state, as when it was restored from a backup",
    ),
    "witness.witness": ("该见证方的回答不可用", "Its answer is of no use"),
}
"""Every word of alarms."""
