"""The product's main job, as people do it in a browser, on the real model."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Dialog, Page, expect

from ops.installation import Installation

OpenPage = Callable[..., Page]
Picture = Callable[[Page, str], None]


def talk_to(page: Page, title: str) -> None:
    page.get_by_role("button", name=f"Talk to: {title}").click()
    expect(page.locator("#composer-text")).to_be_visible()
    # The page's modules run before this; a person takes longer to type a word.
    page.wait_for_load_state("load")


def say(page: Page, text: str) -> None:
    """Send a message and wait until its answer is complete."""
    answers = page.locator("article[data-role=assistant]:not([aria-busy])")
    before = answers.count()
    page.locator("#composer-text").fill(text)
    page.keyboard.press("Enter")
    expect(answers).to_have_count(before + 1, timeout=90_000)


def last_answer(page: Page) -> str:
    return page.locator("article[data-role=assistant]").last.inner_text()


def test_a_person_asks_reads_the_citation_and_opens_it(
    open_page: OpenPage, picture: Picture
) -> None:
    page = open_page("/")
    picture(page, "home")
    talk_to(page, "Customer service")
    say(page, "How long do I have to return an item?")
    assert "30 days" in last_answer(page)
    assert "Confidence" in last_answer(page)
    picture(page, "chat-citation")
    page.locator("article[data-role=assistant] .sources a").first.click()
    mark = page.locator("mark").first
    expect(mark).to_be_visible()
    assert "30 days" in page.locator("mark").first.inner_text()
    picture(page, "citation-opened")


def test_the_state_is_shown_and_can_be_corrected(open_page: OpenPage, picture: Picture) -> None:
    page = open_page("/")
    talk_to(page, "Customer service")
    say(page, "Where is my order HP-10422? My e-mail is ben@example.com")
    assert "HP-10422" in last_answer(page)
    panel = page.locator("#panel-body")
    field = panel.get_by_label("Order number", exact=True)
    expect(field).to_have_value("HP-10422")
    picture(page, "chat-state")
    field.fill("HP-10423")
    field.press("Enter")
    expect(panel.get_by_label("Order number", exact=True)).to_have_value("HP-10423")


def test_a_person_is_asked_for(open_page: OpenPage) -> None:
    page = open_page("/")
    talk_to(page, "Customer service")
    say(page, "I want to talk to a human please")
    expect(page.get_by_text("A person will go on from here.")).to_be_visible()


def test_red_flags_come_first(open_page: OpenPage, picture: Picture) -> None:
    page = open_page("/")
    talk_to(page, "Medical")
    say(page, "My father has crushing chest pain spreading to his left arm and is sweating")
    first_line = last_answer(page).splitlines()
    assert any("emergency" in line.lower() for line in first_line[:4]), first_line[:6]
    picture(page, "medical-red-flag")


def test_findings_give_a_ranked_differential(open_page: OpenPage, picture: Picture) -> None:
    page = open_page("/")
    talk_to(page, "Medical")
    say(
        page,
        "12 year old boy, tall, with long fingers, lens dislocation, scoliosis and a dilated aorta. No fever.",
    )
    assert "Marfan" in last_answer(page)
    picture(page, "medical-differential")
    phone = open_page(page.url, width=380, scheme="dark")
    picture(phone, "medical-differential-phone-dark")


def test_an_agreement_is_drafted_and_downloaded(open_page: OpenPage, picture: Picture) -> None:
    page = open_page("/")
    talk_to(page, "Legal")
    for text in (
        "Draft an NDA between Acme Robotics Ltd and Blue Harbour GmbH",
        "1 Mill Lane, Leeds, United Kingdom",
        "Hafenstraße 2, Hamburg, Germany",
        "evaluating a joint warehouse robot",
        "1 December 2026",
        "two years",
        "5 years",
        "England and Wales",
    ):
        say(page, text)
    picture(page, "legal-draft")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download for Word").last.click()
    assert download.value.suggested_filename.endswith(".docx")
    page.get_by_role("link", name="Read the draft").last.click()
    expect(page.get_by_role("heading", name="Governing law and jurisdiction")).to_be_visible()
    picture(page, "legal-draft-page")


def test_an_admin_uploads_a_document_and_the_assistant_cites_it(
    open_page: OpenPage, picture: Picture, tmp_path: Path
) -> None:
    note = tmp_path / "holiday.md"
    note.write_text(
        "# Holiday hours\n\nThe shop in Bergen is closed from 24 December to 2 January. "
        "Telephone support works on 27 December only.\n"
    )
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nthis is no document")
    page = open_page("/w/demo/knowledge/")
    page.get_by_role("link", name="Shop policies").click()
    page.locator("#id_files").set_input_files([note, broken])
    page.get_by_role("button", name="Upload").click()
    row = page.locator("tr", has_text=re.compile("holiday", re.I))
    expect(row).to_contain_text(re.compile("ready|searchable", re.I), timeout=60_000)
    failed = page.locator("tr", has_text="broken")
    expect(failed).to_contain_text(
        re.compile("damaged|broken|can.t be read|not a", re.I), timeout=60_000
    )
    picture(page, "knowledge-corpus")
    page.goto("/")
    talk_to(page, "Customer service")
    say(page, "When is the shop in Bergen closed over the holidays?")
    assert "24 December to 2 January" in last_answer(page)


def test_an_admin_trains_an_adapter_and_puts_it_behind_an_assistant(
    open_page: OpenPage, picture: Picture, tmp_path: Path
) -> None:
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"Do you ship to island number {number}?"},
                    {"role": "assistant", "content": f"Yes, we ship to island {number} by boat."},
                ]
            }
        )
        for number in range(40)
    ]
    lines[16] = '{"messages": [{"role": "user", "content": "cut off'
    file = tmp_path / "islands.jsonl"
    file.write_text("\n".join(lines))
    page = open_page("/w/demo/tuning/data/")
    upload = page.locator("form[enctype]")
    upload.locator("[name=name]").fill("Islands")
    upload.locator("[name=file]").set_input_files(file)
    page.get_by_role("button", name="Upload and examine").click()
    # The first examination makes the training base from the carried weights, which takes longest.
    expect(page.locator("main")).to_contain_text("17", timeout=240_000)
    expect(page.locator("main")).to_contain_text("39")
    picture(page, "tuning-doctor")
    page.get_by_role("link", name="Train on it").click()
    page.locator("[name=assistant]").select_option("service")
    page.locator("[name=name]").fill("islands")
    page.locator("[name=steps]").fill("4")
    page.get_by_role("button", name="Start the run").click()
    chart = page.locator("[data-loss-chart] svg .loss-raw")
    expect(chart.first).to_be_attached(timeout=180_000)
    first = chart.first.get_attribute("points")
    page.wait_for_function(
        "before => document.querySelector('[data-loss-chart] svg .loss-raw')?.getAttribute('points') !== before",
        arg=first,
        timeout=120_000,
    )
    picture(page, "tuning-run")
    page.goto("/w/demo/tuning/adapters/")
    for _try in range(60):
        if page.get_by_text("demo.islands").count():
            break
        page.wait_for_timeout(3000)
        page.reload()
    expect(page.get_by_text("demo.islands").first).to_be_visible()
    picture(page, "tuning-adapters")
    adapter = page.locator("article", has_text="demo.islands")
    adapter.get_by_label("Put behind").select_option("service")
    adapter.get_by_role("button", name="Let it answer").click()
    expect(page.get_by_text("Answers for Customer service", exact=True)).to_be_visible(
        timeout=90_000
    )
    page.goto("/w/demo/assistants/")
    expect(page.locator("main")).to_contain_text("demo.islands")


def test_an_integrator_uses_the_api_with_a_key_from_the_page(
    open_page: OpenPage, installation: Installation, picture: Picture
) -> None:
    page = open_page("/w/demo/integrations/")
    page.get_by_text("Make a key").click()
    page.locator("#id_name").fill("script")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret").inner_text()
    picture(page, "integrations-key")
    api = httpx.Client(
        base_url=f"{installation.address}/api/v1",
        headers={"Authorization": f"Bearer {secret}"},
        timeout=60,
    )
    conversation = api.post("/conversations", json={"assistant": "service"}).json()["id"]
    answer = api.post(
        f"/conversations/{conversation}/messages", json={"text": "How long do refunds take?"}
    ).json()
    assert answer["status"] == "complete"
    assert answer["citations"]


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_the_screen(
    open_page: OpenPage, picture: Picture, language: str, width: int, scheme: str
) -> None:
    """Nothing scrolls sideways, every control has a name, the page has one main heading."""
    paths = [
        "/",
        "/c/",
        "/w/demo/knowledge/",
        "/w/demo/tuning/",
        "/w/demo/tuning/data/",
        "/w/demo/tuning/adapters/",
        "/w/demo/integrations/",
        "/w/demo/members/",
        "/w/demo/assistants/",
        "/w/demo/service/",
        "/w/demo/medical/",
        "/w/demo/legal/",
    ]
    page = open_page("/", width=width, scheme=scheme, language=language)
    for path in paths:
        page.goto(path)
        name = path.strip("/").replace("/", "-") or "home"
        picture(page, f"{name}-{width}-{scheme}-{language}")
        sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert sideways <= 0, f"{path} is {sideways} px too wide"
        assert page.locator("h1").count() == 1, path
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input:not([type=hidden]), select, textarea')]
                .filter(e => e.checkVisibility() && !(e.innerText?.trim() || e.getAttribute('aria-label')
                    || e.labels?.length || e.title || e.getAttribute('aria-labelledby')))
                .map(e => e.outerHTML)"""
        )
        assert nameless == [], path
        assert page.locator("html").get_attribute("lang") == (
            "zh-hans" if language == "zh-hans" else "en"
        )


