"""Members of a workspace, and the page where a new member chooses a password."""

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.tokens import default_token_generator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import urlsafe_base64_decode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from praxis.accounts.access import enter_workspace
from praxis.accounts.forms import InvitationForm, MemberForm, RoleForm
from praxis.accounts.models import Membership, Role, User
from praxis.accounts.services import (
    MembershipRefused,
    add_member,
    change_role,
    invitation_path,
    remove_member,
)


@login_required
def members(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = MemberForm(request.POST or None)
    invitation = ""
    if form.is_valid():
        data = form.cleaned_data
        try:
            user, created = add_member(
                principal=principal,
                email=data["email"],
                username=data["username"],
                role=Role(data["role"]),
            )
        except MembershipRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("%(name)s was added.") % {"name": user.get_username()})
            if not created:
                return redirect("accounts:members", workspace=workspace)
            invitation = request.build_absolute_uri(invitation_path(user))
            form = MemberForm()
    memberships = (
        principal.workspace.memberships.select_related("user").order_by("user__username").all()
    )
    context = {
        "principal": principal,
        "members": memberships,
        "form": form,
        "roles": Role.choices,
        "invitation": invitation,
        "audit": principal.workspace.audit_entries.order_by("-at", "-pk")[:30],
    }
    return render(request, "accounts/members.html", context)


@login_required
@require_POST
def member(request: HttpRequest, workspace: str, membership: int) -> HttpResponse:
    """Change a member's role, or remove the member."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    row = get_object_or_404(Membership, pk=membership, workspace=principal.workspace)
    try:
        if "remove" in request.POST:
            remove_member(principal=principal, membership=row)
            messages.success(request, _("The member was removed."))
        else:
            form = RoleForm(request.POST)
            if form.is_valid():
                change_role(
                    principal=principal, membership=row, role=Role(form.cleaned_data["role"])
                )
                messages.success(request, _("The role was changed."))
    except MembershipRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("accounts:members", workspace=workspace)


def invitation(request: HttpRequest, uid: str, token: str) -> HttpResponse:
    """Only an account that has no password yet can be entered this way."""
    try:
        user = User.objects.filter(pk=int(urlsafe_base64_decode(uid))).first()
    except ValueError as error:
        raise Http404 from error
    if (
        user is None
        or user.has_usable_password()
        or not user.is_active
        or not default_token_generator.check_token(user, token)
    ):
        raise Http404
    form = InvitationForm(user, request.POST or None)
    if form.is_valid():
        form.save()
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("/")
    return render(request, "accounts/invitation.html", {"form": form, "invited": user})
