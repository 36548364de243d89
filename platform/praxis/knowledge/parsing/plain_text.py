"""Plain text, and the decoding that every text format shares. Runs in the child process."""

import codecs
import re
from collections.abc import Iterator

from charset_normalizer import from_bytes

from .blocks import Block, Page, Refused, clean_line, clean_lines, strip_invisible, without_bullet

BLOCKS_A_PART = 200
"""How many blocks a format without pages reports at a time, so that progress moves."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_GUESS_BYTES = 65_536
_ITEM = re.compile(r"^\s*(?:[-*•·]|\d{1,3}[.)、]|\(\d{1,3}\)|[a-z]\))\s+(?=\S)")
_HAN = re.compile("[\u3400-\u9fff]")
# A third of all signs in running Chinese are among these; a wrong decoding rarely hits them.
_COMMON_HAN = frozenset(
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可"
    "她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三"
    "已老从动两长知民样现分将外但身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女"
    "问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并内加化由"
    "却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路"
    "期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八"
    "特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远资队跟带花"
    "快条院变联权往展该领传近留红治决周保达办运武半候七必城父强步完革深区即求品士转量空甚众技轻程告"
    "退换货款订单客户商价格支付天内服务条件合同规定说明"
)


def decode(data: bytes) -> tuple[str, str]:
    """The text and, where it had to be guessed, the encoding's name (else an empty string).

    Order: byte-order mark, UTF-8, UTF-16 without a mark, then the best of GB18030, Big5, the
    likely Western and East Asian encodings. Raises `Refused` for binary data.
    """
    for bom, encoding, name in _BOMS:
        if data.startswith(bom):
            try:
                return data.decode(encoding), "" if name == "UTF-8" else name
            except UnicodeDecodeError:
                raise Refused("binary") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        if "\x00" not in text and _control_share(text) < 0.01:
            return text, ""
    sample = data[:_GUESS_BYTES]
    if sample.count(0) > len(sample) // 5:
        little = sample[1::2].count(0) > sample[0::2].count(0)
        return _decode_checked(data, "utf-16-le" if little else "utf-16-be"), "UTF-16"
    if 0 in sample:
        raise Refused("binary")
    if _looks_chinese(sample):
        return _decode_checked(data, "gb18030"), "GB18030"
    best = from_bytes(sample).best()
    if best is None:
        raise Refused("binary")
    return _decode_checked(data, best.encoding), best.encoding.replace("_", "-").upper()


def _decode_checked(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        text = data.decode(encoding, errors="replace")
        if text.count("\ufffd") > len(text) // 100 + 1:
            raise Refused("binary") from None
    if _control_share(text) >= 0.01:
        raise Refused("binary")
    return text


def _control_share(text: str) -> float:
    sample = text[:_GUESS_BYTES]
    controls = sum(1 for sign in sample if ord(sign) < 32 and sign not in "\t\n\r\f")
    return controls / max(len(sample), 1)


def _looks_chinese(sample: bytes) -> bool:
    text = sample.decode("gb18030", errors="ignore")
    signs = _HAN.findall(text)
    return len(signs) >= 4 and sum(sign in _COMMON_HAN for sign in signs) / len(signs) > 0.2


def read(data: bytes) -> Iterator[Page]:
    text, encoding = decode(data)
    yield from in_parts(blocks_of_text(text), notes_of(text, encoding))


def notes_of(text: str, encoding: str) -> list[tuple[str, dict[str, object]]]:
    notes: list[tuple[str, dict[str, object]]] = []
    if encoding:
        notes.append(("encoding", {"encoding": encoding}))
    if removed := strip_invisible(text.removeprefix("\ufeff"))[1]:
        notes.append(("invisible_characters", {"characters": removed}))
    return notes


def in_parts(
    blocks: Iterator[Block], notes: list[tuple[str, dict[str, object]]] | None = None
) -> Iterator[Page]:
    """Blocks of a format without pages, some at a time; the notes come with the last part.

    `notes` may still be filled while the blocks are taken.
    """
    number, part = 1, []
    for block in blocks:
        part.append(block)
        if len(part) == BLOCKS_A_PART:
            yield Page(number, None, part)
            number, part = number + 1, []
    yield Page(number, None, part, notes or [])


def blocks_of_text(text: str) -> Iterator[Block]:
    for paragraph in re.split(r"\n[^\S\n]*\n", clean_lines(text)):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        if sum(bool(_ITEM.match(line)) for line in lines) > len(lines) // 2 and len(lines) > 1:
            yield from _items(lines)
        elif joined := clean_line(" ".join(lines)):
            yield Block("paragraph", joined)


def _items(lines: list[str]) -> Iterator[Block]:
    """Lines of a list; a line without a mark goes on with the item before it."""
    item: list[str] = []
    for line in lines:
        if _ITEM.match(line) and item:
            yield Block("item", without_bullet(clean_line(" ".join(item))))
            item = []
        item.append(line)
    yield Block("item", without_bullet(clean_line(" ".join(item))))
