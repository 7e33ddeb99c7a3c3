"""What the commands about applications, people and signing keys say, in both languages."""

from __future__ import annotations

from typing import Final

from medchain.commands.command import Text

CLIENT_ADD_SUMMARY: Final = Text("登记客户端", "register a client")
CLIENT_ADD_EXAMPLES: Final = Text(
    """medchain client add lab --jwk lab.pub.jwk --scope system/Observation.cu
                                   登记自行签名的系统
medchain client add growth --name 生长曲线 --redirect https://growth.example/cb --launch-uri https://growth.example/launch
    --scope patient/*.rs           登记公共应用（无密钥，用 PKCE）
medchain client add insurer --member pingan-insurer --scope system/Claim.rs
                                   登记联盟成员，密钥取自账本""",
    """medchain client add lab --jwk lab.pub.jwk --scope system/Observation.cu
                                   register a system that signs with its own key
medchain client add growth --name Growth --redirect https://growth.example/cb --launch-uri https://growth.example/launch
    --scope patient/*.rs           register a public application (no key, PKCE)
medchain client add insurer --member pingan-insurer --scope system/Claim.rs
                                   register a member; its keys are those on the ledger""",
)
CLIENT_ID: Final = Text("客户端标识", "the client's id")
CLIENT_NAME: Final = Text("显示给用户的名称", "its name, as shown to people")
CLIENT_JWK: Final = Text(
    "客户端的 ES384 或 RS384 公钥（JWK 文件）；可重复",
    "the client's ES384 or RS384 public key (JWK file); may be repeated",
)
CLIENT_JWKS_URI: Final = Text(
    "客户端公布公钥的网址",
    "address at which the client publishes its keys",
)
CLIENT_MEMBER: Final = Text(
    "联盟成员的标识；密钥取自账本",
    "org_id of the member that it is; its keys are the ledger's",
)
CLIENT_SCOPE: Final = Text(
    "最多可申请的权限，例如 system/*.cru 或 patient/*.rs；可重复",
    "the most that it may ask for, such as system/*.cru or patient/*.rs; may be repeated",
)
CLIENT_REDIRECT: Final = Text(
    "授权后返回的网址；可重复",
    "address to return to after authorisation; may be repeated",
)
CLIENT_LAUNCH: Final = Text(
    "从病历系统打开应用的网址",
    "address at which a launch from the record system begins",
)
CLIENT_RIGHT: Final = Text(
    "另有的权利：launch（发起应用）、introspect（查询他人令牌）；可重复",
    "what else it may do: launch (open applications), introspect (ask about tokens of others); may be repeated",
)
CLIENT_DPOP: Final = Text(
    "只签发绑定密钥的令牌（DPoP）：申请令牌时必须出示密钥证明",
    "give it tokens that are bound to a key alone (DPoP): it must show a proof of a key to get one",
)
CLIENT_ADDED: Final = Text(
    "已登记客户端 {client}：{scopes}",
    "Registered client {client}: {scopes}",
)
CLIENT_LIST_SUMMARY: Final = Text("列出客户端", "list the clients")
CLIENT_LIST_EXAMPLES: Final = Text("medchain client list", "medchain client list")
CLIENT_ROW: Final = Text("{client}：{scopes}{state}", "{client}: {scopes}{state}")
CLIENT_DISABLED: Final = Text("（已停用）", " (disabled)")
CLIENT_NONE: Final = Text("没有登记客户端。", "No client is registered.")
CLIENT_SHOW_SUMMARY: Final = Text("显示客户端的登记", "show a client's registration")
CLIENT_SHOW_EXAMPLES: Final = Text("medchain client show growth", "medchain client show growth")
CLIENT_SHOWN: Final = Text(
    "{client}（{name}）\n权限：{scopes}\n身份：{kind}\n返回网址：{redirects}\n发起网址：{launch}\n状态：{state}",
    "{client} ({name})\nscopes: {scopes}\nshown by: {kind}\nreturns to: {redirects}\nlaunch: {launch}\nstate: {state}",
)
CLIENT_ACTIVE: Final = Text("可用", "in use")
CLIENT_CLOSED: Final = Text("已停用", "disabled")
CLIENT_DISABLE_SUMMARY: Final = Text(
    "停用客户端，其授权与令牌立即失效",
    "disable a client; its authorisations and tokens end now",
)
CLIENT_DISABLE_EXAMPLES: Final = Text(
    "medchain client disable growth",
    "medchain client disable growth",
)
CLIENT_DISABLED_NOW: Final = Text("已停用客户端 {client}。", "Disabled client {client}.")
CLIENT_ENABLE_SUMMARY: Final = Text("重新启用客户端", "let a disabled client in again")
CLIENT_ENABLE_EXAMPLES: Final = Text("medchain client enable growth", "medchain client enable growth")
CLIENT_CONFIRM_SUMMARY: Final = Text(
    "恢复备份后，确认客户端可以继续使用",
    "let in clients that a restore shut",
)
CLIENT_CONFIRM_EXAMPLES: Final = Text(
    "medchain client confirm              列出待确认的客户端\n"
    "medchain client confirm lab growth   先用 client show 核对其公钥与权限",
    "medchain client confirm              list those that wait\n"
    "medchain client confirm lab growth   look at keys and scopes first: `client show`",
)
CONFIRM_NONE: Final = Text("没有待确认的项目。", "Nothing waits for a confirmation.")
CLIENT_ENABLED: Final = Text("已启用客户端 {client}。", "Client {client} is in use again.")
CLIENT_ROTATE_SUMMARY: Final = Text(
    "更换客户端的公钥",
    "put another public key in the place of a client's",
)
CLIENT_ROTATE_EXAMPLES: Final = Text(
    "medchain client rotate lab --jwk new.pub.jwk --keep    旧公钥暂时保留",
    "medchain client rotate lab --jwk new.pub.jwk --keep    the old key stays for now",
)
CLIENT_KEEP: Final = Text("保留现有公钥", "keep the present keys beside it")
CLIENT_ROTATED: Final = Text(
    "客户端 {client} 现有 {count} 个公钥。",
    "Client {client} has {count} key(s) now.",
)
CLIENT_REMOVE_SUMMARY: Final = Text(
    "注销客户端，其授权与令牌立即失效",
    "remove a client; its authorisations and tokens end now",
)
CLIENT_REMOVE_EXAMPLES: Final = Text("medchain client remove lab", "medchain client remove lab")
CLIENT_REMOVED: Final = Text("已注销客户端 {client}。", "Removed client {client}.")

