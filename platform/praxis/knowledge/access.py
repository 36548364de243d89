"""Who may see the workspace's documents: every member reads, administrators change."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.knowledge.models import Corpus, Document, DocumentVersion


def access_keys(principal: Principal) -> list[str]:
    """The entries of an access list that let the principal in: its roles and itself."""
    keys = [f"role:{role.value}" for role in Role if principal.may(role)]
    if principal.user is not None:
        keys.append(f"user:{principal.user.pk}")
    return keys


def corpora_of(principal: Principal) -> QuerySet[Corpus]:
    return Corpus.objects.filter(workspace=principal.workspace)


@dataclass(frozen=True, kw_only=True)
class SearchedContent:
    """What an assistant's search covers for one caller; equal for two who would find the same."""

    corpora: tuple[UUID, ...]
    versions: tuple[int, ...]
    reader: tuple[str, ...]
    """What the caller is, as far as an access list asks for it."""


def searched_content(principal: Principal, assistant: str) -> SearchedContent:
    corpora = [
        corpus
        for corpus in corpora_of(principal)
        .only("pk", "assistants", "access", "content_version")
        .order_by("pk")
        if not corpus.assistants or assistant in corpus.assistants
    ]
    own_lists = Document.objects.filter(corpus__in=corpora).exclude(access=[])
    named = {entry for corpus in corpora for entry in corpus.access}
    named.update(entry for access in own_lists.values_list("access", flat=True) for entry in access)
    reader = []
    if named:
        reader = [f"role:{principal.role.value}"]
    if any(not entry.startswith("role:") for entry in named):
        reader.append(f"user:{principal.user.pk if principal.user else principal.visitor_key}")
    return SearchedContent(
        corpora=tuple(corpus.pk for corpus in corpora),
        versions=tuple(corpus.content_version for corpus in corpora),
        reader=tuple(reader),
    )


def get_corpus(principal: Principal, corpus_id: UUID) -> Corpus:
    """The corpus, or 404 when it is none of the principal's workspace."""
    corpus = corpora_of(principal).select_related("workspace").filter(pk=corpus_id).first()
    if corpus is None:
        raise Http404
    return corpus


def get_document(principal: Principal, document_id: UUID) -> Document:
    """The document, or 404 when it is none of the principal's workspace."""
    document = (
        Document.objects.select_related("corpus__workspace")
        .filter(pk=document_id, corpus__workspace=principal.workspace)
        .first()
    )
    if document is None:
        raise Http404
    return document


def get_version(principal: Principal, version_id: UUID) -> DocumentVersion:
    """The version with its text, or 404 when it is none of the principal's workspace."""
    version = (
        DocumentVersion.objects.select_related("document__corpus__workspace", "job__workspace")
        .filter(pk=version_id, document__corpus__workspace=principal.workspace)
        .first()
    )
    if version is None:
        raise Http404
    return version
