"""What a domain app tells the platform, and what it says during a turn. The whole contract.

A domain app is a Django app whose `AppConfig` names its assistant:

    class MedicalConfig(AppConfig):
        name = "apps.medical"
        assistant = "apps.medical.assistant.ASSISTANT"

The platform finds it and gives it chat pages, API, corpora, tuning, and webhooks. During a turn
the platform calls, in this order: `guard` (rules that come first; they may end the turn), `track`
(the new state), then each of `chains` for a proposal. The arbiter picks one by its calibrated
confidence and the workspace's thresholds, and only the chosen proposal speaks. Everything an
assistant says is a typed event; the same events are stored, streamed, returned by the API and sent
by webhook.

This module imports nothing of the platform, so a domain's rules can be tested without a database.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise as Text  # a string or a lazy translation
else:
    Text = str
State = dict[str, Any]
"""What the assistant has understood: JSON values under keys that the domain chooses."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A span of a document version that retrieval found; also the one citation object."""

    number: int
    """How an answer's text refers to it: `[1]`."""
    document_id: str
    version_id: str
    chunk_id: str
    title: str
    text: str
    """The cited span, verbatim."""
    start: int
    end: int
    """Offsets of the span in the version's text, in characters."""
    page: int | None
    score: float
    """Fused retrieval score from 0 to 1; comparable within one query only."""
    url: str
    """Opens the document with the span highlighted."""
    heading: str = ""
    """The headings above the span, outermost first, joined by " › "."""
    version: int = 1
    """Number of the document version, from 1."""
    dated: str = ""
    """When that version was added, as an ISO date."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# Events ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of what an assistant may say. `kind` is its name on every wire."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class StateChanged(Event):
    """The difference to the state before as a JSON merge patch (`pipeline.difference`): new values by
    key, None for a removed one, nested objects only where they changed."""

    kind: ClassVar[str] = "state_changed"
    changes: State
    state: State


@dataclass(frozen=True, kw_only=True)
class Retrieved(Event):
    """What the answer is given to stand on."""

    kind: ClassVar[str] = "retrieved"
    query: str
    citations: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True)
class Token(Event):
    """The next piece of the answer's text (Markdown); the pieces joined are the answer."""

    kind: ClassVar[str] = "token"
    text: str


@dataclass(frozen=True, kw_only=True)
class Card(Event):
    """A structured part of the answer, drawn by the template `<app>/cards/<type>.html`."""

    kind: ClassVar[str] = "card"
    type: str
    title: str
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ActionProposed(Event):
    """An act on the outside world that waits for the person's word; `summary` is what is shown."""

    kind: ClassVar[str] = "action_proposed"
    name: str
    summary: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ActionResult(Event):
    kind: ClassVar[str] = "action_result"
    name: str
    ok: bool
    summary: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Confidence(Event):
    """How sure the chosen chain is that its answer is right, from 0 to 1."""

    kind: ClassVar[str] = "confidence"
    value: float
    chain: str
    basis: str
    """One sentence for the person: what the figure rests on."""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class SentenceSupport:
    """A sentence of the answer and the span that carries it, if one does."""

    start: int
    end: int
    """Offsets in the answer's text, in characters."""
    citation: int | None
    """Number of the passage that carries it; None: the sentence is marked to the reader."""
    source_start: int | None = None
    source_end: int | None = None
    """Offsets of the carrying span in the text of the cited document version."""
    quote: str = ""
    """The carrying span, verbatim."""
    share: float = 0.0
    """How much of the sentence's content the best span holds, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Support(Event):
    """Which sentences of the answer its citations carry; the others are marked to the reader."""

    kind: ClassVar[str] = "support"
    sentences: tuple[SentenceSupport, ...]


@dataclass(frozen=True, kw_only=True)
class NotInDocuments(Event):
    """The documents that the caller may read don't answer the question; the turn abstains.

    A chain that yields it ends its own answer with that.
    """

    kind: ClassVar[str] = "not_in_documents"
    confidence: float
    """Of the best passage that was found."""
    threshold: float
    num_read: int
    """How many passages were weighed; 0 when the search found nothing at all."""
    told_by: str = "threshold"
    """`threshold`: the confidence is below it; `model`: the model read the passages and said so."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What one document says on the asked point."""

    citation: int
    """Number of the passage."""
    value: str
    """The figure, date or yes/no in which the documents differ, verbatim."""
    quote: str
    """The sentence that holds it, verbatim."""
    source_start: int
    source_end: int
    """Offsets of the quote in the text of the cited document version."""
    title: str
    version: int
    dated: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Conflict(Event):
    """Documents contradict each other on what was asked; the newest first."""

    kind: ClassVar[str] = "conflict"
    claims: tuple[Claim, ...]


