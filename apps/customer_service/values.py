"""Finding values of a slot in a text and bringing them to the form in which they are stored."""

import calendar
import datetime
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from apps.customer_service.phrases import STOP_WORDS, clean, stem, words
from apps.customer_service.schema import CURRENCIES, Slot

SlotValue = str | int | float
LONGEST_ANSWER = 300
FUZZY_FROM = 0.8
"""Least similarity at which a misspelt word counts as a listed value."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of the values that a slot may take just now."""

    value: str
    title: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """A value of a slot, and where the message says so."""

    slot: str
    value: SlotValue
    text: str
    start: int
    end: int
    confidence: float
    source: str = "said"
    """"said", or "model" when the language model alone read it."""


def choices_of(slot: Slot, options: Sequence[Mapping[str, str]] = ()) -> tuple[Choice, ...]:
    """The listed values of the slot, or those of the list that was last shown for it."""
    if options:
        return tuple(Choice(value=str(o["value"]), title=str(o["title"])) for o in options)
    return tuple(
        Choice(value=value.name, title=value.title, synonyms=value.synonyms)
        for value in slot.values
    )


def find(
    slot: Slot, text: str, *, today: datetime.date, choices: Sequence[Choice] = (), asked: bool
) -> list[Found]:
    """Every place in the clean text that gives the slot a value, in the order of the text."""
    if slot.kind == "categorical":
        return list(_find_choice(slot, text, choices, asked))
    if slot.kind == "time":
        hits = list(_find_times(slot, text, choices, asked))
    elif slot.kind == "date":
        hits = list(_find_dates(slot, text, today))
    elif slot.kind == "number":
        hits = list(_find_numbers(slot, text))
    elif slot.kind == "money":
        hits = list(_find_money(slot, text, asked))
    elif slot.kind == "phone":
        hits = list(_find_phones(slot, text))
    elif slot.kind == "email":
        hits = list(_find_emails(slot, text))
    elif slot.kind == "pattern":
        hits = list(_find_pattern(slot, text))
    else:
        return list(_find_after_cue(slot, text))
    if not choices:
        return hits
    among = {choice.value for choice in choices}
    return [hit for hit in hits if str(hit.value) in among] or list(
        _find_ordinal(slot, text, choices, asked and not hits)
    )


def normalise(
    slot: Slot, raw: str, *, today: datetime.date, choices: Sequence[Choice] = ()
) -> SlotValue:
    """The stored form of a value that was typed into a field.

    Raises `WrongValue` when it is not a value of the slot.
    """
    text = clean(raw)
    if not text:
        raise WrongValue("empty")
    if slot.kind == "text":
        if len(text) > LONGEST_ANSWER:
            raise WrongValue("long")
        if not fits(slot, text):
            raise WrongValue("form")
        return text
    if slot.kind == "categorical":
        for choice in choices:
            if text.casefold() in (choice.value.casefold(), choice.title.casefold()):
                return choice.value
    found = find(slot, text, today=today, choices=choices, asked=True)
    if len(found) != 1 or found[0].confidence < 0.5:
        raise WrongValue("form")
    outside = text[: found[0].start] + text[found[0].end :]
    if slot.kind != "categorical" and re.search(r"\w", outside):
        raise WrongValue("form")
    return found[0].value


class WrongValue(ValueError):
    """Not a value of the slot; the argument is "empty", "long" or "form"."""


def fits(slot: Slot, text: str) -> bool:
    """Whether a free text has the form that its slot asks for, if it asks for one."""
    return not slot.pattern or bool(re.fullmatch(slot.pattern, text, re.IGNORECASE))


def title_of(slot: Slot, value: SlotValue, choices: Sequence[Choice] = ()) -> str:
    """How a stored value is shown."""
    for choice in (*choices, *choices_of(slot)):
        if choice.value == value:
            return choice.title
    return str(value)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])", re.IGNORECASE)


def _find_pattern(slot: Slot, text: str) -> Iterator[Found]:
    for match in _compiled(slot.pattern).finditer(text):
        value = slot.form or "{0}"
        for number, part in enumerate((match.group(), *match.groups(""))):
            value = value.replace(f"{{{number}}}", part)
        yield _found(slot, match, value.upper() if slot.upper else value, 0.98)


