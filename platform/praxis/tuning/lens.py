"""What the model server's routing lens shows, made ready for tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

from modeling.training.conversations import Line, parse
from praxis.assistants.contract import ModelUnavailable
from praxis.tuning.models import DatasetVersion
from praxis.tuning.serving import post, reason

LEVELS = 8
"""Shades of a heat map above the empty one."""
SHOWN_TOKENS = 128
# The first look makes the form of the weights that torch reads: half a minute, several on a busy
# machine.
TIMEOUT = httpx.Timeout(300.0, connect=3.0)
TEXT_BYTES = 16_000
"""Of all data sets together. No text has more tokens than bytes, and the server takes 16,384 tokens;
a small machine reads so much English in a quarter of a minute."""


class NoLens(Exception):
    """The served model can't be looked into; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    level: int
    """0 to LEVELS: how dark."""
    title: str


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    columns: Sequence[int]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True, kw_only=True)
class PromptRouting:
    by_token: HeatMap
    """A row for each token, a column for each layer: the expert that counted most."""
    use: HeatMap
    num_tokens: int


@dataclass(frozen=True, kw_only=True)
class Use:
    """How the texts of one data set use the experts."""

    name: str
    num_tokens: int
    balance: dict[str, float]
    use: HeatMap


def mixture() -> str:
    """The name of the served mixture. Raises `NoLens` or `ModelUnavailable`."""
    name = settings.LLM_MODEL
    try:
        answer = httpx.get(
            f"{settings.LLM_BASE_URL.rstrip('/')}/models",
            headers={"Authorization": f"Bearer {settings.LLM_API_KEY}"},
            timeout=5,
        )
    except httpx.TransportError as error:
        raise ModelUnavailable(_("The model server does not answer at the moment.")) from error
    if answer.is_error:
        raise ModelUnavailable(_("The model server does not answer at the moment."))
    served: dict[str, Any] = next((one for one in answer.json()["data"] if one["id"] == name), {})
    if "routed_experts" not in served:
        raise NoLens(
            _(
                "The server at LLM_BASE_URL does not say which experts it chooses; only the model "
                "server that comes with Praxis does."
            )
        )
    if not served["routed_experts"]:
        raise NoLens(
            _(
                "%(model)s is dense: all of its weights work on every token, so there are no experts "
                "to look at. To see some, put the packed weights of a mixture into a folder of "
                "var/models and start with that folder's name as LLM_MODEL."
            )
            % {"model": name}
        )
    return str(name)


def of_prompt(question: str) -> PromptRouting:
    """How a question is routed as the model reads it in a chat.

    Raises `NoLens` or `ModelUnavailable`.
    """
    found = _ask("routing", {"messages": [{"role": "user", "content": question}]})
    experts, weights = found["experts"], found["weights"]
    load = [[0] * found["num_experts"] for _layer in experts]
    for layer, chosen in enumerate(experts):
        for token in chosen:
            for expert in token:
                load[layer][expert] += 1
    rows = []
    for number, token in enumerate(found["tokens"][:SHOWN_TOKENS]):
        cells = [
            Cell(
                text=str(experts[layer][number][0]),
                level=round(LEVELS * weights[layer][number][0]),
                title=", ".join(
                    _("expert %(expert)s: %(percent)s %%")
                    % {"expert": expert, "percent": round(100 * weight)}
                    for expert, weight in zip(
                        experts[layer][number], weights[layer][number], strict=True
                    )
                ),
            )
            for layer in range(len(experts))
        ]
        rows.append((_visible(token), cells))
    return PromptRouting(
        by_token=HeatMap(columns=found["layers"], rows=rows),
        use=_use_map(found["layers"], load),
        num_tokens=len(found["tokens"]),
    )


def of_datasets(versions: Sequence[DatasetVersion]) -> list[Use]:
    """How evenly the beginning of each data set uses the experts.

    Raises `NoLens` or `ModelUnavailable`.
    """
    texts = {str(version.pk): _texts(version, TEXT_BYTES // len(versions)) for version in versions}
    found = _ask("routing/load", {"texts": texts})
    return [
        Use(
            name=str(version),
            num_tokens=group["tokens"],
            balance=group["balance"],
            use=_use_map(found["layers"], group["load"]),
        )
        for version in versions
        for group in [found["groups"][str(version.pk)]]
    ]


def _ask(act: str, body: dict[str, Any]) -> Any:
    answer = post(act, {"model": settings.LLM_MODEL, **body}, timeout=TIMEOUT)
    if answer.is_client_error:
        raise NoLens(reason(answer))
    if answer.is_error:
        raise ModelUnavailable(reason(answer))
    return answer.json()


def _use_map(layers: Sequence[int], load: Sequence[Sequence[int]]) -> HeatMap:
    """A row for each expert; half dark is even use, dark twice as much or more."""
    totals = [sum(layer) for layer in load]
    rows = []
    for expert in range(len(load[0])):
        shares = [layer[expert] / total for layer, total in zip(load, totals, strict=True)]
        cells = [
            Cell(
                text=str(round(100 * share)),
                level=min(LEVELS, round(share * len(load[0]) * LEVELS / 2)),
                title=_("%(percent)s %% of the layer's choices")
                % {"percent": f"{100 * share:.1f}"},
            )
            for share in shares
        ]
        rows.append((str(expert), cells))
    return HeatMap(columns=layers, rows=rows)


def _texts(version: DatasetVersion, num_bytes: int) -> list[str]:
    """What is said in the first usable conversations, at most so many bytes."""
    texts: list[str] = []
    with version.usable.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            conversation, _problems = parse(Line(number, raw.rstrip(b"\r\n"), complete=True))
            if conversation is None:
                continue
            said = "\n".join(message["content"] for message in conversation.messages).encode()
            texts.append(said[:num_bytes].decode(errors="ignore"))
            num_bytes -= len(said)
            if num_bytes <= 0:
                break
    return texts


def _visible(token: str) -> str:
    """A token as it can be told from others: blanks and line ends are drawn."""
    return token.replace("\n", "⏎").replace(" ", "␣")
