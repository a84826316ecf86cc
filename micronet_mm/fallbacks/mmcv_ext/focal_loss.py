"""Focal loss (Lin et al., ICCV 2017) and its gradient in closed form."""
import torch
from torch import Tensor


def log(probability: Tensor) -> Tensor:
    """The logarithm, of the smallest normal number in single precision where there is less."""
    return probability.clamp(min=torch.finfo(torch.float32).tiny).log()


def weighted(loss: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``loss`` (N, ...) times the weight of each sample's class; an empty ``weight`` is none."""
    if not weight.numel():
        return loss
    factors = weight[target.clamp(min=0)]
    return loss * (factors[:, None] if loss.dim() > 1 else factors)


def is_target(input: Tensor, target: Tensor) -> Tensor:
    """(N, C), whether the class is the sample's; of the background, which is C, there is none."""
    return target[:, None] == torch.arange(input.shape[1], device=input.device)


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float,
                               alpha: float) -> None:
    """The loss of every logit.

    Args:
        input: (N, C), logits.
        target: (N), int64, from 0 to C; C is the background.
        weight: (C), or empty.
        output: (N, C), written.
        gamma: the exponent.
        alpha: weight of the target's class; 1 - alpha is that of the others.
    """
    p = input.sigmoid()
    loss = torch.where(is_target(input, target), -alpha * (1 - p)**gamma * log(p),
                       -(1 - alpha) * p**gamma * log(1 - p))
    output.copy_(weighted(loss, target, weight))


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    """Write the derivative of every loss by its logit, (N, C)."""
    p = input.sigmoid()
    slope = torch.where(is_target(input, target), -alpha * (1 - p)**gamma * (1 - p - gamma * p * log(p)),
                        -(1 - alpha) * p**gamma * (gamma * (1 - p) * log(1 - p) - p))
    grad_input.copy_(weighted(slope, target, weight))


def of_target(softmax: Tensor, target: Tensor) -> Tensor:
    """(N), the probability of each sample's class."""
    return softmax.gather(1, target.clamp(min=0)[:, None])[:, 0]


def softmax_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float,
                               alpha: float) -> None:
    """The loss of every sample.

    Args:
        input: (N, C), probabilities.
        target: (N), int64; a negative one is ignored.
        weight: (C), or empty.
        output: (N), written.
        gamma: the exponent.
        alpha: a factor.
    """
    p = of_target(input, target)
    loss = torch.where(target >= 0, -alpha * (1 - p)**gamma * log(p), 0)
    output.copy_(weighted(loss, target, weight))


def softmax_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor,
                                gamma: float, alpha: float) -> None:
    """Write the derivative of every loss by the logits, (N, C), and in ``buff`` (N) what is common to a sample."""
    p = of_target(input, target)
    slope = alpha * (gamma * (1 - p)**(gamma - 1) * p * log(p) - (1 - p)**gamma)
    buff.copy_(weighted(torch.where(target >= 0, slope, 0), target, weight))
    grad_input.copy_(buff[:, None] * (is_target(input, target).to(input.dtype) - input))
