"""Who may see the workspace's documents: every member reads, administrators change."""

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
