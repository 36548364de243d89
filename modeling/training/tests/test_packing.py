from __future__ import annotations

from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest

from modeling.training.chat import ChatTokenizer
from modeling.training.conversations import read_conversations
from modeling.training.packing import Cursor, Plan, TokenStore, collate, hold_out, pack
from modeling.training.tests.conftest import conversation, write_jsonl


@pytest.fixture
def store(data_path: Path, model_dir: Path, tmp_path: Path) -> TokenStore:
    return TokenStore.build(
        tmp_path / "tokens", data_path=data_path, model_dir=model_dir, max_tokens=256
    )


def test_it_stores_what_the_tokeniser_gives(
    store: TokenStore, data_path: Path, model_dir: Path
) -> None:
    chat = ChatTokenizer.load(model_dir)
    encoded = chat.encode([c.messages for c in read_conversations(data_path)])
    assert len(store) == len(encoded) == store.inventory.conversations
    for index, expected in enumerate(encoded):
        token_ids, supervised = store.tokens(index)
        assert token_ids.tolist() == expected.token_ids
        assert supervised.tolist() == expected.supervised
    assert store.inventory.supervised_tokens == sum(sum(e.supervised) for e in encoded)


def test_too_long_conversations_are_left_out_and_counted(model_dir: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [conversation(1), conversation(2, turns=9, words=30)])
    store = TokenStore.build(tmp_path / "t", data_path=path, model_dir=model_dir, max_tokens=100)
    assert (len(store), store.inventory.too_long) == (1, 1)


def test_it_is_built_again_when_the_data_changes_or_building_was_cut_short(
    model_dir: Path, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [conversation(1)])
    directory = tmp_path / "t"

    def built() -> TokenStore:
        return TokenStore.build(directory, data_path=path, model_dir=model_dir, max_tokens=100)

    assert len(built()) == 1
    write_jsonl(path, [conversation(1), conversation(2)])
    assert len(built()) == 2
    (directory / "inventory.json").unlink()
    (directory / "token_ids.npy").write_bytes(b"cut")
    assert built().tokens(0)[0].dtype == np.int32


def test_packing_loses_nothing_and_exceeds_nothing(store: TokenStore) -> None:
    indices = list(range(len(store)))
    sequences = pack(indices, store.lengths, max_tokens=256, seed=3, epoch=0)
    assert sorted(chain.from_iterable(sequences)) == indices
    sizes = [int(store.lengths[sequence].sum()) for sequence in sequences]
    assert max(sizes) <= 256
    assert sum(sizes) / (256 * len(sizes)) > 0.85


def test_the_order_follows_from_seed_and_epoch(store: TokenStore) -> None:
    indices = list(range(len(store)))

    def order(seed: int, epoch: int) -> list[list[int]]:
        return pack(indices, store.lengths, max_tokens=256, seed=seed, epoch=epoch)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_a_cursor_continues_where_it_was_taken(store: TokenStore) -> None:
    plan = Plan.of(
        list(range(len(store))),
        store.lengths,
        max_tokens=256,
        seed=0,
        sequences_per_step=3,
        steps=0,
        epochs=2.5,
    )
    whole = list(islice(plan.steps_from(Cursor()), plan.steps))
    for taken in range(1, plan.steps):
        cursor = whole[taken - 1][1]
        rest = list(islice(plan.steps_from(cursor), plan.steps - taken))
        assert rest == whole[taken:]
    per_epoch = len(plan.sequences(0))
    assert plan.steps == pytest.approx(2.5 * per_epoch / 3, abs=1)


def test_labels_are_shifted_once_and_lie_on_answers_only(store: TokenStore) -> None:
    sequence = [4, 9, 2]
    batch = collate(store, sequence)
    token_ids = batch.token_ids[0]
    expected_places, expected_targets = [], []
    start = 0
    for index in sequence:
        ids, supervised = store.tokens(index)
        for position in range(1, len(ids)):
            if supervised[position]:
                expected_places.append(start + position - 1)
                expected_targets.append(int(ids[position]))
        start += len(ids)
    assert batch.places.tolist() == expected_places
    assert batch.targets.tolist() == expected_targets
    assert token_ids[batch.places + 1].tolist() == expected_targets
    assert batch.bounds[-1] == start == batch.num_tokens


def test_positions_start_again_in_each_conversation(store: TokenStore) -> None:
    batch = collate(store, [0, 1])
    first, second = int(store.lengths[0]), int(store.lengths[1])
    assert batch.position_ids[0].tolist() == [*range(first), *range(second)]


def test_equal_conversations_are_never_on_both_sides(model_dir: Path, tmp_path: Path) -> None:
    lines = [conversation(seed % 20) for seed in range(60)]
    path = write_jsonl(tmp_path / "d.jsonl", lines)
    store = TokenStore.build(tmp_path / "t", data_path=path, model_dir=model_dir, max_tokens=256)
    training, evaluation = hold_out(store, share=0.25, at_most=100, seed=1)
    assert not {int(store.hashes[i]) for i in training} & {int(store.hashes[i]) for i in evaluation}
    assert len(evaluation) == 5
    assert len(training) == 45
    assert hold_out(store, share=0.25, at_most=2, seed=1)[1] != []
    assert hold_out(store, share=0.0, at_most=2, seed=1) == (list(range(60)), [])