_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+'-])[A-Za-z0-9](?:[A-Za-z0-9._%+'-]{0,63})@"
    r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5}(?![A-Za-z0-9])"
)
_SPOKEN_EMAIL = re.compile(
    r"\b([a-z0-9][a-z0-9._+-]{0,63}) (?:at|\(at\)|\[at\]) ([a-z0-9-]{1,63})"
    r" ?(?:dot|\(dot\)|\[dot\]) ?([a-z]{2,10})\b",
    re.IGNORECASE,
)


def _find_emails(slot: Slot, text: str) -> Iterator[Found]:
    for match in _EMAIL.finditer(text):
        yield _found(slot, match, match.group().lower(), 0.98)
    for match in _SPOKEN_EMAIL.finditer(text):
        yield _found(slot, match, f"{match[1]}@{match[2]}.{match[3]}".lower(), 0.75)


def _found(slot: Slot, match: re.Match[str], value: SlotValue, confidence: float) -> Found:
    return Found(
        slot=slot.name,
        value=value,
        text=match.group(),
        start=match.start(),
        end=match.end(),
        confidence=confidence,
    )


_PHONE = re.compile(
    r"(?<![A-Za-z0-9_+/.-])(?!\d{4}-\d{1,2}-\d{1,2}(?!\d)|\d{1,2}[./]\d{1,2}[./]\d{2,4}(?!\d))"  # no date
    r"(?:\+|00)?\(?\d[\d\s()./-]{5,20}\d(?![A-Za-z0-9_-])"
)


def _find_phones(slot: Slot, text: str) -> Iterator[Found]:
    for match in _PHONE.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if not 7 <= len(digits) <= 15:
            continue
        if match.group().startswith("+"):
            value = f"+{digits}"
        elif digits.startswith("00"):
            value = f"+{digits[2:]}"
        elif digits.startswith("0") and slot.country_code:
            value = f"+{slot.country_code}{digits[1:]}"
        else:
            value = digits
        yield _found(slot, match, value, 0.95)


_CHINESE_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九十")} | {"两": 2}
_CHINESE_NUMERAL = "[一二两三四五六七八九]?十[一二三四五六七八九]?|[零一二两三四五六七八九]"
_ONE_TO_NINE = "[一二两三四五六七八九]"
_CHINESE_AMOUNT = (
    rf"(?=[零一二两三四五六七八九十])(?:{_ONE_TO_NINE}万零?)?(?:{_ONE_TO_NINE}千零?)?"
    rf"(?:{_ONE_TO_NINE}百零?)?(?:{_CHINESE_NUMERAL})?"
)
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10_000}