@dataclass(frozen=True, kw_only=True)
class Handoff(Event):
    """The conversation now waits for a person; the assistant is silent until it is returned."""

    kind: ClassVar[str] = "handoff"
    reason: str


@dataclass(frozen=True, kw_only=True)
class Done(Event):
    """Always the last event. `outcome`: answered, abstained, handed_over, stopped or failed."""

    kind: ClassVar[str] = "done"
    outcome: str
    receipt: dict[str, Any] = field(default_factory=dict)
    error: str = ""


# What a turn is given ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """An earlier message of the conversation, found again."""

    turn: int
    """Which message of the person it is, or answers, from 1."""
    role: str
    """`user` or `assistant`."""
    text: str
    closeness: float
    """Cosine to the query, from 0 to 1."""


class Memory(Protocol):
    """The three tiers: recent turns verbatim, a rolling summary, and the searchable archive.

    What the person had forgotten is in none of them.
    """

    def recent(self, max_tokens: int) -> list[dict[str, str]]:
        """The newest messages as `{"role", "content"}`, oldest first, that fit the budget."""

    def summary(self, max_tokens: int = 200) -> str:
        """The state, and how the person's messages before `recent` began, within the budget."""

    def recall(self, query: str, limit: int = 3, *, also_recent: bool = False) -> list[Remembered]:
        """Earlier messages of this conversation nearest to the query, the nearest first.

        Those that the last `recent` returned are left out unless `also_recent`.
        """


class ScoredToken(NamedTuple):
    text: str
    log_probability: float
    """Natural logarithm, as the model gave it before a grammar left tokens out."""


