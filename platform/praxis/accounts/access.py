"""Who is asking, and the one function that says whether they may enter a workspace.

Pages and the API build the same `Principal`; every access function of the other apps takes one.
A workspace, or anything in it, that the principal may not see raises `Http404`: its existence is
not told. A role that may see but not do raises `PermissionDenied` (403).
"""

from dataclasses import dataclass, field
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from praxis.accounts.models import AuditEntry, Membership, Role, User, Workspace


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The caller of a page or an endpoint, inside one workspace."""

    workspace: Workspace
    role: Role
    user: User | None = None
    """The signed-in person, or the owner of the API key; None for an anonymous visitor."""
    visitor_key: str = ""
    """What marks an anonymous visitor of the widget; empty for everyone else."""
    api_key_id: UUID | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    """What an API key is limited to; a person in a browser has the scope "*"."""
    address: str | None = None

    @property
    def name(self) -> str:
        """How the audit trail calls the caller; no personal text beyond the user name."""
        if self.api_key_id is not None:
            return f"key:{self.api_key_id}"
        return f"user:{self.user.get_username()}" if self.user else "visitor"

    def may(self, role: Role) -> bool:
        return self.role.includes(role)

    def require(self, role: Role) -> None:
        if not self.may(role):
            raise PermissionDenied(
                _("This needs the role “%(role)s” in the workspace.") % {"role": role.label}
            )

    def require_scope(self, scope: str) -> None:
        if not self.scopes & {"*", scope}:
            raise PermissionDenied(_("The API key lacks the scope “%(scope)s”.") % {"scope": scope})


def enter_workspace(request: HttpRequest, slug: str, *, role: Role = Role.MEMBER) -> Principal:
    """The signed-in person as a principal of the workspace; 404 for a stranger, 403 for too low a role."""
    user = request.user
    if not isinstance(user, User) or not user.is_active:
        raise Http404
    membership = (
        Membership.objects.select_related("workspace")
        .filter(user=user, workspace__slug=slug)
        .first()
    )
    if membership is None:
        raise Http404
    principal = _principal_of(membership, user, request)
    principal.require(role)
    return principal


def principal_for(request: HttpRequest, workspace_id: UUID) -> Principal:
    """The signed-in person as a principal of the workspace that owns an object they asked for."""
    user = request.user
    if not isinstance(user, User) or not user.is_active:
        raise Http404
    membership = (
        Membership.objects.select_related("workspace")
        .filter(user=user, workspace_id=workspace_id)
        .first()
    )
    if membership is None:
        raise Http404
    return _principal_of(membership, user, request)


def _principal_of(membership: Membership, user: User, request: HttpRequest) -> Principal:
    return Principal(
        workspace=membership.workspace,
        role=Role(membership.role),
        user=user,
        scopes=frozenset({"*"}),
        address=request.META.get("REMOTE_ADDR"),
    )


def record(
    principal: Principal, action: str, target: object = None, **detail: object
) -> AuditEntry:
    """Write one audit entry. `detail` holds ids and settings, never message or document text."""
    return AuditEntry.objects.create(
        workspace=principal.workspace,
        actor=principal.name,
        action=action,
        object_type=type(target).__name__ if target is not None else "",
        object_id=str(getattr(target, "pk", "")),
        address=principal.address,
        detail=detail,
    )