def _chinese_number(written: str) -> int:
    """Of digits or Chinese numerals; 一百五 is 150, 一百零五 is 105."""
    if written.isdecimal():
        return int(written)
    total, digit, unit = 0, 0, 1
    for sign in written:
        if sign in _CHINESE_UNITS:
            unit = _CHINESE_UNITS[sign]
            total += (digit or 1) * unit
            digit = 0
        elif sign == "零":
            unit = 1
        else:
            digit = _CHINESE_DIGITS[sign]
    return total + digit * max(unit // 10, 1)


_CURRENCY_WORDS = {
    "£": "GBP", "pound": "GBP", "pounds": "GBP", "quid": "GBP", "€": "EUR", "euro": "EUR",
    "euros": "EUR", "$": "", "dollar": "", "dollars": "", "bucks": "", "¥": "", "￥": "",
    "yen": "JPY", "yuan": "CNY", "rmb": "CNY", "元": "CNY", "块": "CNY", "块钱": "CNY",
    "rupees": "INR", "₹": "INR", "francs": "CHF",
} | {code.lower(): code for code in CURRENCIES}  # fmt: skip
"""Signs and words; "" for those of several currencies."""
_CURRENCY = "|".join(sorted(map(re.escape, _CURRENCY_WORDS), key=len, reverse=True))
# 一块 before another word is "together" or "a piece".
_CHINESE_MONEY = rf"(?!一块(?!钱)[\u3400-\u9fff])(?P<chinese>{_CHINESE_AMOUNT})(?P<unit>元|块钱|块)"
_MONEY = re.compile(
    rf"(?:(?P<before>{_CURRENCY})\s?)?(?<![A-Za-z0-9_.,])"
    rf"(?P<amount>\d{{1,3}}(?:,\d{{3}})+(?:\.\d{{1,2}})?|\d{{1,7}}(?:[.,]\d{{1,2}})?)(?!\d|[.,]\d)"
    rf"(?:\s?(?P<after>{_CURRENCY})(?![a-z]))?(?![a-z\d/:-])"
    rf"|(?<![第百千万几数]){_CHINESE_MONEY}",
    re.IGNORECASE,
)


def _find_money(slot: Slot, text: str, asked: bool) -> Iterator[Found]:
    for match in _MONEY.finditer(text):
        sign = (match["before"] or match["after"] or match["unit"] or "").lower()
        if not sign and not asked:
            continue
        currency = _CURRENCY_WORDS.get(sign, "")
        if currency and slot.currency and currency != slot.currency:
            continue
        value = _amount(match)
        if _in_range(slot, value):
            exact = int(value) if value.is_integer() else value
            yield _found(slot, match, exact, 0.95 if sign else 0.85)


def _amount(match: re.Match[str]) -> float:
    if match["chinese"]:
        return float(_chinese_number(match["chinese"]))
    written = match["amount"]
    if re.fullmatch(r"\d+,\d{1,2}", written):
        written = written.replace(",", ".")
    return float(written.replace(",", ""))


_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "couple": 2, "dozen": 12, "single": 1}
_COUNTED = "[个件只台盏条份位名人口]"
_NUMBER = re.compile(
    r"(?<![\w.,/@#-])(?P<digits>\d{1,7}(?:\.\d{1,3})?)(?![\w@/-]|[.,]\d)"
    rf"|\b(?P<word>{'|'.join(_NUMBER_WORDS)})\b"
    rf"|(?<![A-Za-z0-9.-])(?<!\d,)(?P<mixed>\d{{1,7}})(?:{_COUNTED}(?:大?人)?|(?=\W*$))"
    rf"|(?<![第十百千万周期拜])(?P<chinese>{_CHINESE_AMOUNT}){_COUNTED}(?:大?人)?"
    rf"|(?:^|(?<=[\s,是要就成为到]))(?P<alone>{_CHINESE_NUMERAL})(?=吧?\W*$)",
    re.IGNORECASE,
)


def _find_numbers(slot: Slot, text: str) -> Iterator[Found]:
    dates = [match for match in _DATE.finditer(text) if re.search(r"\d", match.group())]
    for match in _NUMBER.finditer(text):
        if any(date.start() <= match.start() < date.end() for date in dates):
            continue  # "born 12 May" says nothing of twelve people
        value = _number(match)
        if match["word"] and match["word"].lower() == "one" and _is_pronoun(text, match):
            continue
        if _in_range(slot, value):
            yield _found(slot, match, value, 0.9)


def _in_range(slot: Slot, value: float) -> bool:
    return (slot.minimum is None or value >= slot.minimum) and (
        slot.maximum is None or value <= slot.maximum
    )


def _number(match: re.Match[str]) -> int | float:
    if digits := match["digits"] or match["mixed"]:
        return float(digits) if "." in digits else int(digits)
    if match["word"]:
        return _NUMBER_WORDS[match["word"].lower()]
    return _chinese_number(match["chinese"] or match["alone"])


def _is_pronoun(text: str, match: re.Match[str]) -> bool:
    """The "one" in "the second one", "this one" or "one more thing" counts nothing."""
    before = words(text[: match.start()])
    if re.match(
        r"\s+(?:more|thing|of (?:the|my)|second\b|moment|last)", text[match.end() :].lower()
    ):
        return True
    return bool(before) and (before[-1] in _ORDINALS or before[-1] in STOP_WORDS - {"just", "to"})


