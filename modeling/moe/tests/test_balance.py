from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed
from transformers import Glm4MoeForCausalLM, LlamaForCausalLM

from modeling.moe.balance import (
    BiasBalancer,
    auxiliary_loss,
    collected_logits,
    counted_load,
    domain_shares,
    measure,
    shares,
)
from modeling.moe.routers import (
    NoRouters,
    SoftmaxTopkRouter,
    keep_routers_in_float32,
    routers,
    use_softmax_routers,
)
from modeling.moe.tests.conftest import EXPERTS


def biases(model: Glm4MoeForCausalLM) -> torch.Tensor:
    return torch.stack([layer.mlp.gate.e_score_correction_bias for layer in model.model.layers])


def test_every_choice_is_counted(mixture: Glm4MoeForCausalLM, tokens: torch.Tensor) -> None:
    with counted_load(mixture) as counter, torch.no_grad():
        mixture(input_ids=tokens)
        chosen = [
            layer.mlp.gate(torch.ones(1, 32))[2] for layer in mixture.model.layers
        ]  # three more, by hand
        load = counter.read()
    assert load.sum(axis=1).tolist() == [(tokens.numel() + 1) * EXPERTS.top_k] * 3
    assert all(load[layer][expert] > 0 for layer in range(3) for expert in chosen[layer][0])
    mixture(input_ids=tokens)
    assert (counter.read() == load).all()


def test_padding_is_not_counted(mixture: Glm4MoeForCausalLM, tokens: torch.Tensor) -> None:
    with torch.no_grad():
        with counted_load(mixture) as alone:
            mixture(input_ids=tokens[:1, :10])
        padded = tokens[:1].clone()
        padded[:, 10:] = 0
        with counted_load(mixture) as counter:
            counter.token_mask = (torch.arange(24) < 10)[None]
            mixture(input_ids=padded)
    assert (alone.read() == counter.read()).all()


def test_the_bias_moves_by_gamma_towards_the_mean(
    mixture: Glm4MoeForCausalLM, tokens: torch.Tensor
) -> None:
    balancer = BiasBalancer(mixture, gamma=0.01)
    mixture.train()
    mixture(input_ids=tokens)
    load = balancer.update()
    mean = tokens.numel() * EXPERTS.top_k / EXPERTS.number
    expected = 0.01 * torch.sign(mean - torch.from_numpy(load))
    assert torch.allclose(biases(mixture).double(), expected.double())
    assert expected.abs().max() > 0


def test_micro_batches_count_as_one_step(mixture: Glm4MoeForCausalLM, tokens: torch.Tensor) -> None:
    balancer = BiasBalancer(mixture)
    mixture.train()
    mixture(input_ids=tokens)
    whole = balancer.update()
    biases_after_whole = biases(mixture).clone()
    for layer in mixture.model.layers:
        layer.mlp.gate.e_score_correction_bias.zero_()
    for row in tokens:
        mixture(input_ids=row[None])
    assert (balancer.update() == whole).all()
    assert torch.equal(biases(mixture), biases_after_whole)


def test_evaluation_does_not_move_the_bias(
    mixture: Glm4MoeForCausalLM, tokens: torch.Tensor
) -> None:
    balancer = BiasBalancer(mixture)
    mixture.eval()
    mixture(input_ids=tokens)
    assert balancer.update().sum() == 0
    assert biases(mixture).abs().max() == 0


def test_repeated_updates_even_out_the_load(
    mixture: Glm4MoeForCausalLM, tokens: torch.Tensor
) -> None:
    with torch.no_grad():
        for layer in mixture.model.layers:
            # Every token takes the first expert.
            layer.mlp.gate.e_score_correction_bias[0] = 1.0
        mixture.train()
        balancer = BiasBalancer(mixture, gamma=0.01)
        first = None
        for _ in range(200):
            mixture(input_ids=tokens)
            last = balancer.update()
            first = last if first is None else first
    assert first is not None
    before, after = measure(first).summary(), measure(last).summary()
    assert before["max_over_mean"] == EXPERTS.number / EXPERTS.top_k
    assert after["cv"] < 0.5 * before["cv"]
    assert after["dead_experts"] == 0


def _count_and_update(rank: int, store: str, results: Any) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    router = _Router()
    balancer = BiasBalancer(router, gamma=0.5)
    # The first process sends 3 tokens to experts 0 and 1, the second 2 to experts 1 and 2.
    router(torch.tensor([[0, 1]] * 3) if rank == 0 else torch.tensor([[1, 2]] * 2))
    load = balancer.update()
    results.put((rank, load.tolist(), router.e_score_correction_bias.tolist()))
    distributed.destroy_process_group()


