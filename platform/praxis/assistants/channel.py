"""Foreign text on its way into a prompt: data in a labelled channel, never an instruction.

Documents, earlier messages and whatever else somebody wrote are put between tags of their own. Here
they lose what could end that channel or begin another one: characters that nobody sees, the control
tokens of chat templates (a server tokenises `<|im_end|>` inside a message as the real one), and our
own tags. What a text then still says in plain words, a model may follow; so nothing that an answer
causes depends on the model: see docs/reference/answers.md.
"""

import re

from praxis.knowledge.parsing.blocks import strip_invisible

_CONTROL_TOKEN = re.compile(
    r"<\|([^<>|\n]{1,40})\|>|<｜([^<>｜\n]{1,40})｜>|<(/?s)>|<<(/?SYS)>>|<((?:start|end)_of_turn)>"
    r"|\[(/?INST)\]",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"<(\s*/?\s*(?:documents?|earlier|summary|system|user|assistant|tool\w*|instructions?)\b[^<>\n]*)>",
    re.IGNORECASE,
)


def without_control_tokens(text: str) -> str:
    """The text with the control tokens of chat templates written in other brackets."""
    while (
        changed := _CONTROL_TOKEN.sub(lambda match: f"‹{match[match.lastindex or 0]}›", text)
    ) != text:
        text = changed  # one may stand inside another
    return text


def as_data(text: str) -> str:
    """The text as it may stand inside a labelled channel, on one line."""
    seen, _removed = strip_invisible(text)
    return " ".join(_TAG.sub(r"‹\1›", without_control_tokens(seen)).split())


def channel(name: str, lines: list[str]) -> str:
    """The lines between `<name>` and `</name>`; each line went through `as_data`."""
    return f"<{name}>\n" + "\n".join(lines) + f"\n</{name}>"
