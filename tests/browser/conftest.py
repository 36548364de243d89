"""The whole product, started once as a newcomer starts it, and Debian's Chromium."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ops.installation import Installation, running

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SCREENSHOTS = Path(__file__).resolve().parents[2] / "var" / "screenshots"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker("browser")
            item.add_marker(pytest.mark.timeout(420))


@pytest.fixture(autouse=True, scope="session")
def _database_beside_playwright() -> Iterator[None]:
    """Playwright's loop runs in the tests' own thread, where Django would refuse the database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    with running(
        environment={"PRAXIS_DOMAIN_APPS": "apps.customer_service,apps.medical,apps.legal"}
    ) as one:
        yield one


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("There is no Chromium on this machine; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def session(browser: Browser, installation: Installation) -> dict[str, object]:
    """The storage state of the signed-in administrator."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{installation.address}/accounts/login/")
    page.get_by_label("Login").fill(installation.admin)
    page.get_by_label("Password").fill(installation.password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Assistants", level=1).wait_for()
    state = context.storage_state()
    context.close()
    return state  # type: ignore[return-value]


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(
    browser: Browser, installation: Installation, session: dict[str, object]
) -> Iterator[OpenPage]:
    """`open_page("/path", width=380, scheme="dark", language="zh-hans")`, signed in.

    At the end every page must have been free of script errors and of Content-Security-Policy
    violations.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def make(path: str, *, width: int = 1280, scheme: str = "light", language: str = "en") -> Page:
        context = browser.new_context(
            base_url=installation.address,
            storage_state=session,  # type: ignore[arg-type]
            viewport={"width": width, "height": 820},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        context.add_cookies(
            [{"name": "django_language", "value": language, "url": installation.address}]
        )
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: (
                complaints.append(f"{page.url}: {message.text}")
                if message.type == "error"
                else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """`picture(page, "chat")` keeps a screenshot under var/screenshots for people to look at."""

    def take(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return take
