"""A draft article from questions that nobody answered, as a document of a corpus."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.conversations.access import conversations_of
from praxis.conversations.models import Message
from praxis.conversations.refusals import MessageRefused
from praxis.knowledge.content import content_changed, hand_down
from praxis.knowledge.models import Corpus, Document
from praxis.knowledge.services import add_document, find_content

MOST_QUESTIONS = 50
MOST_REPLIES = 10
DRAFT_ACCESS = ["role:admin"]
"""Until it is published, what a draft says is found by administrators alone."""
MARK = "draft"
"""The metadata entry that tells a draft from other documents."""


def draft_article(
    *, principal: Principal, corpus: Corpus, title: str, question_ids: Sequence[UUID]
) -> Document:
    """A Markdown document with the questions, what agents replied, and a place for the answer.

    Raises `MessageRefused`, `knowledge.services.UploadRefused`.
    """
    principal.require(Role.ADMIN)
    title = " ".join(title.split())[:200]
    questions = list(
        Message.objects.filter(
            pk__in=list(question_ids)[:MOST_QUESTIONS],
            role=Message.Role.USER,
            conversation__in=conversations_of(principal),
        ).order_by("created_at", "pk")
    )
    if not questions or not title:
        raise MessageRefused(_("Choose at least one question, and give the article a title."))
    content = _text(title, questions).encode()
    if existing := find_content(corpus, content):
        raise MessageRefused(
            _("The corpus has this draft already: “%(title)s”.") % {"title": existing.document}
        )
    # In one transaction: no worker reads the document in before its access is narrow.
    with transaction.atomic():
        version = add_document(
            corpus=corpus,
            title=_free_title(corpus, title),
            # Another draft's file of the same name would make this its next version.
            file_name=f"draft-{uuid4().hex[:12]}.md",
            content=content,
            created_by=principal.user,
        )
        document = version.document
        document.access, document.metadata = DRAFT_ACCESS, {MARK: True}
        document.save(update_fields=["access", "metadata"])
        record(principal, "analytics.draft", document, questions=len(questions))
    return document


def drafts_of(principal: Principal) -> QuerySet[Document]:
    """What was drafted and not published yet, the newest first."""
    principal.require(Role.ADMIN)
    return (
        Document.objects.filter(
            corpus__workspace=principal.workspace, metadata__contains={MARK: True}
        )
        .select_related("corpus__workspace")
        .order_by("-created_at", "pk")
    )


def publish(*, principal: Principal, document: Document) -> None:
    """From now on everyone who may search the corpus finds it."""
    principal.require(Role.ADMIN)
    with transaction.atomic():
        document.access = []
        document.metadata = {key: value for key, value in document.metadata.items() if key != MARK}
        document.save(update_fields=["access", "metadata"])
        hand_down(document)
        content_changed(document.corpus_id)
        record(principal, "analytics.publish_draft", document)


def _free_title(corpus: Corpus, title: str) -> str:
    """A title that no document of the corpus has: another's would get a new version."""
    taken = set(corpus.documents.filter(title__startswith=title).values_list("title", flat=True))
    number = 1
    found = title
    while found in taken:
        number += 1
        found = f"{title} ({number})"
    return found


def _text(title: str, questions: Sequence[Message]) -> str:
    replies = Message.objects.filter(
        conversation__in={question.conversation_id for question in questions},
        role=Message.Role.PERSON,
    ).order_by("created_at", "pk")
    lines = [
        f"# {title}",
        "",
        _("Write the answer here, then upload it as the document's next version."),
        "",
    ]
    lines += [f"## {_('What people asked')}", ""]
    lines += [f"- {' '.join(question.text.split())}" for question in questions]
    if said := [" ".join(reply.text.split()) for reply in replies[:MOST_REPLIES]]:
        lines += ["", f"## {_('What agents replied')}", "", *(f"- {one}" for one in said)]
    return "\n".join(lines) + "\n"
