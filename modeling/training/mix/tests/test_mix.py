"""The training mix: what is held out stays out, and what is written is what the model is taught."""

import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest

from modeling.training.chat import ChatTokenizer
from modeling.training.mix import chat, clauses, findings, grounded, texts
from modeling.training.mix.build import documents, encode
from modeling.training.mix.items import contract_name, is_held_out, sentences


def pack(path: Path, *values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(value) + "\n" for value in values)


def disease(name: str) -> dict[str, Any]:
    answers = {
        f"What is (are) {name} ?": f"{name} is a made-up disease of the ear. It was first seen in "
        "a small town. People hear bells for many days.",
        f"What causes {name} ?": f"A change in the gene EAR1 causes {name} in most people. The "
        "change is found in both parents of a child.",
    }
    return {"focus": name, "url": "", "qa": [{"q": q, "a": a} for q, a in answers.items()]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    turns = [["Hello, a table please.", {}], "Which day?", ["Monday", {}], "Done."]
    pack(
        tmp_path / "sgd/train.jsonl.xz", *({"i": f"1_{n}", "s": [], "t": turns} for n in range(30))
    )
    pack(tmp_path / "medical/medquad.jsonl.xz", *(disease(f"Bellitis {n}") for n in range(30)))
    clause = (
        "This Agreement is governed by the laws of Ontario, Canada, without regard to its rules "
        "on conflicts of law."
    )
    kinds = dict.fromkeys(grounded._CLAUSES, "[]") | {"Governing Law": repr([clause])}
    pack(
        tmp_path / "legal/cuad_clauses_dev.jsonl.xz",
        *(
            {"Filename": f"Deal {n}.PDF", "Document Name-Answer": "supply agreement", **kinds}
            for n in range(30)
        ),
    )
    text = f'1. Terms. "Goods" means all things that are sold under this Agreement. {clause}'
    pack(
        tmp_path / "legal/cuad_dev.jsonl.xz",
        *({"name": f"Deal {n}", "text": text} for n in range(30)),
    )
    pack(
        tmp_path / "medical/phenopackets_dev.jsonl.xz",
        {"dx": "OMIM:1", "sex": "MALE", "obs": ["HP:0001250"], "exc": ["HP:0001945", "HP:9999999"]},
    )
    return tmp_path


def test_about_one_document_in_twelve_is_held_out_always_the_same() -> None:
    held_out = [name for name in map(str, range(6000)) if is_held_out(name)]
    assert 420 < len(held_out) < 580
    assert held_out == [name for name in map(str, range(6000)) if is_held_out(name)]


def test_all_tasks_of_one_document_fall_on_the_same_side(data: Path) -> None:
    items = [*clauses.clauses(data, random.Random(0)), *grounded.contracts(data, random.Random(0))]
    assert {item.document for item in items} == {f"Deal {n}" for n in range(30)}
    assert contract_name("Deal.pdf") == contract_name("Deal.PDF") == "Deal"


def test_grounded_answers_quote_the_passage_that_they_cite(data: Path) -> None:
    answered = refused = 0
    for seed in range(5):
        for item in grounded.medical(data, random.Random(seed)):
            _, question, answer = (message["content"] for message in item.messages)
            if answer == grounded.NOT_SAID:
                refused += 1
                continue
            answered += 1
            for part in answer.split("] ")[:-1]:
                sentence, number = part.rsplit(" [", 1)
                line = question.split(f"[{number}] ")[1].split("\n")[0]
                assert sentence in line
    assert answered > refused > 0


def test_findings_are_listed_in_the_order_of_the_text(data: Path) -> None:
    (item,) = findings.findings(data, random.Random(3))
    told, listed = item.messages[1]["content"], item.messages[2]["content"]
    assert "seizure" in told
    assert "+ Seizure" in listed.splitlines()
    assert all(
        line.removeprefix("- ").lower() in told for line in listed.splitlines() if line[0] == "-"
    )


def test_clauses_and_definitions_are_drafted_in_the_contracts_words(data: Path) -> None:
    answers = {item.messages[2]["content"] for item in clauses.clauses(data, random.Random(0))}
    assert any(answer.startswith("This Agreement is governed") for answer in answers)
    assert '"Goods" means all things that are sold under this Agreement.' in answers


def test_no_text_of_a_development_split_is_read(data: Path) -> None:
    """The dialogues' development file may be missing altogether."""
    assert not (data / "sgd/dev.jsonl.xz").exists()
    assert {item.task for item in documents(data, seed=0)} >= {"grounded", "clauses", "findings"}


def test_long_texts_are_cut_and_lose_nothing() -> None:
    text = "\n".join(f"Line {n} of a long contract that goes on and on." for n in range(400))
    parts = texts.pieces(text)
    assert len(parts) > 3
    assert max(map(len, parts)) <= texts.PIECE
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_sentences_leave_out_headings_and_scraps() -> None:
    found = sentences(
        "Key Points\n- This is a whole sentence about bells. Short. And one more of them!"
    )
    assert found == ["This is a whole sentence about bells."]


def test_prompts_differ_and_repeat_with_the_seed() -> None:
    drawn = chat.prompts(500, seed=1)
    assert len(set(drawn)) == 500
    assert drawn == chat.prompts(500, seed=1) != chat.prompts(500, seed=2)
    with pytest.raises(ValueError, match="prompts asked for"):
        chat.prompts(10**6, seed=1)


def test_the_end_of_a_cut_answer_is_not_learnt(tmp_path: Path, model_dir: Path) -> None:
    told = [
        {"prompt": "what is blue", "answer": "blue is red", "finished": True},
        {"prompt": "what is red", "answer": "red is and", "finished": False},
    ]
    file = tmp_path / "chat.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
    tokenizer = ChatTokenizer.load(model_dir)
    whole, cut = encode(tokenizer, list(chat.items(file)))
    end = tokenizer.tokenizer.token_to_id("<|im_end|>")
    for found, ends in ((whole, True), (cut, False)):
        learnt = [t for t, kept in zip(found.token_ids, found.supervised, strict=True) if kept]
        assert (end in learnt) == ends
        assert tokenizer.tokenizer.decode(learnt).strip().startswith(("blue is", "red is"))
