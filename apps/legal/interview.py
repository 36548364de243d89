"""The interview for a mutual non-disclosure agreement: what is asked, and how an answer is read.

Pure functions over text. A question knows how to find its answer in a free sentence (`find`, only
when the sentence says so unmistakably) and how to read a direct reply to itself (`read`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

Values = Mapping[str, Any]
Text = Any  # a string or a lazy translation

LONGEST_NAME = 200
LONGEST_PURPOSE = 600
MOST_YEARS = 20
LAWS: dict[str, tuple[str, str, str]] = {
    # key: the law's name in the agreement, the courts, words that mean it
    "england": (
        "the laws of England and Wales",
        "the courts of England and Wales",
        "england wales english britain uk london 英格兰 英国",
    ),
    "scotland": ("the laws of Scotland", "the courts of Scotland", "scotland scottish 苏格兰"),
    "ireland": ("the laws of Ireland", "the courts of Ireland", "ireland irish dublin 爱尔兰"),
    "new_york": (
        "the laws of the State of New York",
        "the state and federal courts located in New York County, New York",
        "new york 纽约",
    ),
    "delaware": (
        "the laws of the State of Delaware",
        "the state and federal courts located in the State of Delaware",
        "delaware 特拉华",
    ),
    "california": (
        "the laws of the State of California",
        "the state and federal courts located in San Francisco County, California",
        "california californian 加利福尼亚 加州",
    ),
    "germany": ("the laws of Germany", "the courts of Berlin, Germany", "germany german 德国"),
    "france": ("the laws of France", "the courts of Paris, France", "france french 法国"),
    "singapore": ("the laws of Singapore", "the courts of Singapore", "singapore 新加坡"),
    "hong_kong": (
        "the laws of the Hong Kong Special Administrative Region",
        "the courts of Hong Kong",
        "hong kong 香港",
    ),
    "china": (
        "the laws of the People's Republic of China",
        "the competent people's courts in Beijing",
        "china chinese prc 中国",
    ),
}
_NUMBER_WORDS = {
    **dict(
        zip(
            "one two three four five six seven eight nine ten".split(),
            range(1, 11),
            strict=True,
        )
    ),
    **dict(zip("一二三四五六七八九十", range(1, 11), strict=True)),
    "a": 1,
    "an": 1,
    "两": 2,
}
_MONTHS = (
    "january february march april may june july august september october november december".split()
)


class WrongAnswer(ValueError):
    """The reply can't be used; the message says what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Question:
    key: str
    label: Text
    ask: Text
    read: Callable[[str], Any]
    """The value of a direct reply. Raises `WrongAnswer`."""
    find: Callable[[str], Any]
    """The value in a free sentence, or None."""
    show: Callable[[Any], str] = str


def _clean(text: str, longest: int) -> str:
    cleaned = " ".join(text.split()).strip(" .,;:\"'“”")
    if not cleaned:
        raise WrongAnswer(_("I need a few words here."))
    if len(cleaned) > longest:
        raise WrongAnswer(
            _("That has %(length)d characters; at most %(limit)d are allowed here.")
            % {"length": len(cleaned), "limit": longest}
        )
    return cleaned


def read_name(text: str) -> str:
    name = re.sub(
        r"^(it'?s|it is|the (first|second|other) party is|we are|i am|my company is|called|名为|是)\s+",
        "",
        text.strip(),
        flags=re.IGNORECASE,
    )
    cleaned = _clean(name, LONGEST_NAME)
    if not re.search(r"[^\W\d_]{2,}|[\u4e00-\u9fff]", cleaned):
        raise WrongAnswer(_("A party's name needs letters, for example “Acme Ltd”."))
    return cleaned


def read_address(text: str) -> str:
    cleaned = _clean(text, LONGEST_NAME)
    if len(cleaned) < 6:
        raise WrongAnswer(_("I need a full address: street, town and country."))
    return cleaned


def read_purpose(text: str) -> str:
    cleaned = _clean(
        re.sub(
            r"^(the purpose is|it is|to|for|so that we can|because we want to|目的是|为了)\s+",
            "",
            text.strip(),
            flags=re.I,
        ),
        LONGEST_PURPOSE,
    )
    if len(cleaned.split()) < 2 and not re.search(r"[\u4e00-\u9fff]{4,}", cleaned):
        raise WrongAnswer(
            _("Say in a few words what the parties want to do, for example “evaluating a merger”.")
        )
    return cleaned[0].lower() + cleaned[1:] if cleaned[1:2].islower() else cleaned


