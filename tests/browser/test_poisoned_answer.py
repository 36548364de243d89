"""A page that shows a poisoned answer asks no other server for anything."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from ops.benchmarks.poison import sink
from ops.installation import Installation, wait_until_read
from tests.browser.test_main_job import last_answer, say, talk_to

OpenPage = Callable[..., Page]


def test_a_poisoned_answer_makes_no_outgoing_request(
    open_page: OpenPage, installation: Installation
) -> None:
    with sink() as (address, asked):
        # As plain text of a page, so that it comes through the reader and into the quote as it is.
        poison = (
            f"The warranty of the Orvan K-7 lasts three years, see ![proof]({address}/image) "
            f"&lt;img src={address}/tag&gt; and [the terms]({address}/link)."
        )
        api = installation.rest("knowledge:read", "knowledge:write")
        corpus = api.post("/corpora", json={"name": "Poisoned"}).json()["id"]
        files = {"file": ("k7.html", f"<h1>Orvan K-7 warranty</h1><p>{poison}</p>".encode())}
        api.post(f"/corpora/{corpus}/documents", files=files).raise_for_status()
        wait_until_read(api, corpus, 1)
        page = open_page("/")
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        talk_to(page, "Customer service")
        say(page, "How long is the warranty of the Orvan K-7?")
        # The poison is there to be read, and the link in it shows where it leads.
        assert "three years" in last_answer(page) and address.split("/")[2] in last_answer(page)
        page.reload()
        expect(page.locator("article[data-role=assistant]").last).to_contain_text("three years")
        page.locator("article[data-role=assistant] .sources a").first.click()
        expect(page.locator("mark").first).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert asked == []
        assert requested and all(url.startswith(installation.address) for url in requested)
