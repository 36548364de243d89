"""The demo's data: the services of the demo businesses and their documents."""

from pathlib import Path
from typing import Any

from apps.customer_service.demo_services import DEMO_SERVICES
from apps.customer_service.endpoints import demo_place, demo_url
from apps.customer_service.models import ServiceDefinition, save_version
from praxis.accounts.models import Workspace
from praxis.knowledge.models import Corpus
from praxis.knowledge.services import add_document

DOCUMENTS = Path(__file__).parent / "demo_businesses" / "documents"
TITLES = {
    "shop/returns.md": "Returns and refunds",
    "shop/shipping.md": "Shipping and delivery",
    "shop/warranty.md": "Warranty and repairs",
    "shop/privacy.md": "Privacy",
    "restaurant/visit.md": "Your visit at Salt & Sorrel",
    "clinic/practice.md": "The Linden Street practice",
}


def seed(workspace: Workspace) -> None:
    """Publish the demo's services and add their documents; a second call changes nothing."""
    for definition in DEMO_SERVICES:
        _seed_service(workspace, definition)
    corpus, _made = Corpus.objects.get_or_create(
        workspace=workspace, name="Shop policies", defaults={"assistants": ["service"]}
    )
    for file_name, title in TITLES.items():
        content = (DOCUMENTS / file_name).read_bytes()
        add_document(corpus=corpus, title=title, file_name=Path(file_name).name, content=content)


def _seed_service(workspace: Workspace, definition: dict[str, Any]) -> None:
    url, token = demo_url(definition["name"]), demo_place().token
    newest = (
        ServiceDefinition.objects.filter(workspace=workspace, name=definition["name"])
        .order_by("-version")
        .first()
    )
    if newest is None:
        save_version(
            workspace=workspace, definition=definition, base_url=url, secret=token, created_by=None
        ).publish()
    elif newest.created_by_id is None and (newest.base_url, newest.secret) != (url, token):
        # The file with the port and the token was removed and made anew.
        newest.base_url, newest.secret = url, token
        newest.save(update_fields=["base_url", "secret_encrypted"])
