"""The demo's data: the shop's service definition and its policy documents."""

from pathlib import Path

from apps.customer_service.demo_service import DEMO_SERVICE
from apps.customer_service.endpoints import demo_shop
from apps.customer_service.models import ServiceDefinition, save_version
from praxis.accounts.models import Workspace
from praxis.knowledge.models import Corpus
from praxis.knowledge.services import add_document

POLICIES = Path(__file__).parent / "demo_shop" / "policies"
TITLES = {
    "returns.md": "Returns and refunds",
    "shipping.md": "Shipping and delivery",
    "warranty.md": "Warranty and repairs",
    "privacy.md": "Privacy",
}


def seed(workspace: Workspace) -> None:
    """Publish the demo shop's service and add its policies; a second call changes nothing."""
    shop = demo_shop()
    newest = (
        ServiceDefinition.objects.filter(workspace=workspace, name=DEMO_SERVICE["name"])
        .order_by("-version")
        .first()
    )
    if newest is None:
        save_version(
            workspace=workspace,
            definition=DEMO_SERVICE,
            base_url=shop.url,
            secret=shop.token,
            created_by=None,
        ).publish()
    elif newest.created_by_id is None and (newest.base_url, newest.secret) != (
        shop.url,
        shop.token,
    ):
        # The shop's file was removed and made anew.
        newest.base_url, newest.secret = shop.url, shop.token
        newest.save(update_fields=["base_url", "secret_encrypted"])
    corpus, _made = Corpus.objects.get_or_create(
        workspace=workspace, name="Shop policies", defaults={"assistants": ["service"]}
    )
    for file_name, title in TITLES.items():
        content = (POLICIES / file_name).read_bytes()
        add_document(corpus=corpus, title=title, file_name=file_name, content=content)
