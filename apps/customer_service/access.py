"""Who may see and change service definitions, and the second stage of their intents."""

from uuid import UUID

from django.http import Http404

from apps.customer_service.models import IntentModel, ServiceDefinition, ServiceDraft
from praxis.accounts.access import Principal
from praxis.accounts.models import Role


def get_definition(
    principal: Principal, name: str, version: int | None = None, *, role: Role = Role.AGENT
) -> ServiceDefinition:
    """One version of a service of the principal's workspace; without a number the newest.

    404 for a service of another workspace, 403 for too low a role.
    """
    versions = ServiceDefinition.objects.filter(workspace=principal.workspace, name=name)
    if version is not None:
        versions = versions.filter(version=version)
    found = versions.order_by("-version").first()
    if found is None:
        raise Http404
    principal.require(role)
    return found


def get_draft(principal: Principal, name: str) -> ServiceDraft:
    """The draft of a service; 404 where there is none, 403 for less than an administrator."""
    principal.require(Role.ADMIN)
    draft = (
        ServiceDraft.objects.select_related("based_on", "workspace")
        .filter(workspace=principal.workspace, name=name)
        .first()
    )
    if draft is None:
        raise Http404
    return draft


def get_intent_model(principal: Principal, model_id: UUID) -> IntentModel:
    """A second stage; 404 for another workspace's, 403 for less than an administrator."""
    model = (
        IntentModel.objects.select_related("workspace", "job__workspace")
        .filter(workspace=principal.workspace, pk=model_id)
        .first()
    )
    if model is None:
        raise Http404
    principal.require(Role.ADMIN)
    return model
