"""What the pages say on which a patient hides a record and releases it, in Chinese and English.

A data table. Wording: hidden from other organisations, never "deleted" or "nobody sees it"; what was given already
cannot be called back, and what the law demands is not held up.
Source: `docs/spec/patient-pages.md` 18, wording; `docs/glossary.md` for the terms.
"""

from __future__ import annotations

from typing import Final

from medchain.web.words import Words

HIDING_WORDS: Final[Words] = {
    "hide.who": ("其他机构能看到它吗", "May other organisations be given it"),
    "hide.hidden": ("已隐藏", "hidden"),
    "hide.not": (
        "没有隐藏：您许可的机构，在许可的范围内可以看到。",
        "It is not hidden: whom you permit is given it, as far as the permission goes.",
    ),
    "hide.link": ("对其他机构隐藏……", "Hide it from other organisations …"),
    "hide.link.visit": (
        "对其他机构隐藏这次就诊和它的全部记录……",
        "Hide this visit and all its records from other organisations …",
    ),
    "hide.who.kind": ("其他机构能看到这类记录吗", "May other organisations be given this kind"),
    "hide.not.kind": (
        "这类记录没有整体隐藏：您许可的机构，在许可的范围内可以看到。标有“已隐藏”的除外。",
        (
            "This kind is not hidden as a whole: whom you permit is given it, as far as the permission goes, but for "
            "records that are marked as hidden."
        ),
    ),
    "hide.link.kind": ("对其他机构隐藏这类的全部记录……", "Hide all records of this kind from other organisations …"),
    "hide.by_kind": ("因为您隐藏了这类记录，它不会给出：", "It is not given, because you hide records of this kind:"),
    "hide.state": (
        "自{when}起对其他机构隐藏。",
        "Hidden from other organisations since {when}.",
    ),
    "hide.by": (
        "因为它引用了您隐藏的下列记录，也不会给出：",
        "It is not given, because it refers to what you hide:",
    ),
    "hide.release.lead": (
        "恢复后，您许可的机构又可以看到它以及引用它的记录。",
        "Once released, whom you permit is given it again, and what refers to it.",
    ),
    "hide.release": ("恢复，去签署", "Release it, and sign that"),
    "hide.no_release": (
        "您在这里不能恢复它：您没有这项权限，或另一家机构停止了这项隐藏（没有您的签名，本院仍然隐藏）。",
        (
            "You cannot release it here: you are not entitled to, or another organisation has stopped the hiding, "
            "which without your signature does not count at this hospital."
        ),
    ),
    "hide.back.kind": ("返回这类记录", "Back to the records of this kind"),
    "hide.back.record": ("返回这条记录", "Back to the record"),
    "hide.back.visit": ("返回这次就诊", "Back to the visit"),
    "hide.title.kind": ("对其他机构隐藏一类记录", "Hide a kind of records from other organisations"),
    "hide.title.record": ("对其他机构隐藏一条记录", "Hide a record from other organisations"),
    "hide.title.visit": ("对其他机构隐藏一次就诊", "Hide a visit from other organisations"),
    "hide.others": (
        "本院不再把它和引用它的记录给任何其他机构，无论您已经或以后许可什么，其他医院急救时也不给。",
        (
            "This hospital gives it, and what refers to it, to no other organisation any more, whatever you have "
            "permitted or will; another hospital is not given it in an emergency either."
        ),
    ),
    "hide.others.kind": (
        "本院不再把这类记录给任何其他机构，无论您已经或以后许可什么，其他医院急救时也不给。",
        (
            "This hospital gives no record of this kind to any other organisation any more, whatever you have "
            "permitted or will; another hospital is given none in an emergency either."
        ),
    ),
    "hide.mentioned": (
        "其他种类的记录里如果提到它们，仍会给出；要一起隐藏，请隐藏那次就诊或那条记录。",
        (
            "Records of other kinds that mention them are still given. To hide those with them, hide the visit, or the "
            "record itself."
        ),
    ),
    "hide.own": (
        "{name}的工作人员照常可以看到。如果急救时别的医院需要它，隐藏可能对您不利。",
        (
            "The staff of {name} see it as before. If another hospital needs it in an emergency, hiding it may be to "
            "your harm."
        ),
    ),
    "hide.given": (
        "已经给出的无法收回。其他机构自己保存的记录不受影响。",
        "What was given already cannot be called back. Records of other organisations' own stay as they are.",
    ),
    "hide.law": (
        "法律要求给出时（如法院命令），仍会给出。",
        "Where the law demands it, as by a court order, it is still given.",
    ),
    "hide.laws": (
        "依法律可以查看的，仍会给出：{names}。",
        "Who may see by law is still given it: {names}.",
    ),
    "hide.effect": ("隐藏之后有什么变化", "What would change"),
    "hide.fewer": (
        "{name}（{purpose}）：现在可看到 {count} 条，隐藏后 {after} 条。",
        "{name} ({purpose}): {count} records today, {after} once it is hidden.",
    ),
    "hide.fewer.one": (
        "{name}（{purpose}）：现在可看到 1 条，隐藏后 {after} 条。",
        "{name} ({purpose}): 1 record today, {after} once it is hidden.",
    ),
    "hide.same": (
        "{name}（{purpose}）：现在可看到 {count} 条，没有变化。",
        "{name} ({purpose}): {count} records today, and no fewer.",
    ),
    "hide.same.one": (
        "{name}（{purpose}）：现在可看到 1 条，没有变化。",
        "{name} ({purpose}): 1 record today, and no fewer.",
    ),
    "hide.nobody": (
        "目前没有许可生效，所以现在没有变化；对以后的许可同样有效。",
        "No permission is in force now, so nothing changes today; it counts for later ones too.",
    ),
    "hide.with": ("同时隐藏的，还有引用它的 {count} 条记录", "Hidden with it: {count} records that refer to it"),
    "hide.rest": ("……还有 {count} 条。", "… and {count} more."),
    "hide.rest.one": ("……还有 1 条。", "… and one more."),
    "hide.with.one": ("同时隐藏的，还有引用它的 1 条记录", "Hidden with it: one record that refers to it"),
    "hide.later": (
        "以上用与正式给出时相同的规则算出。以后新增的、引用它的记录也会隐藏。您随时可以恢复。",
        (
            "Worked out with the rules by which records are given. Later records that refer to it are hidden too. You "
            "can release it at any time."
        ),
    ),
    "hide.later.kind": (
        "以上用与正式给出时相同的规则算出。以后新增的这类记录也会隐藏。您随时可以恢复。",
        (
            "Worked out with the rules by which records are given. Later records of this kind are hidden too. You can "
            "release them at any time."
        ),
    ),
    "hide.sign": ("隐藏，去签署", "Hide it, and sign that"),
    "hide.about": ("恢复已隐藏的：{title}", "releasing what is hidden: {title}"),
    "hide.preview": ("您隐藏的记录不计在内，也不会给出。", "What you hide is not counted, and not given."),
    "error.hide.hidden": ("已经隐藏。", "It is hidden already."),
    "error.hide.joint": (
        "监护人意见不一致时，任何一位都可以隐藏，但不能由其中一位恢复。分歧解决后才可以恢复。",
        (
            "While guardians disagree, each of them may hide records, and none releases them alone. They can be "
            "released once the disagreement is settled."
        ),
    ),
}
"""Every word of these pages."""