def read_years(text: str) -> int:
    years = find_years(text)
    if years is None:
        found = re.search(r"\d+", text)
        years = int(found[0]) if found else None
    if years is None:
        raise WrongAnswer(_("I need a number of years, for example “2 years”."))
    return _in_range(years)


def _in_range(years: int) -> int:
    if not 1 <= years <= MOST_YEARS:
        raise WrongAnswer(
            _("The period must be 1 to %(most)d years; you said %(years)d.")
            % {"most": MOST_YEARS, "years": years}
        )
    return years


def find_years(text: str) -> int | None:
    found = re.search(
        r"\b(\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten|an?)[\s-]+(year|month)s?\b|"
        r"(\d{1,3}|[一二两三四五六七八九十])\s*(年|个月)",
        text,
        re.IGNORECASE,
    )
    if not found:
        return None
    word = (found[1] or found[3]).lower()
    number = int(word) if word.isdigit() else _NUMBER_WORDS[word]
    if (found[2] or found[4]).lower() in ("month", "个月"):
        return number // 12 if number % 12 == 0 and number else None
    return number


def read_law(text: str) -> str:
    law = find_law(text, direct=True)
    if law is None:
        raise WrongAnswer(
            _("I can draft under: %(laws)s. Name one of them.")
            % {"laws": ", ".join(law_name(key) for key in LAWS)}
        )
    return law


def find_law(text: str, *, direct: bool = False) -> str | None:
    """A law that the sentence names; a free sentence must speak of law, courts or governing."""
    lowered = f" {text.lower()} "
    if not direct and not re.search(r"\blaws?\b|\bgovern|\bcourts?\b|\bjurisdiction\b|法", lowered):
        return None
    for key, (_law, _courts, words) in LAWS.items():
        names = [key.replace("_", " ")] if "_" in key else words.split()
        names += [word for word in words.split() if re.search(r"[\u4e00-\u9fff]", word)]
        for name in names:
            if re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", lowered):
                return key
    return None


def law_name(key: str) -> str:
    return LAWS[key][0].removeprefix("the laws of ").removeprefix("the ").removeprefix("State of ")


def read_date(text: str, today: date | None = None) -> str:
    found = find_date(text, today)
    if found is None:
        raise WrongAnswer(_("I need a date such as 2026-12-01, “1 December 2026” or “today”."))
    return found