_MONTHS = {
    name: number
    for number in range(1, 13)
    for name in (calendar.month_name[number].lower(), calendar.month_abbr[number].lower())
} | {"sept": 9}
_WEEKDAYS = {
    name: number
    for number in range(7)
    for name in (calendar.day_name[number].lower(), calendar.day_abbr[number].lower())
} | {"tues": 1, "thur": 3, "thurs": 3}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_WEEKDAY = "|".join(sorted(_WEEKDAYS, key=len, reverse=True))
_SMALL = "|".join(word for word, number in _NUMBER_WORDS.items() if 1 <= number <= 14)
_DATE = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?P<y>\d{4})[-/.年](?P<m>\d{1,2})[-/.月](?P<d>\d{1,2})日?"
    r"|(?P<n1>\d{1,2})[/.](?P<n2>\d{1,2})(?:[/.](?P<n3>\d{4}|\d{2}))?"
    rf"|(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m1>{_MONTH})\.?(?:,? (?P<y1>\d{{4}}))?"
    rf"|(?P<m2>{_MONTH})\.? (?:the )?(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<y2>\d{{4}}))?"
    r"|(?P<word>day after tomorrow|day before yesterday|today|tonight|tomorrow|yesterday)"
    rf"|in (?P<in>\d{{1,3}}|an?|{_SMALL}) (?P<inunit>days?|weeks?)(?: time)?"
    rf"|(?P<ago>\d{{1,3}}|an?|{_SMALL}) (?P<agounit>days?|weeks?) ago"
    rf"|(?P<which>next|this|last|on|coming)? ?(?P<weekday>{_WEEKDAY})"
    r"|(?:on )?the (?P<dom>\d{1,2})(?:st|nd|rd|th)"
    r")(?![A-Za-z0-9_-])"
    rf"|(?<!\d)(?P<cm>\d{{1,2}}|{_CHINESE_NUMERAL})月(?P<cd>\d{{1,2}}|{_CHINESE_NUMERAL})(?:[日号]|(?!\d))"
    r"|(?P<cwhich>这个?|本|下下个?|下个?|上个?)?(?:周|星期|礼拜)(?P<cday>[一二三四五六日天])"
    rf"|(?<![\d第月])(?P<cdom>\d{{1,2}}|{_CHINESE_NUMERAL})号(?![码楼线])"
    r"|(?P<chinese>大后天|[后明今昨前]天|[后明今昨]晚|[明今]早)",
    re.IGNORECASE,
)
_CHINESE_DAYS = {"大": 3, "后": 2, "明": 1, "今": 0, "昨": -1, "前": -2}
_CHINESE_WEEKS = {"下下": 2, "下": 1, "上": -1}
_DAY_WORDS = {
    "today": 0,
    "tonight": 0,
    "tomorrow": 1,
    "yesterday": -1,
    "day after tomorrow": 2,
    "day before yesterday": -2,
}


def _find_dates(slot: Slot, text: str, today: datetime.date) -> Iterator[Found]:
    for match in _DATE.finditer(text):
        day, confidence = _date(match, today)
        if day is not None and _in_range(slot, (day - today).days):
            yield _found(slot, match, day.isoformat(), confidence)


def without_times(text: str) -> str:
    """The text without days and times of day, and counts in Chinese, which tell of no wish."""
    for pattern in (_DATE, _TIME, _CHINESE_COUNT):
        text = pattern.sub("", text)
    return text


_CHINESE_COUNT = re.compile(rf"(?:\d{{1,3}}|{_CHINESE_NUMERAL}){_COUNTED}人?")


