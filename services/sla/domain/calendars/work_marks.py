"""Which events of a calendar feed say that people work: not every one of them is time off.

Countries that give days off in exchange for work publish both in one feed. Their feeds mark the
work by a word in the title or the categories, or by a property of Apple's. A description proves
nothing: that of a holiday lists the days on which it is worked off.
"""

import re
from typing import Final, Literal

Mark = Literal["work", "unclear", "off"]
"""Whether an event is about work, perhaps so, or not."""

_WORK: Final = re.compile(
    r"上班|补班|補班|补工|出勤日|营业日|営業日|工作日|[(（\[【「]\s*[补補]?班\s*[)）\]】」]"
    r"|\bwork(?:ing)?[ -]?(?:day|saturday|sunday|weekend)s?\b|\bmake[ -]?up (?:day|work)"
    r"|\b(?:business|trading) day\b|\bday worked\b"
    r"|рабоч\w+ (?:день|дни|субб\w+|воскр\w+)|робоч\w+ (?:день|дні|субо\w+|неді\w+)"
    r"|работ\w+ (?:ден|дни|събо\w+|неде\w+)|жұмыс күні"
    r"|munkanap|darba diena|darbo diena|dzień roboczy|pracovn[ýí] de[ňn]"
    r"|làm bù|ngày làm việc|근무일|대체\s?근무"
    r"|\barbeitstag|\bjour (?:ouvr[ée]|ouvrable|travaillé)|\bd[ií]a (?:laborable|hábil|útil)",
    re.IGNORECASE,
)
_DENIED: Final = re.compile(
    r"(?:非|无需|無需|不用|不|停止|免|暂停)(?:工作日|上班|补班|補班|营业日|営業日)"
    r"|\b(?:non|not|no)[ -]+(?:a |an )?(?:work|business|trading)"
    r"|\bне\s?рабоч|\bне\s?робоч|\bне\s?работ"
    r"|\bkein\w* arbeitstag|\bno (?:es )?(?:d[ií]a )?(?:laborable|hábil|útil)|\bnem munkanap"
    r"|\bnon (?:ouvr|travaill)",
    re.IGNORECASE,
)
_UNCLEAR: Final = re.compile(
    r"调休|調休|调班|調班|换休|換休|倒休|\bswap(?:ped)? day|\bexchange day"
)
_SPECIAL: Final[dict[str, Mark]] = {"ALTERNATE-WORKDAY": "work", "WORK-HOLIDAY": "off"}


def mark_of(title: str, categories: str = "", special: str = "") -> Mark:
    """Return what an event says of work; `special` is its X-APPLE-SPECIAL-DAY, if it has one."""
    if known := _SPECIAL.get(special.strip().upper()):
        return known
    told = f"{title}\n{categories}"
    if _WORK.search(_DENIED.sub("", told)):
        return "work"
    return "unclear" if _UNCLEAR.search(told) and not _DENIED.search(told) else "off"
