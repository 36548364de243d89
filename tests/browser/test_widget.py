"""The widget in a page of another origin: by keyboard, on a phone, with a person, after a reload."""

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, Route, expect
from pytest_django import Settings

from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.conversations.models import Conversation
from praxis.handoff import services as handoff
from praxis.widget.models import Widget
from tests.fakes import ModelServer

# Of whitenoise, which serves a file where the tests have collected none.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous")

PAGE = """<!doctype html><html lang="{language}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Shop</title><link rel="icon" href="data:,">
<h1>Shop</h1><p><a href="#">A link of the shop</a></p><script src="{loader}" async></script></html>"""


class Site:
    """A business's own site: one page with the widget's line."""

    def __init__(self) -> None:
        site = self
        self.loader, self.language = "", "en"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = PAGE.format(loader=site.loader, language=site.language).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                # What a careful site sends: its own scripts and Praxis's, nothing inline.
                policy = f"script-src {site.loader}; frame-src {site.loader.rpartition('/')[0]}/"
                self.send_header(
                    "Content-Security-Policy", f"default-src 'self'; img-src data:; {policy}"
                )
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://localhost:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site() -> Iterator[Site]:
    shop = Site()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture
def styled(settings: Settings) -> None:
    """Static files from where they lie; before the platform starts."""
    settings.WHITENOISE_USE_FINDERS = settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture
def widget(styled: None, platform: str, workspace: Workspace, site: Site) -> Widget:
    made = Widget.objects.create(
        workspace=workspace, name="Shop", assistant="tiny", origins=[site.address], colour="#7a1f5c"
    )
    site.loader = f"{platform}/widget/{made.key}.js"
    return made


@pytest.fixture
def visit(browser: Browser, site: Site, widget: Widget) -> Iterator[Callable[..., Page]]:
    """`visit(width=…)`: the shop's page as a new visitor; no complaint of the browser is allowed."""
    complaints: list[str] = []
    opened = []

    def make(width: int = 1000, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 760},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None,
        )
        page.goto(site.address)
        return page

    yield make
    for context in opened:
        assert context.cookies() == [], "the widget sets no cookie"
        context.close()
    assert complaints == []


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def test_a_visitor_asks_by_keyboard_and_comes_back(
    visit: Callable[..., Page], model_server: ModelServer
) -> None:
    model_server.enqueue("Fresh wind from the west.")
    page = visit()
    page.get_by_role("button", name="Chat").focus()
    page.keyboard.press("Enter")
    chat = frame_of(page)
    expect(chat.get_by_label("Your message")).to_be_focused()
    page.keyboard.type("How is the wind?")
    page.keyboard.press("Enter")
    answer = chat.locator("article[data-role=assistant]")
    expect(answer).to_contain_text("Fresh wind from the west.", timeout=15_000)
    expect(answer).not_to_have_attribute("aria-busy", "true", timeout=15_000)
    expect(chat.get_by_role("log")).to_contain_text("Fresh wind from the west.")
    page.keyboard.press("Escape")
    expect(page.locator("iframe")).to_be_hidden()
    expect(page.get_by_role("button", name="Chat")).to_be_focused()
    page.keyboard.press("Enter")
    page.reload()
    answer = frame_of(page).locator("article[data-role=assistant]")
    expect(answer).to_contain_text("Fresh wind", timeout=15_000)
    assert Conversation.objects.count() == 1


def test_on_a_phone_it_fills_the_screen_and_holds_the_focus(
    visit: Callable[..., Page], site: Site
) -> None:
    site.language = "zh-CN"
    page = visit(width=380, scheme="dark")
    page.get_by_role("button", name="聊天").press("Enter")
    chat = frame_of(page)
    expect(chat.get_by_label("您的消息")).to_be_focused()
    box = page.locator("iframe").bounding_box()
    assert box is not None
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, 380, 760)
    for _number in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") != "A link of the shop"
    chat.get_by_label("关闭聊天窗口").click()
    expect(page.get_by_role("button", name="聊天")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link")).to_be_focused()


def test_a_person_takes_over_and_the_visitor_rates(
    visit: Callable[..., Page],
    model_server: ModelServer,
    agent: User,
    principal_of: Callable[[User], Principal],
) -> None:
    agent.first_name = "Ana"
    agent.save()
    desk = principal_of(agent)
    model_server.enqueue("I don't know that.")
    page = visit()
    page.get_by_role("button", name="Chat").click()
    chat = frame_of(page)
    chat.get_by_label("Your message").fill("Where is my parcel?")
    chat.get_by_role("button", name="Send").click()
    chat.get_by_role("button", name="Talk to a person").click(timeout=15_000)
    told = chat.locator("#transcript")
    expect(told.get_by_text("A person will answer here.")).to_be_visible(timeout=15_000)
    conversation = Conversation.objects.get()
    handoff.take(principal=desk, conversation=conversation)
    expect(told.get_by_text("Ana, a person, answers this conversation.")).to_be_visible()
    conversation.refresh_from_db()
    handoff.say_typing(principal=desk, conversation=conversation)
    expect(chat.get_by_text("The person is typing…")).to_be_visible()
    # What the closing asks for is answered after the reply and before what the reply asks for, as
    # happens on a busy day.
    held: list[Route] = []
    page.route("**/transcript*", lambda route: held.append(route))
    chat.get_by_label("Close the chat").click()
    while not held:
        page.wait_for_timeout(20)
    handoff.reply(principal=desk, conversation=conversation, text="It comes tomorrow.")
    with page.expect_response("**/transcript*") as answered:
        held[0].continue_()
    answered.value.finished()
    page.unroute_all()  # which lets the others go on
    page.get_by_role("button", name="Chat: new message").click()
    expect(chat.locator("article[data-role=person]")).to_contain_text("It comes tomorrow.")
    chat.get_by_role("button", name="End the conversation").click()
    chat.get_by_label("5 good").check()
    chat.get_by_role("button", name="Rate").click()
    expect(told.get_by_text("Thank you for your rating.")).to_be_visible()


def test_a_site_that_is_not_named_shows_nothing(
    browser: Browser, site: Site, widget: Widget
) -> None:
    widget.origins = ["https://other.example"]
    widget.save()
    page = browser.new_page()
    page.goto(site.address)
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.get_by_role("button", name="Chat").click()
    assert page.frame_locator("iframe").locator("#say").count() == 0
    page.close()