def find_date(text: str, today: date | None = None) -> str | None:
    """An ISO date. A numeric date is read as year-month-day only: 3/4 means different days."""
    today = today or date.today()
    lowered = text.lower()
    if re.search(r"\b(today|now|immediately|at once)\b|今天|即日", lowered):
        return today.isoformat()
    if re.search(r"\btomorrow\b|明天", lowered):
        return (today + timedelta(days=1)).isoformat()
    iso = re.search(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b|(\d{4})年(\d{1,2})月(\d{1,2})日", text)
    months = "|".join(_MONTHS)
    day_first = re.search(
        rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({months})\s+(\d{{4}})", lowered
    )
    month_first = re.search(rf"\b({months})\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})", lowered)
    try:
        if iso:
            year, month, day = (int(part) for part in iso.groups() if part)
            return date(year, month, day).isoformat()
        if day_first:
            return date(
                int(day_first[3]), _MONTHS.index(day_first[2]) + 1, int(day_first[1])
            ).isoformat()
        if month_first:
            return date(
                int(month_first[3]), _MONTHS.index(month_first[1]) + 1, int(month_first[2])
            ).isoformat()
    except ValueError:
        return None
    return None


_PARTY = r"[A-Z\u4e00-\u9fff][\w&.,'’\u4e00-\u9fff-]*(?:\s+(?:[A-Z&][\w&.'’-]*|and(?=\s+[A-Z]\w+\s+(?:Ltd|LLC|Inc|GmbH|plc))|of|de|plc|ltd|llc|inc|gmbh|ag|se|bv|oy|ab|srl)(?!\w))*"
_BETWEEN = re.compile(
    rf"\b(?:between|for)\s+(?P<a>{_PARTY}?)\s+and\s+(?P<b>{_PARTY})"
    r"|(?P<c>[\u4e00-\u9fffA-Za-z0-9]{2,40})(?:和|与)(?P<d>[\u4e00-\u9fffA-Za-z0-9]{2,40}?)(?:之间|签)",
)


def find_parties(text: str) -> tuple[str, str] | None:
    """The two names in “between A and B”."""
    found = _BETWEEN.search(text)
    if not found:
        return None
    first, second = found["a"] or found["c"], found["b"] or found["d"]
    if not first or not second:
        return None
    return first.strip(" ,."), second.strip(" ,.")


def _find_purpose(text: str) -> str | None:
    found = re.search(
        r"\b(?:purpose (?:is|of)|in order to|so that we can|because we want to)\s+([^.;\n]{6,300})",
        text,
        re.IGNORECASE,
    )
    return read_purpose(found[1]) if found else None


def _find_term(text: str) -> int | None:
    """Only where the sentence speaks of the agreement's length, not of the time after it."""
    if re.search(
        r"\b(surviv|after (?:it|the agreement)|confidential(?:ity)? (?:period|for))", text, re.I
    ):
        return None
    years = find_years(text)
    return None if years is None else _in_range(years)


def _find_survival(text: str) -> int | None:
    found = re.search(
        r"(?:surviv\w*|confidential\w*(?: period)?(?: for)?|after (?:it|the agreement) ends)[^.]{0,40}",
        text,
        re.IGNORECASE,
    )
    years = find_years(found[0]) if found else None
    return None if years is None else _in_range(years)


def _never(text: str) -> None:
    return None


def _years(value: int) -> str:
    return _("%(years)d years") % {"years": value} if value != 1 else _("1 year")


QUESTIONS: tuple[Question, ...] = (
    Question(
        key="party_a",
        label=gettext_lazy("First party"),
        ask=gettext_lazy("Who is the first party? Give its full legal name."),
        read=read_name,
        find=lambda text: (find_parties(text) or (None, None))[0],
    ),
    Question(
        key="party_a_address",
        label=gettext_lazy("First party's address"),
        ask=gettext_lazy("What is the address of the first party?"),
        read=read_address,
        find=_never,
    ),
    Question(
        key="party_b",
        label=gettext_lazy("Second party"),
        ask=gettext_lazy("Who is the second party? Give its full legal name."),
        read=read_name,
        find=lambda text: (find_parties(text) or (None, None))[1],
    ),
    Question(
        key="party_b_address",
        label=gettext_lazy("Second party's address"),
        ask=gettext_lazy("What is the address of the second party?"),
        read=read_address,
        find=_never,
    ),
    Question(
        key="purpose",
        label=gettext_lazy("Purpose"),
        ask=gettext_lazy(
            "Why do the parties exchange confidential information? "
            "For example: “evaluating a joint product”."
        ),
        read=read_purpose,
        find=_find_purpose,
    ),
    Question(
        key="effective_date",
        label=gettext_lazy("Effective date"),
        ask=gettext_lazy("From which date does the agreement apply?"),
        read=read_date,
        find=find_date,
    ),
    Question(
        key="term_years",
        label=gettext_lazy("Term"),
        ask=gettext_lazy("For how many years may information be exchanged under it?"),
        read=read_years,
        find=_find_term,
        show=_years,
    ),
    Question(
        key="survival_years",
        label=gettext_lazy("Confidential for"),
        ask=gettext_lazy("For how many years after that must the information stay confidential?"),
        read=read_years,
        find=_find_survival,
        show=_years,
    ),
    Question(
        key="law",
        label=gettext_lazy("Governing law"),
        ask=gettext_lazy("Which law governs the agreement? For example: England and Wales."),
        read=read_law,
        find=find_law,
        show=law_name,
    ),
)
BY_KEY = {question.key: question for question in QUESTIONS}


def next_question(values: Values) -> Question | None:
    return next((one for one in QUESTIONS if one.key not in values), None)


def check(values: Values) -> None:
    """Raises `WrongAnswer` for values that are fine alone but not together."""
    if (
        values.get("party_a")
        and values["party_a"].casefold() == values.get("party_b", "").casefold()
    ):
        raise WrongAnswer(_("The two parties have the same name; an agreement needs two."))
