"""From the packed data to tokens that the trainer reads.

    python -m modeling.training.mix.build items --data DIR --out items.jsonl.xz
    python -m modeling.training.mix.build chat --model DIR --out chat.jsonl
    python -m modeling.training.mix.build tokens --data DIR --model DIR --items items.jsonl.xz \
        --chat chat.jsonl --out DIR

`items` needs the ontology's package, `chat` wants a GPU, `tokens` wants many cores; each writes one
file or folder and prints what it holds. `tokens` makes `train/` and `held_out/<domain>/`, each a
store of the trainer.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from modeling.state_tracking.augment import Augmentation, Sources, sample
from modeling.state_tracking.sgd import Track, read_schemas, tracks
from modeling.training.chat import ChatTokenizer, Encoded
from modeling.training.mix import chat as base_chat
from modeling.training.mix import clauses, findings, grounded, texts
from modeling.training.mix.items import Domain, Item, is_held_out, rows
from modeling.training.packing import TokenStore

END_OF_TEXT = "<|endoftext|>"
SHORTEST, LONGEST = 8, 2048
"""Tokens of what is trained on; the rest is left out and counted."""
TEXT_SHARE = {"customer_service": 0.14, "medical": 0.2, "legal": 0.2}
"""Of the plain text of a trade: its many tokens would drown the tasks, which learn few."""
SERVICE_SHARE = 0.15
CHAT_PROMPTS = 6000


def documents(data: Path, *, seed: int) -> Iterator[Item]:
    """Everything but state tracking and the base's own answers, duplicates left out."""
    rng = random.Random(seed)  # noqa: S311 - order and wording, not a secret
    seen: set[str] = set()
    parts: Iterable[Iterator[Item]] = (
        (item for item in texts.texts(data) if rng.random() < TEXT_SHARE[item.domain]),
        texts.service_answers(data, rng, share=SERVICE_SHARE),
        grounded.medical(data, rng),
        grounded.contracts(data, rng),
        findings.findings(data, rng),
        clauses.clauses(data, rng),
    )
    for part in parts:
        for item in part:
            key = item.text or json.dumps(item.messages)
            if key not in seen:
                seen.add(key)
                yield item


def read_items(path: Path) -> Iterator[Item]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield Item(**json.loads(line))


def encode(chat: ChatTokenizer, items: Sequence[Item]) -> list[Encoded]:
    """Token ids and supervised marks; of plain text everything is learnt, its end included."""
    plain = [item for item in items if item.text]
    ids = chat.tokenizer.encode_batch_fast([i.text for i in plain], add_special_tokens=False)
    end = chat.tokenizer.token_to_id(END_OF_TEXT)
    if end is None:
        raise ValueError(f"the tokenizer has no {END_OF_TEXT}; plain text needs an end mark")
    encoded_texts = iter(Encoded([*found.ids, end], [True] * (len(found.ids) + 1)) for found in ids)
    talks = [item for item in items if not item.text]
    segments = [_segments(chat, item) for item in talks]
    pieces = [text for talk in segments for text, _ in talk]
    encoded_pieces = iter(chat.tokenizer.encode_batch_fast(pieces, add_special_tokens=False))

    def joined(talk: list[tuple[str, bool]]) -> Encoded:
        token_ids: list[int] = []
        supervised: list[bool] = []
        for _, learnt in talk:
            piece = next(encoded_pieces).ids
            token_ids.extend(piece)
            supervised.extend([learnt] * len(piece))
        return Encoded(token_ids, supervised)

    encoded_talks = (joined(talk) for talk in segments)
    return [next(encoded_texts if item.text else encoded_talks) for item in items]


def _segments(chat: ChatTokenizer, item: Item) -> list[tuple[str, bool]]:
    """As `ChatTokenizer.segments`, from one rendering instead of two for each answer.

    A dialogue has twenty answers and the mix a hundred thousand dialogues. A test holds both equal.
    """
    text = chat.render(item.messages)
    opening = chat.render(item.messages[:1], add_generation_prompt=True)
    opening = opening.removeprefix(chat.render(item.messages[:1]))
    weights = iter(item.weights or [1] * len(item.messages))
    segments, done = [], 0
    for message in item.messages:
        if message["role"] != "assistant":
            continue
        start = text.index(opening + message["content"], done) + len(opening)
        end = text.index("<|im_end|>", start + len(message["content"])) + len("<|im_end|>")
        segments += [(text[done:start], False), (text[start:end], next(weights) != 0)]
        done = end
    if item.is_cut:
        last, learnt = segments.pop()
        segments.append((last.removesuffix("<|im_end|>"), learnt))
    return segments


def state_items(
    data: Path, part: int, parts: int, *, seed: int, pass_number: int
) -> Iterator[Item]:
    """One augmented pass over every `parts`-th training track that isn't held out."""
    every = [
        track
        for row in rows(data / "sgd/train.jsonl.xz")
        if not is_held_out(row["i"])
        for track in tracks(row)
    ]
    sources = Sources.of(read_schemas(data / "sgd/schemas.json.xz"), every)
    rng = random.Random(f"{seed} {pass_number} {part}")  # noqa: S311
    for track in every[part::parts]:
        yield _state_item(track, sources, rng)