def _date(match: re.Match[str], today: datetime.date) -> tuple[datetime.date | None, float]:
    part = match.groupdict()
    if part["y"]:
        return _day(int(part["y"]), int(part["m"]), int(part["d"])), 0.98
    if part["cm"]:
        return _coming(_chinese_number(part["cm"]), _chinese_number(part["cd"]), today), 0.9
    if part["cday"]:
        return _chinese_weekday(part["cday"], part["cwhich"] or "", today), 0.85
    if part["n1"]:
        return _numeric_date(part, today)
    if month := part["m1"] or part["m2"]:
        number, day = _MONTHS[month.lower()], int(part["d1"] or part["d2"])
        year = part["y1"] or part["y2"]
        if year:
            return _day(int(year), number, day), 0.98
        return _coming(number, day, today), 0.9
    if part["word"]:
        return today + datetime.timedelta(days=_DAY_WORDS[part["word"].lower()]), 0.95
    if part["chinese"]:
        return today + datetime.timedelta(days=_CHINESE_DAYS[part["chinese"][0]]), 0.95
    if part["in"]:
        return today + _span(part["in"], part["inunit"]), 0.9
    if part["ago"]:
        return today - _span(part["ago"], part["agounit"]), 0.9
    if part["weekday"]:
        return _weekday(part["weekday"].lower(), (part["which"] or "").lower(), today)
    day = _chinese_number(part["dom"] or part["cdom"])
    this_month = _day(today.year, today.month, day)
    if this_month and this_month >= today:
        return this_month, 0.85
    following = today.replace(day=1) + datetime.timedelta(days=32)
    return _day(following.year, following.month, day), 0.8


def _numeric_date(
    part: Mapping[str, str], today: datetime.date
) -> tuple[datetime.date | None, float]:
    """Day first; when the month could come first as well, the person is asked to verify it."""
    first, second = int(part["n1"]), int(part["n2"])
    if part["n3"] is None:
        return None, 0.0
    year = int(part["n3"]) + (2000 if len(part["n3"]) == 2 else 0)
    if first <= 12 and second <= 12 and first != second:
        return _day(year, second, first), 0.5
    day, month = (second, first) if second > 12 else (first, second)
    return _day(year, month, day), 0.95