class _Router(torch.nn.Module):
    """Chooses the experts it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(4, 2))
        self.e_score_correction_bias = torch.nn.Buffer(torch.zeros(4))

    def forward(self, experts_TK: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.zeros(len(experts_TK), 4), experts_TK.float(), experts_TK


def test_two_processes_move_by_their_common_load(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["modeling.moe.balance"])
    results = context.Queue()
    processes = [
        context.Process(target=_count_and_update, args=(rank, str(tmp_path / "store"), results))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    answers = sorted(results.get(timeout=90) for _ in processes)
    for process in processes:
        process.join(timeout=30)
        assert process.exitcode == 0
    # Mean 2.5: loads 3, 5, 2, 0.
    for _rank, load, bias in answers:
        assert load == [[3, 5, 2, 0]]
        assert bias == [-0.5, -0.5, 0.5, 0.5]


def test_measures_of_known_loads() -> None:
    even = measure([[5, 5, 5, 5]]).summary()
    assert even["cv"] == 0
    assert even["max_over_mean"] == 1
    assert even["dead_experts"] == 0
    assert even["entropy"] == pytest.approx(1.0)
    one = measure([[5, 5, 5, 5], [40, 0, 0, 0]])
    assert one.cv.tolist() == [0, pytest.approx(np.sqrt(3))]
    assert one.max_over_mean.tolist() == [1, 4]
    assert one.dead_experts.tolist() == [0, 3]
    assert one.entropy.tolist() == [pytest.approx(1.0), 0.0]
    assert one.summary()["cv_worst_layer"] == pytest.approx(np.sqrt(3))


def test_a_layer_without_tokens_has_no_balance() -> None:
    with pytest.raises(ValueError, match=r"layers \[1\]"):
        measure([[1, 1], [0, 0]])


def test_domains_share_an_expert_by_rate_not_by_size() -> None:
    by_domain = domain_shares({"law": [[90, 10, 0]], "medicine": [[0, 1, 0]]})
    assert by_domain["law"][0].tolist() == pytest.approx([1.0, 0.1 / 1.1, 0.5])
    assert (by_domain["law"] + by_domain["medicine"]).tolist() == [[1.0, 1.0, 1.0]]
    assert shares([[90, 10, 0]]).tolist() == [[0.9, 0.1, 0.0]]


def test_the_auxiliary_loss_of_known_routings() -> None:
    # Four tokens, each sure of another expert: even, so 1.
    even = torch.eye(4) * 50
    assert auxiliary_loss([even], top_k=1).item() == pytest.approx(1.0)
    # All sure of the same one: the number of experts.
    one = torch.tensor([[50.0, 0, 0, 0]] * 4)
    assert auxiliary_loss([one], top_k=1).item() == pytest.approx(4.0)
    # Two layers that would look even together do not hide each other.
    other = one.flip(1)
    assert auxiliary_loss([one, other], top_k=1).item() == pytest.approx(4.0)


def test_its_gradient_takes_load_from_the_busy_expert() -> None:
    logits = torch.tensor([[1.0, 0.5, 0.0]] * 5, requires_grad=True)
    auxiliary_loss([logits], top_k=1).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 1:] < 0).all()


def test_softmax_routers_stand_in_for_sigmoid_ones(
    dense: LlamaForCausalLM, mixture: Glm4MoeForCausalLM, tokens: torch.Tensor
) -> None:
    use_softmax_routers(mixture)
    found = routers(mixture)
    assert len(found) == 3
    assert all(isinstance(router, SoftmaxTopkRouter) for router in found.values())
    with collected_logits(mixture) as logits, counted_load(mixture) as counter:
        out = mixture(input_ids=tokens).logits
    assert torch.equal(out, dense(input_ids=tokens).logits)
    assert [tuple(layer.shape) for layer in logits] == [(tokens.numel(), EXPERTS.number)] * 3
    assert counter.read().sum() == 3 * tokens.numel() * EXPERTS.top_k
    auxiliary_loss(logits, top_k=EXPERTS.top_k).backward()
    assert mixture.model.layers[0].mlp.gate.weight.grad is not None
    with pytest.raises(NoRouters, match="balanced by auxiliary_loss"):
        BiasBalancer(mixture)


def test_softmax_weights_sum_to_one_and_follow_the_scores() -> None:
    router = SoftmaxTopkRouter(torch.eye(3), top_k=2)
    routed = router(torch.tensor([[0.0, 2.0, 1.0]]))
    assert routed.experts_TK.tolist() == [[1, 2]]
    assert routed.weights_TK.sum().item() == pytest.approx(1.0)
    assert (routed.weights_TK[0, 0] / routed.weights_TK[0, 1]).item() == pytest.approx(np.e)


def test_routers_stay_in_float32(mixture: Glm4MoeForCausalLM, tokens: torch.Tensor) -> None:
    mixture.bfloat16()
    keep_routers_in_float32(mixture)
    gate = mixture.model.layers[0].mlp.gate
    assert gate.weight.dtype == gate.e_score_correction_bias.dtype == torch.float32
    with collected_logits(mixture) as logits:
        out = mixture(input_ids=tokens).logits
    assert out.dtype == torch.bfloat16
    assert {layer.dtype for layer in logits} == {torch.float32}


def test_a_dense_model_has_no_routers(dense: LlamaForCausalLM) -> None:
    with pytest.raises(NoRouters, match="LlamaForCausalLM has no routed experts"):
        routers(dense)


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan")])
def test_a_gamma_that_cannot_balance_is_refused(mixture: Glm4MoeForCausalLM, gamma: float) -> None:
    with pytest.raises(ValueError, match="give a positive step"):
        BiasBalancer(mixture, gamma=gamma)
