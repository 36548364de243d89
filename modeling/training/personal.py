"""Possible personal data in a text: e-mail, telephone, payment card, bank account.

These are hints for a person who reads the data before it is learnt, not a guarantee: names and
addresses are not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_EMAIL = re.compile(r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}[A-Za-z]{2,24}\b")
# RFC 2606 and RFC 6761 reserve these for examples.
_RESERVED = re.compile(
    r"@(?:[\w-]+\.)*(?:example(?:\.\w+)?|test|invalid|localhost)$", re.IGNORECASE
)
_PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|\(\d{2,5}\) ?\d{3,4}[ .-]?\d{3,5}|\d{3}[ .-]\d{3}[ .-]\d{4})(?![\w-])"
)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_MAY_HOLD = re.compile(r"@|\d.*?\d.*?\d.*?\d.*?\d.*?\d.*?\d", re.DOTALL)


def find_personal_data(text: str) -> Iterator[tuple[str, str]]:
    """(code, masked text) of the first finding of each kind."""
    if not _MAY_HOLD.search(text):
        return
    for found in _EMAIL.finditer(text):
        if not _RESERVED.search(found[0]):
            yield "personal_email", _mask(found[0])
            break
    taken: list[tuple[int, int]] = []
    for code, pattern, valid in (
        ("personal_iban", _IBAN, _is_iban),
        ("personal_card", _CARD, _is_card),
    ):
        found_here = [found for found in pattern.finditer(text) if valid(found[0])]
        taken += [found.span() for found in found_here]
        if found_here:
            yield code, _mask(found_here[0][0])
    for found in _PHONE.finditer(text):
        if not any(start < found.end() and found.start() < end for start, end in taken):
            yield "personal_phone", _mask(found[0])
            break


def _mask(text: str) -> str:
    """The first two and last two characters: enough to find it, too little to spread it."""
    return f"{text[:2]}…{text[-2:]}"


def _is_card(text: str) -> bool:
    """Luhn's check, and a first digit that payment cards have."""
    digits = [int(character) for character in text if character.isdigit()]
    if digits[0] not in (2, 3, 4, 5, 6):
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: moved to the end and read as a number, modulo 97 is 1."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1