def _day(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def _coming(month: int, day: int, today: datetime.date) -> datetime.date | None:
    """A date without a year: the nearest one that is not more than half a year ago."""
    this_year = _day(today.year, month, day)
    if this_year and (today - this_year).days > 183:
        return _day(today.year + 1, month, day)
    return this_year


def _span(count: str, unit: str) -> datetime.timedelta:
    lower = count.lower()
    number = 1 if lower in ("a", "an") else _NUMBER_WORDS.get(lower) or int(lower)
    return datetime.timedelta(days=number * (7 if unit.lower().startswith("week") else 1))


def _weekday(name: str, which: str, today: datetime.date) -> tuple[datetime.date, float]:
    wanted = _WEEKDAYS[name]
    if which == "last":
        back = (today.weekday() - wanted) % 7 or 7
        return today - datetime.timedelta(days=back), 0.85
    ahead = (wanted - today.weekday()) % 7
    if which == "next":
        # People differ on whether "next Friday" skips the coming one.
        return today + datetime.timedelta(days=ahead or 7), 0.7
    return today + datetime.timedelta(days=ahead), 0.85


def _chinese_weekday(sign: str, which: str, today: datetime.date) -> datetime.date:
    """Weeks begin on Monday; without a week the coming day is meant."""
    wanted = "一二三四五六日".index("日" if sign == "天" else sign)
    if not which:
        return today + datetime.timedelta(days=(wanted - today.weekday()) % 7)
    weeks = _CHINESE_WEEKS.get(which.removesuffix("个"), 0)
    return today + datetime.timedelta(days=wanted - today.weekday() + 7 * weeks)


_HOUR_WORD = "|".join(
    word for word, number in _NUMBER_WORDS.items() if 1 <= number <= 12 and word != "couple"
)
_CHINESE_HOUR = "十[一二]|[一二两三四五六七八九十]"
_TIME = re.compile(
    r"(?<![A-Za-z0-9_:.+-])(?:"
    r"(?P<h>\d{1,2})[:.](?P<m>[0-5]\d)(?::[0-5]\d)?(?:\s?(?P<half>[ap])\.?m\.?)?"
    r"|(?P<h1>\d{1,2})(?:\s?(?P<half1>[ap])\.?m\b\.?| ?o'?clock\b| ?h\b)"
    r"|(?P<part>half past|quarter past|quarter to|\d{1,2} (?:past|to)|ten (?:past|to)"
    r"|five (?:past|to)|twenty (?:past|to))"
    rf" (?P<h2>\d{{1,2}}|{_HOUR_WORD})(?:\s?(?P<half2>[ap])\.?m\b)?"
    r"|(?P<word>noon|midday|midnight)"
    rf"|(?P<at>at|around|about|@|by|from|to) ?(?P<h3>\d{{1,2}}|{_HOUR_WORD})(?![\w:/.-]|\s?(?:people|persons|guests|of us))"
    rf"|(?P<bare>^\W*(?P<h4>\d{{1,2}}|{_HOUR_WORD})(?: please)?\W*$)"
    r")(?![\d:])"
    rf"|(?P<daypart>上午|早上|中午|下午|傍晚|晚上|今晚)?(?P<ch>\d{{1,2}}|{_CHINESE_HOUR})[点时]"
    rf"(?P<cm>半|一刻|三刻|[0-5]?\d分?|(?:[二三四五]?十{_ONE_TO_NINE}?|零{_ONE_TO_NINE})(?:分|(?!{_COUNTED}))"
    rf"|{_ONE_TO_NINE}分)?",
    re.IGNORECASE,
)
_LATER = re.compile(r"\b(?:evening|tonight|afternoon|night|dinner|pm)\b|晚|下午")
_EARLIER = re.compile(r"\b(?:morning|breakfast)\b|早上|上午")


def _find_times(slot: Slot, text: str, choices: Sequence[Choice], asked: bool) -> Iterator[Found]:
    """Times of day as HH:MM. Half a day that isn't said is taken from the list, the slot's hours
    or words like "evening"; where all of them leave both open, the value is verified."""
    among = {choice.value for choice in choices}
    for match in _TIME.finditer(text):
        if match["bare"] and (not asked or _is_rank(match["h4"], choices)):
            continue
        minutes, sure = _minutes(match, text)
        if minutes is None:
            continue
        possible = [minutes] if sure else [minutes, minutes + 720]
        possible = [one for one in possible if _in_range(slot, one / 60) and one < 1440]
        listed = [one for one in possible if _clock(one) in among]
        possible = listed or possible
        if not possible:
            continue
        if len(possible) == 1:
            yield _found(slot, match, _clock(possible[0]), 0.95 if sure else 0.9)
        else:
            # At seven is rarely at seven in the morning; nine rarely at night.
            yield _found(slot, match, _clock(possible[1 if minutes < 480 else 0]), 0.55)


def _is_rank(number: str, choices: Sequence[Choice]) -> bool:
    """A bare "2" below a numbered list means its second line, not two o'clock."""
    return number.isdecimal() and int(number) <= len(choices)


def _minutes(match: re.Match[str], text: str) -> tuple[int | None, bool]:
    """Minutes after midnight, and whether the half of the day is sure."""
    if match["word"]:
        return (0 if match["word"].lower() == "midnight" else 720), True
    if match["ch"]:
        return _chinese_minutes(match)
    spoken = match["h"] or match["h1"] or match["h2"] or match["h3"] or match["h4"]
    hour = int(spoken) if spoken.isdecimal() else _NUMBER_WORDS[spoken.lower()]
    minute = int(match["m"] or 0)
    if hour > 23:
        return None, False
    half = (match["half"] or match["half1"] or match["half2"] or "").lower()
    if not half and hour <= 12:
        half = "p" if _LATER.search(text.lower()) else "a" if _EARLIER.search(text.lower()) else ""
    sure = bool(half) or hour > 12 or spoken.startswith("0")
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    elif not sure:
        hour %= 12
    minutes = 60 * hour + minute
    if part := match["part"]:
        number, _space, direction = part.lower().partition(" ")
        step = {"half": 30, "quarter": 15}.get(number) or _NUMBER_WORDS.get(number) or int(number)
        minutes += step if direction.endswith("past") else -step
    return minutes % 1440, sure


def _chinese_minutes(match: re.Match[str]) -> tuple[int | None, bool]:
    spoken = match["ch"]
    if spoken.isdecimal():
        hour = int(spoken)
    else:
        hour = 10 + _CHINESE_DIGITS[spoken[1]] if len(spoken) == 2 else _CHINESE_DIGITS[spoken]
    if hour > 23:
        return None, False
    part = match["cm"] or ""
    minute = {"半": 30, "一刻": 15, "三刻": 45, "": 0}.get(part)
    if minute is None:
        minute = _chinese_number(part.removesuffix("分"))
    later = match["daypart"] in ("下午", "傍晚", "晚上", "今晚") or (
        match["daypart"] == "中午" and hour < 3
    )
    sure = bool(match["daypart"]) or hour > 12
    if later and hour < 12:
        hour += 12
    return 60 * (hour % 12 if not sure else hour) + minute, sure


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


_ORDINALS = {
    "first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2, "fourth": 3, "4th": 3,
    "fifth": 4, "5th": 4, "sixth": 5, "6th": 5, "seventh": 6, "7th": 6, "eighth": 7, "8th": 7,
    "last": -1, "former": 0, "latter": -1,
}  # fmt: skip
_ORDINAL = re.compile(
    rf"\b(?:the )?(?P<word>{'|'.join(_ORDINALS)})\b(?: (?:one|item|option|choice))?"
    r"|(?:\b(?:number|no\.?|option|item) |#)(?P<number>\d{1,2})\b"
    r"|第(?P<chinese>[一二三四五六七八九十\d])(?:个|件|项|款)?(?![次天年月周季回十\d])"
    r"|^\W*(?P<bare>\d{1,2})\W*$",
    re.IGNORECASE,
)
_NOT_BEFORE = re.compile(
    r"(?:\bnot|\binstead of|\brather than|n't|不是|不要|不想[要住吃去]?|除了)(?: (?:the|a|my|is|for))*\W*$"
)


def denied(text: str, start: int) -> bool:
    """The value at `start` is named only to be ruled out ("not HP-10421 but …")."""
    return bool(_NOT_BEFORE.search(text[:start].lower()))


def _find_choice(slot: Slot, text: str, choices: Sequence[Choice], asked: bool) -> Iterator[Found]:
    exact = list(_find_listed(slot, text, choices))
    if exact:
        yield from exact
        return
    counted = list(_find_ordinal(slot, text, choices, asked))
    if counted:
        yield from counted
    elif asked or slot.values_from is not None:
        yield from _find_nearly(slot, text, choices)


def _find_ordinal(
    slot: Slot, text: str, choices: Sequence[Choice], bare_numbers: bool
) -> Iterator[Found]:
    """ "The second one" of the choices; a number alone counts only where that is asked for."""
    for match in _ORDINAL.finditer(text):
        if match["bare"] and not bare_numbers:
            continue
        index = _ordinal(match)
        if -1 <= index < len(choices):
            yield _found(slot, match, choices[index].value, 0.92)
            return


def _ordinal(match: re.Match[str]) -> int:
    if match["word"]:
        return _ORDINALS[match["word"].lower()]
    if match["chinese"]:
        sign = match["chinese"]
        return (int(sign) if sign.isdigit() else _CHINESE_DIGITS[sign]) - 1
    number = int(match["number"] or match["bare"])
    return number - 1 if number else 99


def _find_listed(slot: Slot, text: str, choices: Sequence[Choice]) -> Iterator[Found]:
    """Titles and synonyms that stand in the text as they are; the longest match at a place wins."""
    lower = text.lower()
    hits: list[Found] = []
    for choice in choices:
        for name in dict.fromkeys((choice.title, choice.value, *choice.synonyms)):
            for match in re.finditer(as_whole(name.lower()), lower):
                hits.append(_found(slot, match, choice.value, 0.95))
    hits.sort(key=lambda hit: (hit.start - hit.end, hit.start))
    taken: list[Found] = []
    for hit in hits:
        if all(hit.end <= other.start or hit.start >= other.end for other in taken):
            taken.append(hit)
    yield from sorted(taken, key=lambda hit: hit.start)


def as_whole(name: str) -> str:
    """A pattern for the name where no word or number goes on at its ends: no "5分" in "4.5分".

    Chinese words have no edges to look for.
    """
    before = r"(?<![a-z0-9])" if name[:1].isascii() else ""
    if name[:1].isdigit():
        before += r"(?<!\d[.,])"
    after = r"(?![a-z0-9])" if name[-1:].isascii() else ""
    return f"{before}{re.escape(name)}{after}"


def _find_nearly(slot: Slot, text: str, choices: Sequence[Choice]) -> Iterator[Found]:
    """The choice whose own words (those that no other choice has) the text names, typos allowed."""
    spoken = [
        (match.group().lower(), match.start(), match.end())
        for match in re.finditer(r"[A-Za-z0-9]+", text)
        if match.group().lower() not in STOP_WORDS
    ]
    names = {
        choice.value: {
            word
            for name in (choice.title, *choice.synonyms)
            for word in words(name)
            if word.isascii() and word not in STOP_WORDS
        }
        for choice in choices
    }
    scored: list[tuple[float, str, int, int]] = []
    for choice in choices:
        others = set().union(*(own for value, own in names.items() if value != choice.value))
        best: tuple[float, int, int] | None = None
        total = 0.0
        for word, start, end in spoken:
            likeness = _likeness(word, names[choice.value] - others)
            total += likeness
            if likeness and (best is None or likeness > best[0]):
                best = (likeness, start, end)
        if best is not None:
            scored.append((total, choice.value, best[1], best[2]))
    scored.sort(reverse=True)
    if scored and (len(scored) == 1 or scored[0][0] - scored[1][0] >= 0.5):
        _total, value, start, end = scored[0]
        word = text[start:end]
        sure = _likeness(word.lower(), names[value]) == 1.0
        yield Found(
            slot=slot.name,
            value=value,
            text=word,
            start=start,
            end=end,
            confidence=0.8 if sure else 0.65,
        )


def _likeness(word: str, own: set[str]) -> float:
    if word in own or stem(word) in {stem(other) for other in own}:
        return 1.0
    if len(word) < 4:
        return 0.0
    best = max(
        (
            difflib.SequenceMatcher(None, word, other).ratio()
            for other in own
            if abs(len(other) - len(word)) <= 2 and len(other) >= 4
        ),
        default=0.0,
    )
    return best if best >= FUZZY_FROM else 0.0


def _find_after_cue(slot: Slot, text: str) -> Iterator[Found]:
    """A free text after words that announce it; the longest cue at the first place."""
    cues = sorted((*slot.cues, *_title_cues(slot)), key=len, reverse=True)
    if not cues:
        return
    alternatives = "|".join(_cue_pattern(cue) for cue in cues)
    pattern = rf"(?:{alternatives})\W{{0,3}}(?P<value>[^\n?!;。？！]{{1,120}})"
    match = re.search(pattern, text, re.IGNORECASE)
    if match is None:
        return
    value = re.sub(r"^(?:an?|the|any|some|new|one of your|your)\s+", "", match["value"], flags=re.I)
    value = re.split(r"\.(?:\s|$)|,?\s+(?:and|but|because|please|then|also)\b", value, maxsplit=1)[
        0
    ].strip(" ,.\"'“”")
    # A Chinese clause ends at its comma.
    value = re.split(r"[,、](?=\s*[\u3400-\u9fff])", value, maxsplit=1)[0]
    if words(value) and not set(words(value)) <= STOP_WORDS:
        start = text.index(value, match.start("value"))
        yield Found(
            slot=slot.name,
            value=value,
            text=value,
            start=start,
            end=start + len(value),
            confidence=0.8,
        )


def spoken_names(slot: Slot) -> tuple[str, ...]:
    """What people call the slot: its title, and its name in words."""
    return tuple(dict.fromkeys((slot.title.lower(), slot.name.replace("_", " "))))


def _title_cues(slot: Slot) -> tuple[str, ...]:
    verbs = (" is", " should be", " to", " will be", ":", "是")
    return tuple(f"{name}{verb}" for name in spoken_names(slot) for verb in verbs)


def _cue_pattern(cue: str) -> str:
    escaped = re.escape(cue)
    return rf"(?<![A-Za-z0-9]){escaped}" if cue[:1].isascii() else escaped
