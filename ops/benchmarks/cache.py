"""What the answer cache saves, and whether it ever gives an answer to somebody who may not have it.

`speedup`: questions to documents, worded by the embedded model, over REST; the same questions asked
again and again against each asked for the first time, as answers per second.

`cross_hits`: readers differ in workspace, role, user, access lists, content of the corpora,
assistant settings, model or language. Each stores answers to the same few questions, then 5,000
lookups are made as random readers, among them some after a change of documents. A hit is a cross hit
when the answer was made for a reader who may read other chunks, or under other conditions. What a
reader may read is asked of the database, not of the code under test.
"""

import argparse
import random
import time
import uuid
from dataclasses import dataclass
from typing import Any

from ops.installation import Installation, ask, running, wait_until_read

QUESTIONS, ROUNDS = 12, 10
TRIES = 5_000
TOPICS = (
    "cordless drill", "kettle", "desk lamp", "rain jacket", "tent", "bicycle pump", "headphones",
    "sewing machine", "garden hose", "pressure cooker", "camping stove", "wall clock",
)  # fmt: skip
ASKED = (
    "How long does a refund take after the return has arrived?",
    "how long does a refund take after the return has arrived",
    "Please tell me how long a refund takes after the return has arrived",
    "Within how many days can unused items be returned?",
)


def run(args: argparse.Namespace) -> dict[str, Any]:
    with running(environment={"PRAXIS_DOMAIN_APPS": "tests.document_desk"}) as installation:
        figures = _speed(installation, args.limit or QUESTIONS)
        installation.connect_django()
        return figures | cross_hits(random.Random(args.seed))


def _speed(installation: Installation, num_questions: int) -> dict[str, Any]:
    scopes = ("knowledge:read", "knowledge:write", "chat", "conversations:write")
    api = installation.rest(*scopes)
    corpus = api.post("/corpora", json={"name": "Goods"}).json()["id"]
    chosen = TOPICS[:num_questions]
    text = "\n\n".join(
        f"## {topic.capitalize()}\n\nA {topic} has a warranty of {number + 2} years from the day of "
        f"delivery. Send the {topic} back within {number + 20} days if you don't like it."
        for number, topic in enumerate(chosen)
    )
    files = {"file": ("goods.md", f"# Goods\n\n{text}".encode(), "text/markdown")}
    api.post(f"/corpora/{corpus}/documents", files=files).raise_for_status()
    wait_until_read(api, corpus, 1)
    installation.set_assistant(
        "desk",
        documents="model",
        documents_threshold=0.1,
        lower_threshold=0.1,
        cache_answers="on",
        cache_similar="on",
    )

    def timed(topic: str) -> tuple[float, bool]:
        started = time.perf_counter()
        answer = ask(api, "desk", f"How long is the warranty of a {topic}?")
        return time.perf_counter() - started, "cached" in answer["receipt"]

    timed("door bell")  # warms up what the first answer waits for
    first = [timed(topic) for topic in chosen]
    again = [timed(topic) for _ in range(ROUNDS) for topic in chosen]
    new = [seconds for seconds, cached in first if not cached]
    repeated = [seconds for seconds, cached in again if cached]
    per_second = len(repeated) / sum(repeated) if repeated else 0.0
    return {
        "speedup": round(per_second * sum(new) / len(new), 1),
        "answers_per_s": round(per_second, 1),
        "first_ms": round(1000 * sum(new) / len(new)),
        "repeated_ms": round(1000 * sum(repeated) / max(len(repeated), 1), 1),
        "hit_share": round(len(repeated) / len(again), 4),
    }


# Who must not get whose answers ---------------------------------------------------------------------


@dataclass(kw_only=True)
class Reader:
    principal: Any
    chosen: Any
    """Unsaved assistant settings."""
    model: str
    language: str

    def truth(self) -> tuple[Any, ...]:
        """All that decides an answer: what can be read, from the database, and the conditions."""
        from django.db.models import F, Q

        from praxis.accounts.models import Role
        from praxis.knowledge.models import Chunk

        principal = self.principal
        keys = [f"role:{role.value}" for role in Role if principal.may(role)]
        keys.append(f"user:{principal.user.pk}")
        readable = Chunk.objects.filter(
            Q(access=[]) | Q(access__overlap=keys),
            workspace=principal.workspace,
            version__document__current_version=F("version"),
        )
        return (
            frozenset(readable.values_list("pk", flat=True)),
            self.chosen.lower_threshold,
            self.chosen.documents,
            self.model,
            self.language,
        )


