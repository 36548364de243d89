"""The router and the experts that training puts in: they compute what transformers' do."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import Glm4MoeForCausalLM, LlamaForCausalLM

from modeling.moe.balance import BiasBalancer, LoadCounter, measure
from modeling.moe.experts import GroupedExperts, use_training_experts
from modeling.moe.routers import SigmoidTopkRouter, use_training_routers
from modeling.moe.upcycle import Experts, upcycle


@pytest.fixture
def trained(mixture: Glm4MoeForCausalLM) -> Glm4MoeForCausalLM:
    """A mixture whose routed experts say something and whose biases differ."""
    torch.manual_seed(3)
    with torch.no_grad():
        for layer in mixture.model.layers:
            layer.mlp.experts.down_proj.normal_(0.0, 0.1)
            layer.mlp.gate.e_score_correction_bias.normal_(0.0, 0.1)
    return mixture.train()


def test_outputs_and_gradients_are_those_of_transformers(
    trained: Glm4MoeForCausalLM, tokens: torch.Tensor
) -> None:
    theirs, ours = copy.deepcopy(trained), trained
    use_training_routers(ours)
    assert use_training_experts(ours) == 3
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    losses = []
    for model in (theirs, ours):
        output = model(input_ids=tokens, labels=tokens)
        output.loss.backward()
        losses.append(output.loss.item())
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    expected = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected[name].grad, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_wide_experts_are_grouped_with_the_same_result(
    make_dense: Callable[..., LlamaForCausalLM], tokens: torch.Tensor, frozen: bool
) -> None:
    """Several experts together wider than four times the model; some get no token at all."""
    theirs = upcycle(make_dense(), Experts(number=24, width=16, top_k=3), seed=0).train()
    torch.manual_seed(3)
    for layer in theirs.model.layers:
        experts = layer.mlp.experts
        torch.nn.init.normal_(experts.down_proj, 0.0, 0.1)
        experts.gate_up_proj.requires_grad_(not frozen)
        experts.down_proj.requires_grad_(not frozen)
        # Groups of so few tokens that some are empty.
        layer.mlp.gate.e_score_correction_bias[8:] = -1.0
    ours = copy.deepcopy(theirs)
    assert use_training_experts(ours) == 3
    assert isinstance(ours.model.layers[0].mlp.experts, GroupedExperts)
    for model in (theirs, ours):
        model(input_ids=tokens, labels=tokens).loss.backward()
    expected = dict(theirs.named_parameters())
    compared = 0
    for name, weight in ours.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(weight.grad, expected[name].grad, atol=2e-6, rtol=1e-4)
            compared += 1
    assert compared == sum(weight.requires_grad for weight in expected.values())


def test_the_router_counts_as_a_hook_would(
    trained: Glm4MoeForCausalLM, tokens: torch.Tensor
) -> None:
    counter = LoadCounter(trained, only_in_training=True)
    trained(input_ids=tokens)
    expected = counter.read()
    counter.close()
    groups = use_training_routers(trained)
    balancer = BiasBalancer(trained)
    trained(input_ids=tokens)
    trained.eval()(input_ids=tokens)
    assert (balancer.counter.read() == expected).all()
    trained.train()
    balancer.counter.reset()
    groups.counted_T = torch.zeros(tokens.numel())
    trained(input_ids=tokens)
    assert balancer.counter.read().sum() == 0


def test_groups_of_experts_are_refused(mixture: Glm4MoeForCausalLM) -> None:
    mixture.model.layers[0].mlp.gate.num_group = 2
    with pytest.raises(ValueError, match="give a mixture with n_group=1"):
        use_training_routers(mixture)


def test_the_balance_loss_is_one_for_an_even_group(mixture: Glm4MoeForCausalLM) -> None:
    groups = use_training_routers(mixture)
    router = mixture.model.layers[0].mlp.gate
    assert isinstance(router, SigmoidTopkRouter)
    groups.means_GT = torch.full((1, 4), 0.25)
    groups.weights_G = torch.tensor([2.0])
    scores = torch.full((4, 4), 0.5, requires_grad=True)
    even = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]] * 2)
    assert router._balance_loss(scores, even).item() == pytest.approx(2.0)
    crowded = torch.tensor([[1.0, 1, 0, 0]] * 4)
    router._balance_loss(scores, crowded).backward()
    assert scores.grad is not None
    # Downhill takes affinity from the crowded experts and gives it to the idle ones.
    assert (scores.grad[:, :2] > 0).all() and (scores.grad[:, 2:] < 0).all()


def test_the_balance_loss_evens_out_each_domain() -> None:
    """Three domains of tokens that one bias can't balance, because each has its own favourites."""
    torch.manual_seed(0)
    hidden, experts, tokens = 32, 8, 96
    centres = torch.randn(3, hidden)

    class _Gate(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(experts, hidden) * 0.3)
            self.e_score_correction_bias = torch.nn.Buffer(torch.zeros(experts))
            self.top_k, self.norm_topk_prob, self.routed_scaling_factor = 2, True, 1.0

    def drawn(tokens: int = tokens) -> torch.Tensor:
        return torch.cat([centre + torch.randn(tokens, hidden) for centre in centres])

    def cv_by_domain(model: torch.nn.Sequential) -> list[float]:
        model.eval()
        with torch.no_grad():
            chosen = [model(part)[2] for part in drawn(2000).split(2000)]
        model.train()
        loads = torch.stack([torch.bincount(part.flatten(), minlength=experts) for part in chosen])
        return list(measure(loads.numpy()).cv)

    def trained(loss_weight: float) -> list[float]:
        torch.manual_seed(1)
        model = torch.nn.Sequential(_Gate())
        groups = use_training_routers(model)
        balancer = BiasBalancer(model, gamma=0.01)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if loss_weight:
            groups.means_GT = torch.block_diag(*[torch.full((1, tokens), 1 / tokens)] * 3)
            groups.weights_G = torch.full((3,), loss_weight / 3)
        for step in range(300):
            weights = model(drawn())[1]
            (0.0 * weights.sum()).backward()
            optimizer.step()
            optimizer.zero_grad()
            balancer.move(0.01 * min(1.0, (300 - step) / 100))
        return cv_by_domain(model)

    assert max(trained(0.0)) > 0.4
    assert max(trained(0.1)) < 0.2
