"""The losses of training as pure functions of tensors.

Shapes: B rollouts, T tokens, N boxes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F

from pixelis_agent.spans import WRITTEN, Label

Tensor = torch.Tensor


def token_weights(labels: Tensor, learn: Tensor, weights: Mapping[Label, float]) -> Tensor:
    """The weight of every token in the imitation loss, float32 (B, T).

    Args:
        labels: int64 (B, T), `Label`.
        learn: bool (B, T); where False the weight is 0.
        weights: Weight of each written label, >= 0; a missing one is 0.

    Raises:
        ValueError: A weight is negative, or one is given to what the model did not write.
    """
    table = torch.zeros(len(Label), dtype=torch.float32, device=labels.device)
    for label, weight in weights.items():
        if label not in WRITTEN:
            raise ValueError(f"{label.name} is fed, not written: it carries no loss")
        if weight < 0:
            raise ValueError(f"the weight {weight} of {label.name} is negative")
        table[int(label)] = weight
    return table[labels] * learn


def imitation_loss(log_probs: Tensor, weights: Tensor, total: float | None = None) -> Tensor:
    """Masked imitation: the weighted mean of the tokens' negative log-likelihood, a scalar.

    L = - sum_t w_t log p_t / sum_t w_t (Pixelis, arXiv 2603.25091, phase 1).

    Args:
        log_probs: float32, any shape.
        weights: float32, the same shape, >= 0; all zero gives a loss of 0.
        total: What to divide by instead of the weights' sum: that of the whole step, where these
            tokens are a part of it, so that the parts add up.
    """
    whole = float(weights.sum()) if total is None else total
    return -(weights * log_probs).sum() / max(whole, 1e-8)


def number_loss(
    log_probs: Tensor, values: Tensor, said: Tensor, weights: Tensor, total: float
) -> Tensor:
    """How far from the right number the written one is expected to be, a scalar >= 0.

    L = sum_t w_t sum_j p_tj |v_j - y_t| / (max v - min v) / sum_t w_t, with p over the number
    tokens alone: the Wasserstein distance of NTL-WAS (Zausinger et al., 2025, arXiv 2411.02083).
    Cross-entropy makes all wrong numbers equally wrong; this one leads to the median of what is
    likely. It is 0 only where all the probability is on the right number.

    Args:
        log_probs: float32 (N, M), of the M tokens that are numbers.
        values: float32 (M,), their values, at least two different ones.
        said: float32 (N,), the right values.
        weights: float32 (N,), >= 0.
        total: What the weighted sum is divided by, as in `imitation_loss`.
    """
    distance = (values - said[:, None]).abs() / (values.max() - values.min())
    expected = (log_probs.softmax(-1) * distance).sum(-1)
    return (weights * expected).sum() / max(total, 1e-8)


def giou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised intersection over union of pairs of boxes (Rezatofighi et al., 2019).

    Args:
        boxes: float32 (N, 4), xyxy, x0 <= x1 and y0 <= y1.
        others: float32 (N, 4), likewise.

    Returns:
        float32 (N,), in -1..1; 1 where the boxes are equal.
    """
    overlap = _area(
        torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    )
    union = _area(boxes[:, :2], boxes[:, 2:]) + _area(others[:, :2], others[:, 2:]) - overlap
    hull = _area(
        torch.minimum(boxes[:, :2], others[:, :2]), torch.maximum(boxes[:, 2:], others[:, 2:])
    )
    return overlap / union.clamp_min(1e-8) - (hull - union) / hull.clamp_min(1e-8)


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp_min(0).prod(-1)


def box_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """SmoothL1 (beta 0.1) summed over the corners, plus 1 - GIoU, averaged over boxes.

    Args:
        predicted: float32 (N, 4), xyxy in 0..1 of the view.
        target: float32 (N, 4), likewise.

    Returns:
        A scalar; 0 without boxes.
    """
    if not len(target):
        return predicted.sum() * 0
    corners = F.smooth_l1_loss(predicted, target, beta=0.1, reduction="none").sum(-1)
    return (corners + 1 - giou(predicted, target)).mean()


def pointing_loss(logits: Tensor, coverage: Tensor, groups: Tensor) -> Tensor:
    """Binary cross-entropy of a dense pointing map against how much of each cell is covered.

    Cells of one query count as one, however many images it looks at. Covered cells are few, so
    those and the others are averaged apart and weigh the same.

    Args:
        logits: float32 (M,), one a pair of query and image token.
        coverage: float32 (M,), 0..1, the share of the token's cell that the target covers.
        groups: int64 (M,), the query that each pair belongs to, 0..Q-1.

    Returns:
        A scalar; 0 without pairs.
    """
    if not len(logits):
        return logits.sum() * 0
    loss = F.binary_cross_entropy_with_logits(logits, coverage, reduction="none")
    total = logits.new_zeros(())
    queries = int(groups.max()) + 1
    for covered in (coverage > 0, coverage <= 0):
        sums = logits.new_zeros(queries).index_add(0, groups[covered], loss[covered])
        counts = logits.new_zeros(queries).index_add(
            0, groups[covered], torch.ones_like(loss[covered])
        )
        total = total + (sums / counts.clamp_min(1)).mean() / 2
    return total