ACCOUNT_GROUP: Final = Text("可登录本节点的人员", "people who may sign in here")
ACCOUNT_ADD_SUMMARY: Final = Text(
    "建立账号，并发出一次性登记码",
    "make an account, and give a code to enrol a passkey with",
)
ACCOUNT_ADD_EXAMPLES: Final = Text(
    "medchain account add wang --role clinician --display 王医生 --fhir-user Practitioner/17",
    'medchain account add wang --role clinician --display "Dr Wang" --fhir-user Practitioner/17',
)
ACCOUNT_NAME: Final = Text("账号名", "the account's name")
ACCOUNT_ROLE: Final = Text("角色", "what the person does")
ACCOUNT_DISPLAY: Final = Text("显示的姓名", "the person's name, as shown")
ACCOUNT_FHIR_USER: Final = Text(
    "代表此人的资源，例如 Practitioner/17",
    "the resource that is the person, such as Practitioner/17",
)
ACCOUNT_ADDED: Final = Text(
    "已建立账号 {name}（{role}）。请本人在 {minutes} 分钟内打开此网址登记通行密钥，仅可使用一次：\n{url}",
    "Made the account {name} ({role}). Within {minutes} minutes, the person opens this address to enrol a passkey; it "
    "is good once:\n{url}",
)
ACCOUNT_PERSON_SUMMARY: Final = Text("写明账号属于哪个人", "say which person an account belongs to")
ACCOUNT_PERSON_EXAMPLES: Final = Text(
    "medchain account person wang Practitioner/17",
    "medchain account person wang Practitioner/17",
)
ACCOUNT_PERSON: Final = Text("账号 {name} 属于 {person}。", "The account {name} belongs to {person}.")
INVITE_SUMMARY: Final = Text(
    "窗口核对身份后，给患者一个登记通行密钥的一次性网址",
    "give a patient, whose identity the desk has checked, an address to enrol a passkey",
)
INVITE_EXAMPLES: Final = Text(
    "medchain account invite p17 --method identity-card    把网址当面交给患者本人",
    "medchain account invite p17 --method identity-card    hand the address to the patient in person",
)
INVITE_PATIENT: Final = Text("患者在本院的 Patient 编号", "the id of the Patient at this hospital")
INVITE_METHOD: Final = Text("核对身份的方式", "how the identity was checked")
INVITED: Final = Text(
    "请患者本人在 {hours} 小时内打开此网址登记通行密钥，仅可使用一次：\n{url}",
    "Within {hours} hours, the patient opens this address to enrol a passkey; it is good once:\n{url}",
)
ACCOUNT_LIST_SUMMARY: Final = Text("列出账号", "list the accounts")
ACCOUNT_LIST_EXAMPLES: Final = Text("medchain account list", "medchain account list")
ACCOUNT_ROW: Final = Text(
    "{name}：{role}，{display}，通行密钥 {passkeys} 个{state}",
    "{name}: {role}, {display}, {passkeys} passkey(s){state}",
)
ACCOUNT_NONE: Final = Text("没有账号。", "There is no account.")
ACCOUNT_ENROL_SUMMARY: Final = Text("再发一次性登记码", "give another code to enrol a passkey with")
ACCOUNT_ENROL_EXAMPLES: Final = Text(
    "medchain account enrol wang --replace    同时作废原有通行密钥",
    "medchain account enrol wang --replace    the present passkeys count no more",
)
ACCOUNT_REPLACE: Final = Text(
    "作废原有通行密钥与会话",
    "let the present passkeys and sessions count no more",
)
ACCOUNT_CONFIRM_SUMMARY: Final = Text(
    "恢复备份后，确认账号可以继续使用",
    "open accounts that a restore shut",
)
ACCOUNT_CONFIRM_EXAMPLES: Final = Text(
    "medchain account confirm                        列出待确认的账号\n"
    "medchain account confirm wang                   作废备份中的通行密钥，再用 account enrol 登记\n"
    "medchain account confirm wang --keep-passkeys   备份之后没有遗失通行密钥",
    "medchain account confirm                        list those that wait\n"
    "medchain account confirm wang                   without the backup's passkeys; then `account enrol`\n"
    "medchain account confirm wang --keep-passkeys   none of them was lost since the backup",
)
ACCOUNT_KEEP: Final = Text(
    "保留备份中的通行密钥",
    "let the backup's passkeys count again",
)
ACCOUNT_CONFIRMED: Final = Text(
    "账号 {name} 已重新开放，原有通行密钥已作废。",
    "The account {name} is open again; its passkeys count no more.",
)
ACCOUNT_CONFIRMED_KEPT: Final = Text(
    "账号 {name} 已重新开放，原有通行密钥保留。",
    "The account {name} is open again, with its passkeys.",
)
ACCOUNT_DISABLE_SUMMARY: Final = Text(
    "关闭账号，其会话与授权立即失效",
    "close an account; its sessions and authorisations end now",
)
ACCOUNT_DISABLE_EXAMPLES: Final = Text("medchain account disable wang", "medchain account disable wang")
ACCOUNT_DISABLED: Final = Text("已关闭账号 {name}。", "Closed the account {name}.")
ACCOUNT_ENABLE_SUMMARY: Final = Text("重新开放账号", "open a closed account again")
ACCOUNT_ENABLE_EXAMPLES: Final = Text("medchain account enable wang", "medchain account enable wang")
ACCOUNT_ENABLED: Final = Text("账号 {name} 已重新开放。", "The account {name} is open again.")

ROTATE_SUMMARY: Final = Text(
    "更换签发令牌的密钥",
    "put new keys in the place of those that sign tokens",
)
ROTATE_EXAMPLES: Final = Text("medchain token rotate", "medchain token rotate")
ROTATED: Final = Text("新的签名密钥：{kids}", "New signing keys: {kids}")