def test_the_chat_works_by_keyboard_alone(open_page: OpenPage) -> None:
    page = open_page("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    button = page.get_by_role("button", name="Talk to: Legal")
    for _press in range(60):
        if button.evaluate("e => e === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#composer-text")).to_be_focused()
    page.keyboard.type("Who should sign an agreement?")
    page.keyboard.press("Enter")
    answers = page.locator("article[data-role=assistant]:not([aria-busy])")
    expect(answers).to_have_count(1, timeout=60_000)
    expect(page.locator("#composer-text")).to_be_focused()
    assert page.locator("[aria-live=polite]").count() == 1
    for opener in ("Edit", "Correct this answer"):
        summary = page.locator("#transcript summary", has_text=opener)
        opened = page.locator("details[open]", has=page.locator("summary", has_text=opener))
        summary.focus()
        page.keyboard.press("Enter")
        expect(opened).to_have_count(1)
        page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(opened).to_have_count(0)
        expect(summary).to_be_focused()


def test_escape_closes_a_menu_and_leaves_the_answer_alone(open_page: OpenPage) -> None:
    page = open_page("/")
    talk_to(page, "Legal")
    page.locator("#transcript").evaluate(
        """transcript => {
            const stop = document.createElement("button");
            stop.dataset.stop = "";
            stop.onclick = () => { stop.textContent = "pressed"; };
            transcript.append(stop);
        }"""
    )
    menu = page.locator(".site-tools details.menu")
    menu.locator("summary").click()
    expect(menu).to_have_attribute("open", "")
    page.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    expect(menu.locator("summary")).to_be_focused()
    expect(page.locator("[data-stop]")).to_be_empty()
    page.keyboard.press("Escape")
    expect(page.locator("[data-stop]")).to_have_text("pressed")


def test_a_part_of_a_service_is_removed_when_that_is_confirmed(open_page: OpenPage) -> None:
    page = open_page("/w/demo/service/shop/")
    page.get_by_role("button", name="Edit").click()
    intents = page.locator("#intents li")
    before = intents.count()
    remove = intents.last.get_by_role("button", name=re.compile("^Remove "))
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        if len(asked) == 2:
            dialog.accept()
        else:
            dialog.dismiss()

    page.on("dialog", answer)
    remove.focus()
    page.keyboard.press("Enter")
    expect(intents).to_have_count(before)
    intents.last.get_by_role("button", name=re.compile("up$")).click()  # which asks nothing
    intents.nth(before - 2).get_by_role("button", name=re.compile("^Remove ")).click()
    expect(intents).to_have_count(before - 1)
    assert asked[0] == asked[1]
    assert asked[0].startswith("Remove “")
    page.get_by_role("button", name="Discard").click()
    assert len(asked) == 3
