from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import Membership, Role, User
from praxis.integrations.keys import authenticate, create_key, revoke
from praxis.integrations.models import ApiKey

PrincipalOf = Callable[..., Principal]


def make(principal: Principal, **more: object) -> tuple[ApiKey, str]:
    settings = {"name": "script", "scopes": ["chat"], "role": Role.MEMBER, **more}
    return create_key(principal=principal, **settings)  # type: ignore[arg-type]


def test_a_key_works_and_its_secret_is_not_stored(admin: User, principal_of: PrincipalOf) -> None:
    key, secret = make(principal_of(admin))
    principal = authenticate(secret)
    assert principal is not None
    assert (principal.workspace, principal.role) == (key.workspace, Role.MEMBER)
    assert principal.scopes == {"chat"}
    row = ApiKey.objects.values().get(pk=key.pk)
    assert secret not in str(row)
    assert secret[12:-6] not in str(row)


def test_wrong_revoked_and_expired_keys_are_refused(admin: User, principal_of: PrincipalOf) -> None:
    key, secret = make(principal_of(admin))
    assert authenticate(secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None
    assert authenticate(secret.replace("prx_", "sk-")) is None
    assert authenticate("") is None
    _late, expired = make(principal_of(admin), expires_at=timezone.now() - timedelta(seconds=1))
    assert authenticate(expired) is None
    revoke(principal=principal_of(admin), key=key)
    assert authenticate(secret) is None


def test_who_leaves_takes_the_keys_along(admin: User, principal_of: PrincipalOf) -> None:
    _key, secret = make(principal_of(admin), role=Role.ADMIN)
    Membership.objects.filter(user=admin).update(role=Role.MEMBER)
    demoted = authenticate(secret)
    assert demoted is not None
    assert demoted.role == Role.MEMBER
    User.objects.filter(pk=admin.pk).update(is_active=False)
    assert authenticate(secret) is None
    User.objects.filter(pk=admin.pk).update(is_active=True)
    Membership.objects.filter(user=admin).delete()
    assert authenticate(secret) is None


def test_nobody_makes_a_key_stronger_than_themselves(
    admin: User, member: User, principal_of: PrincipalOf
) -> None:
    with pytest.raises(PermissionDenied):
        make(principal_of(admin), role=Role.OWNER)
    with pytest.raises(PermissionDenied):
        make(principal_of(member))
    with pytest.raises(ValueError, match="got root"):
        make(principal_of(admin), scopes=["root"])


def test_the_page_shows_the_secret_once(admin: User, client_for: Callable[[User], Client]) -> None:
    client = client_for(admin)
    address = "/w/north-clinic/integrations/"
    data = {"name": "script", "role": "member", "scopes": ["chat"]}
    page = client.post(address + "keys/", data).content.decode()
    key = ApiKey.objects.get()
    assert f'id="secret">{key.prefix}' in page
    later = client.get(address).content.decode()
    assert key.prefix in later
    assert 'id="secret"' not in later


def test_a_stranger_gets_404_and_a_member_403(
    stranger: User, member: User, admin: User, client_for: Callable[[User], Client]
) -> None:
    for address in ("/w/north-clinic/integrations/", "/w/north-clinic/members/"):
        assert client_for(stranger).get(address).status_code == 404
        assert client_for(member).get(address).status_code == 403
        assert client_for(admin).get(address).status_code == 200
