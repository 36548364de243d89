"""What spans users, workspaces and memberships."""

from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Membership, Role, User, Workspace


class MembershipRefused(Exception):
    """A change of members that would break a rule; the message is a sentence for the person."""


def invitation_path(user: User) -> str:
    """Where a new member chooses a password; valid until used or for `PASSWORD_RESET_TIMEOUT`."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    token = default_token_generator.make_token(user)
    return reverse("invitation", kwargs={"uid": uid, "token": token})


@transaction.atomic
def add_member(*, principal: Principal, email: str, username: str, role: Role) -> tuple[User, bool]:
    """Add a person to the workspace; the flag says whether the account is new.

    An existing account is found by its e-mail address and only gets the membership.
    """
    principal.require(Role.ADMIN)
    if role == Role.OWNER:
        principal.require(Role.OWNER)
    user = User.objects.filter(email__iexact=email).first()
    created = user is None
    if user is None:
        if User.objects.filter(username__iexact=username).exists():
            raise MembershipRefused(
                _("The user name %(name)s is taken; choose another.") % {"name": username}
            )
        user = User(username=username, email=email)
        user.set_unusable_password()
        user.save()
    if Membership.objects.filter(user=user, workspace=principal.workspace).exists():
        raise MembershipRefused(_("This person is a member already."))
    Membership.objects.create(user=user, workspace=principal.workspace, role=role)
    record(principal, "member.add", user, role=role)
    return user, created


@transaction.atomic
def change_role(*, principal: Principal, membership: Membership, role: Role) -> None:
    principal.require(Role.ADMIN)
    if Role.OWNER in (role, membership.role):
        principal.require(Role.OWNER)
    _keep_an_owner(membership, becomes=role)
    membership.role = role
    membership.save(update_fields=["role"])
    record(principal, "member.role", membership.user, role=role)


@transaction.atomic
def remove_member(*, principal: Principal, membership: Membership) -> None:
    principal.require(Role.ADMIN)
    if membership.role == Role.OWNER:
        principal.require(Role.OWNER)
    _keep_an_owner(membership, becomes=None)
    record(principal, "member.remove", membership.user)
    membership.delete()


def _keep_an_owner(membership: Membership, *, becomes: Role | None) -> None:
    """Raises when the workspace would be left without an owner. Locks the owners' rows."""
    if membership.role != Role.OWNER or becomes == Role.OWNER:
        return
    owners = Membership.objects.select_for_update().filter(
        workspace=membership.workspace, role=Role.OWNER
    )
    if len(owners) == 1:
        raise MembershipRefused(_("A workspace needs an owner; make someone else owner first."))


@transaction.atomic
def create_workspace(*, owner: User, slug: str, name: str) -> Workspace:
    workspace = Workspace.objects.create(slug=slug, name=name)
    Membership.objects.create(user=owner, workspace=workspace, role=Role.OWNER)
    return workspace
