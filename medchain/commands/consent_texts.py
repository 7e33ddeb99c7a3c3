"""What the commands about consents say, in both languages."""

from __future__ import annotations

from typing import Final

from medchain.commands.command import Text

CONSENT_GROUP: Final = Text("同意：试算决定", "consents: try what they decide")
DECIDE_SUMMARY: Final = Text(
    "对每个案例（请求及其同意书）作出与节点相同的决定", "decide cases, each a request with its consents, as a node does"
)
DECIDE_EXAMPLES: Final = Text(
    """medchain consent decide --cases cases.ndjson
                                   每行一个案例，逐行输出一个 JSON 决定
medchain consent decide --cases cases.ndjson --tz Asia/Shanghai
                                   无时区的日期按上海时间理解""",
    """medchain consent decide --cases cases.ndjson
                                   a case a line; writes a decision a line, as JSON
medchain consent decide --cases cases.ndjson --tz Asia/Shanghai
                                   dates without a zone are read in Shanghai's time""",
)
DECIDE_CASES: Final = Text("案例文件，每行一个 JSON 文档", "file of cases, one JSON document a line")
DECIDE_ZONE: Final = Text(
    "无时区的日期与时间所在的时区（IANA 名称），默认 UTC",
    "time zone (IANA name) of dates and times that name none; UTC by default",
)
DECIDE_DONE: Final = Text(
    "{count} 个案例，其中 {errors} 个无法读取（已拒绝）。",
    "{count} cases, {errors} of which could not be read and are denied.",
)