def cross_hits(chance: random.Random, tries: int = TRIES, rounds: int = 10) -> dict[str, Any]:
    from django.utils import timezone

    from praxis.answer_cache.services import TurnCache
    from praxis.assistants.registry import get_assistant
    from praxis.conversations.models import Conversation, Message

    assistant = get_assistant("desk")
    workspaces = _workspaces()
    readers = _readers(chance, workspaces)
    truths = [reader.truth() for reader in readers]
    made_under: dict[str, Any] = {}
    hits = cross = 0

    def lookup(reader: Reader, question: str) -> tuple[Any, Any]:
        cache = TurnCache(principal=reader.principal, assistant=assistant, chosen=reader.chosen)
        return cache, cache.find(_turn(reader, question))

    def store(number: int, question: str) -> None:
        reader = readers[number]
        cache, found = lookup(reader, question)
        if found is not None:
            return
        conversation = Conversation.objects.create(
            workspace=reader.principal.workspace, assistant="desk", person=reader.principal.user
        )
        now = timezone.now()
        asked = Message.objects.create(
            conversation=conversation, role="user", text=question, finished_at=now
        )
        candidates = [{"chain": "model", "confidence": 0.9}]
        receipt = {"chain": "model", "total_ms": 1.0, "candidates": candidates}
        answer = Message.objects.create(
            conversation=conversation,
            parent=asked,
            role="assistant",
            text="Five days.",
            events=[
                {"kind": "token", "text": "Five days."},
                {"kind": "done", "outcome": "answered"},
            ],
            receipt=receipt,
            state_after={},
            finished_at=now,
        )
        cache.settle(answer)
        made_under[str(answer.pk)] = truths[number]

    for attempt in range(tries):
        if attempt % (tries // rounds) == 0:
            if attempt:
                _change_documents(chance, workspaces)
                truths = [reader.truth() for reader in readers]
            for number in range(len(readers)):
                store(number, ASKED[0])
        number = chance.randrange(len(readers))
        _cache, found = lookup(readers[number], chance.choice(ASKED))
        if found is not None:
            hits += 1
            made = made_under[found.receipt["cached"]["message"]]
            cross += made != truths[number]
    return {"cross_hits": cross, "tries": tries, "rightful_hits": hits - cross}


class _NamedModel:
    """What a lookup needs of the model: its name, and vectors in which all questions are alike."""

    def __init__(self, name: str) -> None:
        self.name = name

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _text in texts]


def _turn(reader: Reader, question: str) -> Any:
    from praxis.assistants.tests.fakes import make_turn

    model: Any = _NamedModel(reader.model)
    return make_turn(question, model=model, language=reader.language)


def _workspaces() -> list[Any]:
    """Four tenants with the same documents; in each, some are for a role or a person only."""
    from praxis.accounts.models import Membership, Role, User, Workspace

    made = []
    for number in range(4):
        workspace = Workspace.objects.create(slug=f"tenant-{number}", name=f"Tenant {number}")
        for role in (Role.ADMIN, Role.AGENT, Role.MEMBER, Role.MEMBER):
            user = User.objects.create(username=uuid.uuid4().hex)
            Membership.objects.create(user=user, workspace=workspace, role=role)
        add_document(workspace, "open", [])
        if number % 2:
            add_document(workspace, "staff", ["role:agent"])
        if number > 1:
            person = workspace.memberships.filter(role=Role.MEMBER).earliest("pk").user
            add_document(workspace, "personal", [f"user:{person.pk}"])
        made.append(workspace)
    return made


def add_document(workspace: Any, title: str, access: list[str]) -> None:
    from praxis.knowledge.content import content_changed
    from praxis.knowledge.models import EMBEDDING_WIDTH, Chunk, Corpus, Document, DocumentVersion

    corpus, _made = Corpus.objects.get_or_create(workspace=workspace, name="Rules")
    document = Document.objects.create(
        corpus=corpus, title=f"{title} {uuid.uuid4().hex[:6]}", access=access
    )
    version = DocumentVersion.objects.create(
        document=document, number=1, file_name="rules.md", size=1, state="ready", text="Five days."
    )
    Chunk.objects.create(
        version=version,
        workspace=workspace,
        ordinal=0,
        start=0,
        end=10,
        text="Five days.",
        access=access,
        embedding=[1.0] + [0.0] * (EMBEDDING_WIDTH - 1),
    )
    document.current_version = version
    document.save()
    content_changed(corpus.pk)


def _change_documents(chance: random.Random, workspaces: list[Any]) -> None:
    add_document(chance.choice(workspaces), "news", chance.choice(([], ["role:admin"])))


def _readers(chance: random.Random, workspaces: list[Any]) -> list[Reader]:
    from praxis.accounts.access import Principal
    from praxis.accounts.models import Role
    from praxis.assistants.services import settings_for

    readers = []
    for workspace in workspaces:
        for membership in workspace.memberships.select_related("user").order_by("pk"):
            principal = Principal(
                workspace=workspace, role=Role(membership.role), user=membership.user
            )
            for _variant in range(3):
                chosen = settings_for(workspace, "desk")
                chosen.cache_answers = chosen.cache_similar = True
                chosen.lower_threshold = chance.choice((0.3, 0.35))
                chosen.documents = chance.choice(("quote", "model"))
                readers.append(
                    Reader(
                        principal=principal,
                        chosen=chosen,
                        model=chance.choice(("base", "adapter-1")),
                        language=chance.choice(("en", "zh-hans")),
                    )
                )
    return readers
