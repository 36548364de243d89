from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from modeling.training import objective
from modeling.training.lora import load_base
from modeling.training.objective import LinearCrossEntropy, SupervisedLoss
from modeling.training.packing import Batch, TokenStore, collate
from modeling.training.recipe import Recipe
from modeling.training.trainer import loss_of, prepare


@pytest.fixture
def store(data_path: Path, model_dir: Path, tmp_path: Path) -> TokenStore:
    return TokenStore.build(
        tmp_path / "tokens", data_path=data_path, model_dir=model_dir, max_tokens=256
    )


def hidden(loss: SupervisedLoss, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return loss.hidden_states(
            batch.token_ids, batch.position_ids, batch.bounds, batch.bounds_tensor
        )[0]


def test_packed_equals_unpacked(model_dir: Path, store: TokenStore) -> None:
    loss = SupervisedLoss(load_base(model_dir, torch.float32), torch.float32)
    sequence = [3, 14, 7, 20]
    packed = hidden(loss, collate(store, sequence))
    alone = torch.cat([hidden(loss, collate(store, [index])) for index in sequence])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_a_conversation_does_not_see_its_neighbour(model_dir: Path, store: TokenStore) -> None:
    loss = SupervisedLoss(load_base(model_dir, torch.float32), torch.float32)
    length = int(store.lengths[5])
    beside_one = hidden(loss, collate(store, [1, 5]))[-length:]
    beside_other = hidden(loss, collate(store, [2, 5]))[-length:]
    torch.testing.assert_close(beside_one, beside_other, atol=1e-6, rtol=1e-6)


def test_the_loss_and_its_gradients_are_those_of_the_plain_model(
    make_recipe: Callable[..., Recipe], model_dir: Path
) -> None:
    run = prepare(make_recipe())
    lora = run.recipe.lora
    assert run.adapter is not None
    for name, parameter in run.adapter.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = collate(run.store, [8])
    ours = loss_of(run.model, batch)
    ours.backward()
    gradients = {n: p.grad.clone() for n, p in run.adapter.named_parameters() if p.grad is not None}
    run.adapter.zero_grad()

    # The same weights through PEFT's own layers, transformers' attention and full logits.
    import peft

    plain_base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    with pytest.warns(FutureWarning):
        plain = peft.get_peft_model(
            plain_base,
            peft.LoraConfig(
                task_type="CAUSAL_LM",
                r=lora.rank,
                lora_alpha=lora.alpha,
                target_modules=list(lora.target_modules),
            ),
        )
    plain.load_state_dict(run.adapter.state_dict())
    labels = torch.full_like(batch.token_ids, -100)
    labels[0, batch.places + 1] = batch.targets
    logits = plain(input_ids=batch.token_ids).logits
    reference = functional.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum")
    reference.backward()
    torch.testing.assert_close(ours, reference, atol=1e-3, rtol=1e-5)
    expected = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=2e-4, rtol=1e-3)


def test_linear_cross_entropy_gives_both_gradients_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Chunks of 500 rows, the last one shorter.
    monkeypatch.setitem(objective._LOGITS_PER_CHUNK, "cpu", 500 * 30)
    torch.manual_seed(0)
    hidden_states = torch.randn(1100, 8, requires_grad=True)
    weight = torch.randn(30, 8, requires_grad=True)
    targets = torch.randint(0, 30, (1100,))
    ours = LinearCrossEntropy.apply(hidden_states, weight, targets)
    ours.backward()
    gradients = hidden_states.grad, weight.grad
    hidden_states.grad = weight.grad = None
    reference = functional.cross_entropy(hidden_states @ weight.T, targets, reduction="sum")
    reference.backward()
    torch.testing.assert_close(ours, reference)
    torch.testing.assert_close(gradients[0], hidden_states.grad)
    torch.testing.assert_close(gradients[1], weight.grad, atol=1e-4, rtol=1e-4)


def test_a_model_with_capped_logits_is_refused(model_dir: Path) -> None:
    model = load_base(model_dir, torch.float32)
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(ValueError, match="final_logit_softcapping"):
        SupervisedLoss(model, torch.float32)