def _state_item(track: Track, sources: Sources, rng: random.Random) -> Item:
    made = sample(track, sources, Augmentation(), rng)
    return Item(
        domain="customer_service",
        task="state",
        document=track.dialogue,
        messages=made.messages,
        weights=made.weights,
    )


def _encode_state(work: tuple[Path, Path, int, int, int, int]) -> list[Encoded]:
    data, model, part, parts, seed, pass_number = work
    chat = ChatTokenizer.load(model)
    return encode(chat, list(state_items(data, part, parts, seed=seed, pass_number=pass_number)))


def _encode_items(work: tuple[Path, list[Item]]) -> list[Encoded]:
    model, items = work
    return encode(ChatTokenizer.load(model), items)


def build_tokens(
    data: Path,
    model: Path,
    out: Path,
    *,
    items: Path,
    chat: Path | None,
    passes: int,
    document_repeats: int,
    seed: int,
    workers: int,
) -> dict[str, object]:
    """Write the stores; returns counts of conversations and tokens by domain and task."""
    training: list[Item] = []
    held_out: dict[Domain, list[Item]] = {}
    every = [*read_items(items), *(base_chat.items(chat) if chat else ())]
    for item in every:
        if item.is_held_out:
            held_out.setdefault(item.domain, []).append(item)
        else:
            training.extend([item] * (1 if item.task == "chat" else document_repeats))
    counts: Counter[str] = Counter()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"

    def kept(encoded: Iterable[Encoded], label: str) -> Iterator[Encoded]:
        for one in encoded:
            fits = SHORTEST <= len(one.token_ids) <= LONGEST and any(one.supervised)
            counts[f"{label}.{'items' if fits else 'left_out'}"] += 1
            if fits:
                counts[f"{label}.tokens"] += len(one.token_ids)
                counts[f"{label}.learnt"] += sum(one.supervised)
                yield one

    with ProcessPoolExecutor(workers) as pool:

        def train() -> Iterator[Encoded]:
            work = [
                (data, model, part, workers, seed, number)
                for number in range(passes)
                for part in range(workers)
            ]
            for encoded in pool.map(_encode_state, work):
                yield from kept(encoded, "customer_service.state")
            by_task: dict[str, list[Item]] = {}
            for item in training:
                by_task.setdefault(f"{item.domain}.{item.task}", []).append(item)
            for label, group in by_task.items():
                chunks = [group[i : i + 500] for i in range(0, len(group), 500)]
                for encoded in pool.map(_encode_items, [(model, chunk) for chunk in chunks]):
                    yield from kept(encoded, label)

        out.mkdir(parents=True, exist_ok=True)
        TokenStore.write(out / "train", train(), fingerprint=f"mix {seed} {passes}")
        for domain, group in held_out.items():
            TokenStore.write(
                out / "held_out" / domain,
                kept(_encode_items((model, group)), f"held_out.{domain}"),
                fingerprint=f"mix held out {domain}",
            )
    return dict(sorted(counts.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name) for name in ("items", "chat", "tokens")}
    for command in made.values():
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--seed", type=int, default=0)
    for name in ("items", "tokens"):
        made[name].add_argument("--data", type=Path, required=True)
    for name in ("chat", "tokens"):
        made[name].add_argument("--model", type=Path, required=True)
    made["chat"].add_argument("--count", type=int, default=CHAT_PROMPTS)
    made["chat"].add_argument("--answers", type=int, default=1, help="drawn for each prompt")
    made["chat"].add_argument("--batch", type=int, default=4096)
    made["chat"].add_argument("--device", default="cuda")
    made["tokens"].add_argument("--items", type=Path, required=True)
    made["tokens"].add_argument("--chat", type=Path)
    made["tokens"].add_argument("--passes", type=int, default=3)
    made["tokens"].add_argument("--document-repeats", type=int, default=1)
    made["tokens"].add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    counts: object
    if options.command == "items":
        tally: Counter[str] = Counter()
        with lzma.open(options.out, "wt", encoding="utf-8", preset=1) as file:
            for item in documents(options.data, seed=options.seed):
                tally[f"{item.domain}.{item.task}"] += 1
                file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")
        counts = dict(tally)
    elif options.command == "chat":
        asked = base_chat.prompts(options.count, options.seed) * options.answers
        with options.out.open("w", encoding="utf-8") as file:
            for prompt, text, finished in base_chat.answer(
                options.model, asked, batch=options.batch, seed=options.seed, device=options.device
            ):
                line = {"prompt": prompt, "answer": text, "finished": finished}
                file.write(json.dumps(line) + "\n")
        counts = {"answers": len(asked)}
    else:
        counts = build_tokens(
            options.data,
            options.model,
            options.out,
            items=options.items,
            chat=options.chat,
            passes=options.passes,
            document_repeats=options.document_repeats,
            seed=options.seed,
            workers=options.workers,
        )
    sys.stdout.write(json.dumps(counts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