class LanguageModel(Protocol):
    """The serving model with the adapter that the workspace chose for this assistant."""

    name: str
    """What the model server calls it; the receipt keeps it."""

    def stream(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """Text pieces as they are decoded. Closing the iterator stops the decoding.

        Raises `ModelUnavailable` when the model server doesn't answer.
        """

    def write(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        grammar: str,
        max_tokens: int,
        timeout_seconds: float,
    ) -> list[ScoredToken]:
        """The likeliest short text that a GBNF grammar allows, for a program to read.

        Raises `ModelUnavailable` when it isn't there in time; the server then stops as well.
        """

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One normalised vector per text."""


class ModelUnavailable(Exception):
    """The model server can't be reached or refused; the message is a sentence for the person."""


@dataclass(kw_only=True)
class Turn:
    """One message of a person, and all that the assistant may use to answer it."""

    text: str
    number: int
    """1 for the first message of the person in this conversation."""
    state: State
    """The state before the turn; `track` returns the new one and the chains read that."""
    memory: Memory
    model: LanguageModel
    retrieve: Callable[[str, int], list[Passage]]
    """`retrieve(query, limit)`: passages that the caller may read, best first."""
    workspace_id: str
    conversation_id: str
    language: str = "en"
    passages: list[Passage] = field(default_factory=list)
    """Filled by the first `retrieve` of the turn, so that both chains cite the same numbers."""
    documents_confidence: float | None = None
    """How likely the best of them answers the message; None: the documents were not asked."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a chain would answer, and how sure it is that this is right (0 to 1, calibrated)."""

    confidence: float
    basis: str
    speak: Callable[[], Iterator[Event]]
    """Called only if the arbiter picks the proposal; the model is not asked before that."""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One way to an answer. `deterministic` chains speak first when they are sure."""

    name: str
    propose: Callable[[Turn], Proposal | None]
    """None: this chain has nothing to say to this message."""
    deterministic: bool
    repeatable: bool = False
    """Its answer follows from the question, the documents and the model alone, so the answer to a
    conversation's first question may be given again to whoever asks the same with the same rights.
    """
    documents: Literal["", "quote", "model"] = ""
    """How it answers from documents, if it does: by a quote or in the model's words. Of the two, the
    one that the workspace chose speaks, and the other one steps in when the model fails."""


@dataclass(frozen=True, kw_only=True)
class PanelField:
    """A line of the state panel beside the chat."""

    key: str
    label: Text
    value: str
    confidence: float | None = None
    turn: int | None = None
    """The person's message that it came from."""
    editable: bool = False
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class SaidTurn:
    """A message of the person, what was said to them before it, and the state after its answer."""

    agent: str
    user: str
    said_on: datetime.date
    state: State


@dataclass(frozen=True, kw_only=True)
class CorrectedState:
    """A field of the panel that a person put right, with the conversation up to then."""

    turns: tuple[SaidTurn, ...]
    key: str
    before: State
    after: State


@dataclass(frozen=True, kw_only=True)
class Assistant:
    """What a domain must say about itself. Text fields may be lazy translations."""

    slug: str
    title: Text
    tagline: Text
    """One line on the start page."""
    notice: Text
    """What the assistant is not, shown before the first answer, in exports and in the API."""
    instructions: str
    """The system prompt. Short: prompt length is the latency on a CPU."""
    suggestions: tuple[Text, ...]
    """Messages that a newcomer may send with one click."""
    chains: tuple[Chain, ...]
    abstain: Callable[[Turn], Iterator[Event]]
    """What it says when no chain is sure enough: honest, with a next step; may hand over."""
    guard: Callable[[Turn], Iterator[Event] | None] | None = None
    """Rules that must come before all else; what they say ends the turn."""
    track: Callable[[Turn], State] | None = None
    """The state after this message."""
    panel: Callable[[State], Sequence[PanelField]] | None = None
    """The state as the person sees it."""
    correct: Callable[[State, str, str], State] | None = None
    """The state after the person corrected one panel field by hand; raises ValueError with a
    sentence for the person when the value is not allowed."""
    state_example: Callable[[CorrectedState], list[dict[str, Any]] | None] | None = None
    """A correction of the state as the chat messages of one training conversation, of which those with
    `weight` 1 are learnt; None when nothing can be learnt from it."""
    seed: Callable[[Any], None] | None = None
    """Puts the demo's data into a workspace (a `Workspace` row); must be safe to call twice."""
    warm_up: Callable[[], None] | None = None
    """Loads what the first turn would wait for; must be safe to call twice and from any thread."""
    urls: str = ""
    """Dotted module of extra pages, served under `/w/<workspace>/<slug>/`."""
    api: str = ""
    """Dotted path of a ninja router, served under `/api/v1/<slug>/`."""
    pages_title: Text = ""
    """How the workspace's navigation names the first of these pages; empty: no link."""
    stylesheet: str = ""
    """Static path of a style sheet for its cards, such as `medical/medical.css`."""
    lower_threshold: float = 0.35
    """Below this confidence the assistant abstains; a workspace may change it."""
    upper_threshold: float = 0.75
    """From this confidence on a deterministic chain answers at once; a workspace may change it."""
    documents_threshold: float = 0.6
    """Below this confidence the documents don't answer; a workspace may change it. The default suits
    many documents of one trade; where few documents are asked about in people's own words, a lower
    one refuses less and still nothing else."""
    high_stakes: bool = False
    """Webhooks carry ids only, and answers are cached only where a workspace switches it on."""
