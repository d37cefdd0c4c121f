"""A vision-language model as a policy: batched turns, each episode with its own key-value cache.

Episodes are at different turns and of different lengths. For each call the caches of the episodes
at hand are stacked, padded on the left, and what is new is fed in one go; afterwards each episode
takes its own part back. So nothing is ever encoded twice, and any episode can be batched with any
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from pixelis_agent.dialogue import Dialogue
from pixelis_agent.images import Picture
from pixelis_agent.models.batch import base_model, next_token_scores, token_positions
from pixelis_agent.models.processor import Processor
from pixelis_agent.policies.base import Episode, Turn
from pixelis_agent.policies.grammar import TurnGrammar, Turning
from pixelis_agent.rollout import Rollout
from pixelis_agent.spans import label_tokens

Tensor = torch.Tensor


@dataclass
class _State:
    """What is kept for an episode.

    Attributes:
        keys, values: One tensor a layer, (heads, tokens, head size).
        rng: For sampling; the episode's own, so that a turn does not depend on its neighbours.
    """

    rng: Generator
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    @property
    def n_cached(self) -> int:
        return self.keys[0].shape[1] if self.keys else 0


class VLMPolicy:
    """Plays with a transformers image-text-to-text model.

    Args:
        model: The model, with or without adapters; put into evaluation mode.
        processor: Its processor.
        temperature: Of sampling; 0 takes the likeliest token.
        top_p: Sample among the likeliest tokens that together have this probability, 0..1.
        max_new_tokens: The longest turn, tokens.
        grammar: Let only turns be written that parse (needs the extra `grammar`). Log-probabilities
            stay those of the model alone.
        look: Makes the model's inputs of images; default: `processor.pixels`.
        name: What tables call it.

    Raises:
        ValueError: A setting outside its range.
    """

    needs_oracle = False

    def __init__(
        self,
        model: Any,
        processor: Processor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_new_tokens: int = 256,
        grammar: bool = False,
        look: Callable[[Sequence[Picture]], dict[str, Any]] | None = None,
        name: str = "vlm",
    ) -> None:
        if temperature < 0:
            raise ValueError(f"temperature {temperature}: must be 0 (greedy) or more")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p {top_p}: must lie in 0..1, above 0")
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens {max_new_tokens}: must be at least 1")
        self.model = model.eval()
        self.processor = processor
        self.name = name
        self._look = look or self._pixels
        self._temperature = temperature
        self._top_p = top_p
        self._max_new_tokens = max_new_tokens
        self._constrained = grammar
        self._grammar: TurnGrammar | None = None

    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """The next turn of each episode; see `Policy.act`. Extends each episode's rollout."""
        for episode in episodes:
            self._feed(episode)
        with torch.inference_mode():
            written = self._generate(episodes)
        turns = []
        for episode, (tokens, log_probs) in zip(episodes, written, strict=True):
            rollout = episode.rollout
            assert rollout is not None
            labels = label_tokens(self.processor.tokenizer, tokens, self.processor.end_ids)
            rollout.write(tokens, labels, log_probs)
            body = [token for token in tokens if token not in self.processor.end_ids]
            rollout.truncated |= len(body) == len(tokens)
            text = self.processor.tokenizer.decode(body, skip_special_tokens=False)
            turns.append(Turn(text, len(tokens)))
        return turns

    def finish(self, episode: Episode) -> None:
        """Frees the episode's cache."""
        episode.state = None

    def _feed(self, episode: Episode) -> None:
        """Brings the rollout up to the newest observation."""
        if episode.rollout is None:
            episode.rollout = Rollout()
            episode.state = _State(np.random.default_rng([episode.seed, episode.index]))
        rollout = episode.rollout
        dialogue = Dialogue(self.processor, episode.tools)
        if not rollout.tokens:
            rollout.feed(dialogue.open(episode.observations[0]))
        else:
            ended = rollout.tokens[-1] in self.processor.end_ids
            rollout.feed(dialogue.reply(episode.observations[-1], ended=ended))

    def _pixels(self, images: Sequence[Picture]) -> dict[str, Any]:
        """The model's inputs of images, on its device."""
        inputs = self.processor.pixels(images)
        return {key: value.to(self.model.device) for key, value in inputs.items()}

    def _generate(self, episodes: Sequence[Episode]) -> list[tuple[list[int], list[float]]]:
        """Decodes one turn of each episode.

        The stacked sequence is [padding, cached | padding, new | decoded]; whatever is padding is
        masked, and positions are those of the episode alone, so holes do no harm.
        """
        device = self.model.device
        states: list[_State] = [episode.state for episode in episodes]
        rollouts = [episode.rollout for episode in episodes]
        rows = len(episodes)
        fresh = [
            rollout.tokens[state.n_cached :]  # type: ignore[union-attr]
            for rollout, state in zip(rollouts, states, strict=True)
        ]
        n_cached, n_fresh = max(s.n_cached for s in states), max(map(len, fresh))
        cache = self._stack(states, n_cached)
        input_ids = torch.full((rows, n_fresh), self.processor.pad_id)
        mask = torch.zeros((rows, n_cached + n_fresh), dtype=torch.int64)
        positions: Tensor | None = None
        images = []
        for row, (rollout, state, new) in enumerate(zip(rollouts, states, fresh, strict=True)):
            assert rollout is not None
            input_ids[row, n_fresh - len(new) :] = torch.tensor(new)
            mask[row, n_cached - state.n_cached : n_cached] = 1
            mask[row, n_cached + n_fresh - len(new) :] = 1
            where = token_positions(self.model, self.processor, rollout)
            if positions is None:
                positions = torch.zeros((len(where), rows, n_fresh), dtype=torch.int64)
            positions[:, row, n_fresh - len(new) :] = where[:, state.n_cached :]
            count = sum(token == self.processor.image_id for token in new)
            images += _last_images(self.processor, rollout, count)
        assert positions is not None
        inputs = {"input_ids": input_ids.to(device), **self._look(images)}
        positions, mask = positions.to(device), mask.to(device)
        next_position = positions[:, :, -1:] + 1

        written: list[list[int]] = [[] for _ in episodes]
        log_probs: list[list[float]] = [[] for _ in episodes]
        active = np.ones(rows, bool)
        turnings = self._begin_turns(episodes)
        for step in range(self._max_new_tokens):
            hidden = base_model(self.model)(
                **inputs,
                attention_mask=mask,
                position_ids=positions if len(positions) == 3 else positions[0],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            scores = next_token_scores(
                self.model, self.processor, hidden[:, -1], self._temperature or 1.0
            )
            likely = scores.cpu().numpy()
            tokens = np.full(rows, self.processor.pad_id)
            for row in map(int, np.flatnonzero(active)):
                turning = turnings[row] if turnings else None
                token = self._choose(likely[row], states[row].rng, turning)
                tokens[row] = token
                written[row].append(token)
                log_probs[row].append(float(likely[row, token]))
                active[row] = token not in self.processor.end_ids
            if not active.any() or step + 1 == self._max_new_tokens:
                break
            inputs = {"input_ids": torch.tensor(tokens)[:, None].to(device)}
            alive = torch.tensor(active, dtype=torch.int64, device=device)[:, None]
            mask = torch.cat([mask, alive], 1)
            positions = next_position
            next_position = next_position + 1
        self._unstack(cache, mask, states)
        return list(zip(written, log_probs, strict=True))

    def _begin_turns(self, episodes: Sequence[Episode]) -> list[Turning]:
        """The grammar's state for each episode; none without a grammar."""
        if not self._constrained:
            return []
        if self._grammar is None:
            self._grammar = TurnGrammar(self.processor, episodes[0].tools)
        return [self._grammar.begin() for _ in episodes]

    def _choose(self, scores: NDArray[Any], rng: Generator, turning: Turning | None) -> int:
        """The next token of one episode, from scores (vocabulary,)."""
        if turning is not None:
            scores = np.where(turning.allowed(len(scores)), scores, -np.inf)
        if self._temperature > 0:
            # Gumbel's trick: the likeliest token after noise is a sample.
            noisy = scores + rng.gumbel(size=len(scores))
            scores = np.where(self._kept(scores), noisy, -np.inf)
        token = int(scores.argmax())
        if turning is not None:
            turning.take(token)
        return token

    def _kept(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """Which tokens top-p leaves to choose from, bool (vocabulary,)."""
        if self._top_p == 1:
            return np.ones(len(scores), bool)
        order = np.argsort(-scores, kind="stable")
        shares = np.exp(scores[order] - scores.max())
        shares /= shares.sum()
        before = np.cumsum(shares) - shares
        kept = np.zeros(len(scores), bool)
        kept[order[before < self._top_p]] = True
        return kept

    def _stack(self, states: Sequence[_State], length: int) -> Any:
        """The episodes' caches as one, padded on the left to `length` tokens."""
        from transformers import DynamicCache

        cache = DynamicCache()
        filled = next((state for state in states if state.keys), None)
        if filled is None:
            return cache
        for layer in range(len(filled.keys)):
            stacked = []
            for parts in ([s.keys for s in states], [s.values for s in states]):
                like = (filled.keys if parts[0] is states[0].keys else filled.values)[layer]
                out = like.new_zeros((len(states), like.shape[0], length, like.shape[2]))
                for row, part in enumerate(parts):
                    if part:
                        out[row, :, length - part[layer].shape[1] :] = part[layer]
                stacked.append(out)
            cache.update(stacked[0], stacked[1], layer)
        return cache

    def _unstack(self, cache: Any, mask: Tensor, states: Sequence[_State]) -> None:
        """Gives each episode the cache of its own tokens."""
        length = cache.get_seq_length()
        for row, state in enumerate(states):
            own = mask[row, :length].bool()
            state.keys = [layer.keys[row][:, own] for layer in cache.layers]
            state.values = [layer.values[row][:, own] for layer in cache.layers]


def _last_images(processor: Processor, rollout: Rollout, n_tokens: int) -> list[Any]:
    """The images at the end of a rollout that together have `n_tokens` tokens."""
    images: list[Any] = []
    for image in reversed(rollout.images):
        if n_tokens <= 0:
            break
        n_tokens -= processor.image_tokens(image)
        images.insert(0, image)
    return images
