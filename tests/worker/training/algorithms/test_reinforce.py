import torch
from torch import tensor
from torch.testing import assert_close

from service.domain.algorithms import ReinforceSpec
from worker.training.algorithms.reinforce import ReinforceObjective
from worker.training.models.logprobs import Predicted
from worker.training.objectives.aggregate import row_weights
from worker.training.objectives.surrogate import Batch


def test_its_loss_is_the_mean_over_responses_of_summed_log_likelihood_times_reward() -> None:
    spec = ReinforceSpec()
    logp = tensor([[-1.0, -2.0, -3.0], [-4.0, 0.0, 0.0]], requires_grad=True)
    mask, reward = tensor([[1.0, 1, 1], [1, 0, 0]]), tensor([[1.0, -2.0]])
    batch = Batch(Predicted(logp, None), logp.detach(), None, mask, 0.0)
    loss, _ = ReinforceObjective(spec).token_losses(batch, ReinforceObjective(spec).advantages(reward).T)
    weight = row_weights(tensor([3, 1]), spec.loss_aggregation)
    total = (loss * mask * weight[:, None]).sum()
    assert_close(total, tensor(-(-6.0 * 1.0 + -4.0 * -2.0) / 2))
    assert_close(torch.autograd.grad(total, logp)[0], tensor([[-0.5, -0.5, -0.5], [1.0, 0.0, 0.0]]))


def test_leaving_one_out_is_rloo() -> None:
    reward = tensor([[1.0, 0.0, 0.5]])
    ours = ReinforceObjective(ReinforceSpec(advantage_norm="leave_one_out")).advantages(reward)
    assert_close(ours, tensor([[1.0 - 0.25, 0.0 - 0.75, 0.5 - 0.5]]))