def policy_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dual_clip: float | None = None,
    weights: Tensor | None = None,
    total: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The clipped policy-gradient loss over tokens (PPO, arXiv 1707.06347, as GRPO uses it).

    L = - sum_t w_t min(r_t A_t, clip(r_t, 1 - clip_low, 1 + clip_high) A_t) / total with
    r = p / p_old. The two bounds are apart as in DAPO (arXiv 2503.14476), whose average over all
    tokens of a step this is too. With a dual clip c > 1 (arXiv 1912.09729) a token with A < 0
    counts c A at the worst.

    Args:
        log_probs: float32, any shape: of the written tokens under the policy.
        old_log_probs: The same shape: under the policy that the ratio is taken to.
        advantages: The same shape.
        clip_low: 0..1.
        clip_high: >= 0.
        dual_clip: > 1; None: none.
        weights: float32, the same shape, >= 0: of each token, without gradient; default: 1.
        total: What to divide by: the tokens of the whole step, where these are a part of it;
            default: the number of these.

    Returns:
        The loss, a scalar; and bool, the shape of `log_probs`: where the bound took the gradient.

    Raises:
        ValueError: A bound is out of range.
    """
    if not 0 <= clip_low <= 1 or clip_high < 0:
        raise ValueError(f"clip_low {clip_low} must be in 0..1 and clip_high {clip_high} >= 0")
    if dual_clip is not None and dual_clip <= 1:
        raise ValueError(f"dual_clip {dual_clip} must be more than 1")
    ratio = (log_probs - old_log_probs).exp()
    free, bounded = ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    gain = torch.minimum(free, bounded)
    clipped = bounded < free
    if dual_clip is not None:
        worst = dual_clip * advantages
        below = (advantages < 0) & (gain < worst)
        gain, clipped = torch.where(below, worst, gain), clipped | below
    if weights is not None:
        gain = gain * weights
    return -gain.sum() / max(float(log_probs.numel()) if total is None else total, 1e-8), clipped


def sharpened(log_probs: Tensor, temperature: float) -> Tensor:
    """Distributions p^(1 / temperature) / sum p^(1 / temperature), of any shape (..., V).

    Args:
        log_probs: float32 (..., V); -inf where something cannot be.
        temperature: > 0; below 1 what is likely becomes likelier.
    """
    return (log_probs / temperature).softmax(-1)


def teacher_loss(
    log_probs: Tensor, teacher: Tensor, weights: Tensor, total: float | None = None
) -> Tensor:
    """The weighted divergence from a teacher's distributions to a policy's, a scalar >= 0.

    L = sum_t w_t sum_v q_tv (log q_tv - log p_tv) / total: its gradient is that of the
    cross-entropy of a mean teacher (Tarvainen and Valpola, 2017, arXiv 1703.01780). Unlike a
    policy gradient it knows at every token what all the others should become, not only that which
    was sampled.

    Args:
        log_probs: float32 (W, V), of the policy; -inf where something cannot be.
        teacher: float32 (W, V), probabilities; 0 where `log_probs` is -inf.
        weights: float32 (W,), >= 0.
        total: What to divide by: the tokens of the whole step, where these are a part of it;
            default: the number of these.
    """
    possible = teacher > 0
    apart = torch.where(possible, teacher, 1.0).log() - torch.where(possible, log_probs, 0.0)
    loss = (weights * torch.where(possible, teacher * apart, 0.0).sum(-1)).sum()
    return loss / max(float(len(weights)) if total is None else total, 1e-8)


def k3(log_probs: Tensor, reference: Tensor, limit: float = 10.0) -> Tensor:
    """An estimate of KL(p || reference) at each sampled token: e^d - d - 1, d = log ref - log p.

    Unbiased for tokens sampled from p, never negative, 0 only where both agree (J. Schulman,
    "Approximating KL divergence", 2020).

    Args:
        log_probs: float32, any shape: of the sampled tokens under the policy.
        reference: The same shape: under the reference.
        limit: d is held within -limit..limit, so that one token cannot blow up the step.
    """
    d = (reference - log_probs).clamp(-limit, limit)
    return d.exp() - d - 1


def importance_weights(proximal: Tensor, behaviour: Tensor, limit: float = 2.0) -> Tensor:
    """Weights of tokens that another policy sampled: p_proximal / p_behaviour, at most `limit`.

    Truncated as in IMPALA (arXiv 1802.01561): the bias is small, the variance bounded.

    Args:
        proximal: float32, any shape: log-probabilities under the policy before the update.
        behaviour: The same shape: as they were sampled, by an older policy or another engine.
        limit: The largest weight, >= 1.
    """
    return (proximal - behaviour).exp().clamp_max(limit).detach()
