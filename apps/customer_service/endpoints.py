"""Where the demo businesses are, and which private addresses the operator opened for actions."""

import ipaddress
from pathlib import Path

from django.conf import settings

from apps.customer_service.actions import Endpoint
from apps.customer_service.demo_businesses.place import Place, read_or_choose_place
from apps.customer_service.models import ServiceDefinition
from praxis.guarded_http import AllowedNetwork


def demo_file() -> Path:
    return Path(settings.VAR_DIR) / "demo-businesses.json"


def demo_place() -> Place:
    return read_or_choose_place(demo_file())


def demo_url(business: str) -> str:
    return f"{demo_place().url}/{business}"


def allowed_networks() -> list[AllowedNetwork]:
    """Private addresses that actions may call: those of the installation's setting, and the demo
    businesses' port. A workspace's administrator can't add to them.
    """
    allowed = list(settings.WEBHOOK_ALLOWED_NETWORKS)
    if demo_file().exists():
        allowed.append(AllowedNetwork(ipaddress.ip_network("127.0.0.1/32"), demo_place().port))
    return allowed


def endpoint_of(definition: ServiceDefinition) -> Endpoint:
    return Endpoint(
        base_url=definition.base_url, secret=definition.secret, allowed=allowed_networks()
    )
