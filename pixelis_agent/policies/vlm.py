"""A vision-language model as a policy: batched turns, each episode with its own key-value cache.

Episodes are at different turns and of different lengths. For each call the caches of the episodes
at hand are stacked, padded on the left, and what is new is fed; afterwards each episode takes its
own part back. So nothing is ever encoded twice, and any episode can be batched with any other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray

from pixelis_agent.dialogue import Dialogue
from pixelis_agent.images import Picture
from pixelis_agent.models.batch import (
    base_model,
    later_images,
    next_token_scores,
    token_positions,
)
from pixelis_agent.models.digest import weights_digest
from pixelis_agent.models.kept import Kept, stack, take
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
        rng: For sampling; the episode's own, so that a turn does not depend on its neighbours.
        kept: Of the tokens that were read.
        position: int64 (3,) or (1,), where the next token stands.
        heard: How many of the episode's observations are in its rollout.
    """

    rng: Generator
    kept: Kept = field(default_factory=Kept)
    position: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.int64))
    heard: int = 0


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

    def settings(self) -> dict[str, Any]:
        """With what it plays: a digest of the weights, how they are held, and how it samples."""
        return {
            "weights": weights_digest(self.model),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "quantized": bool(getattr(self.model, "is_quantized", False)),
            "temperature": self._temperature,
            "top_p": self._top_p,
            "max_new_tokens": self._max_new_tokens,
            "grammar": self._constrained,
            "versions": {
                package: version(package) for package in ("torch", "transformers", "peft")
            },
        }

    def finish(self, episode: Episode) -> None:
        """Frees the episode's cache."""
        episode.state = None

    def _feed(self, episode: Episode) -> None:
        """Brings the rollout up to the newest observation."""
        if episode.rollout is None:
            episode.rollout = Rollout()
            episode.state = _State(np.random.default_rng([episode.seed, episode.index]))
        rollout, state = episode.rollout, episode.state
        dialogue = Dialogue(self.processor, episode.tools)
        for number in range(state.heard, len(episode.observations)):
            observation = episode.observations[number]
            if number == 0:
                rollout.feed(dialogue.open(observation))
                continue
            if rollout.n_turns < number:
                rollout.write(*dialogue.written(episode.turns[number - 1].text), learn=False)
            ended = rollout.tokens[-1] in self.processor.end_ids
            rollout.feed(dialogue.reply(observation, ended=ended))
        state.heard = len(episode.observations)

    def _pixels(self, images: Sequence[Picture]) -> dict[str, Any]:
        """The model's inputs of images, on its device."""
        inputs = self.processor.pixels(images)
        return {key: value.to(self.model.device) for key, value in inputs.items()}

    def _generate(self, episodes: Sequence[Episode]) -> list[tuple[list[int], list[float]]]:
        """Decodes one turn of each episode: its tokens and their log-probabilities."""
        device, states = self.model.device, [episode.state for episode in episodes]
        hidden = self._read(episodes)
        cache, mask = stack([state.kept for state in states])
        mask = mask.to(device)
        position = torch.stack([state.position for state in states], 1).to(device)
        written: list[tuple[list[int], list[float]]] = [([], []) for _ in episodes]
        turnings = self._begin_turns(episodes)
        # The episodes whose turns the batch's rows are, and which of the rows are not at the end.
        rows, active = list(range(len(episodes))), np.ones(len(episodes), bool)
        while True:
            scores = next_token_scores(self.model, self.processor, hidden, self._temperature or 1.0)
            likely = scores.cpu().numpy()
            tokens = np.full(len(rows), self.processor.pad_id)
            for k in np.flatnonzero(active).tolist():
                turning = turnings[rows[k]] if turnings else None
                said, log_probs = written[rows[k]]
                tokens[k] = token = self._choose(likely[k], states[rows[k]].rng, turning)
                said.append(token)
                log_probs.append(float(likely[k, token]))
                full = len(said) == self._max_new_tokens
                active[k] = not full and token not in self.processor.end_ids
            if active.sum() <= len(rows) / 2:
                # Rows that are at their end cost as much as the others: let them go.
                for k in np.flatnonzero(~active).tolist():
                    states[rows[k]].kept = take(cache, mask, k)
                if not active.any():
                    return written
                going = torch.tensor(np.flatnonzero(active), device=device)
                cache.batch_select_indices(going)
                mask, position = mask[going], position[:, going]
                rows, tokens = [rows[k] for k in going.tolist()], tokens[active]
                active = np.ones(len(rows), bool)
            alive = torch.tensor(active, dtype=torch.int64, device=device)
            mask = torch.cat([mask, alive[:, None]], 1)
            inputs = {"input_ids": torch.tensor(tokens)[:, None].to(device)}
            hidden = self._forward(inputs, mask, position[..., None], cache)
            position = position + 1

    def _read(self, episodes: Sequence[Episode]) -> Tensor:
        """Feeds what is new in each episode; the last token's hidden state, (episodes, hidden).

        Episodes on one task begin with the same tokens and images: those are read once. Beginnings
        are read apart from replies, which are far shorter and would be padded to their length.
        """
        same: dict[Hashable, list[int]] = {}
        for row, episode in enumerate(episodes):
            same.setdefault(
                row if episode.state.kept else cast(Rollout, episode.rollout).key(), []
            ).append(row)
        firsts = [rows[0] for rows in same.values()]
        begun = [row for row in firsts if episodes[row].state.kept]
        hidden: dict[int, Tensor] = {}
        for part in ([row for row in firsts if row not in begun], begun):
            if part:
                found = self._read_together([episodes[row] for row in part])
                hidden.update(zip(part, found, strict=True))
        for first, *others in same.values():
            for row in others:
                hidden[row] = hidden[first]
                episodes[row].state.kept = episodes[first].state.kept
                episodes[row].state.position = episodes[first].state.position
        return torch.stack([hidden[row] for row in range(len(episodes))])

    def _read_together(self, episodes: Sequence[Episode]) -> Tensor:
        """Feeds what is new in episodes, in one go.

        The stacked sequence is [padding, cached | padding, new]; whatever is padding is masked,
        and positions are those of the episode alone, so holes do no harm.
        """
        states: list[_State] = [episode.state for episode in episodes]
        cache, mask = stack([state.kept for state in states])
        rollouts = [cast(Rollout, episode.rollout) for episode in episodes]
        news = [
            rollout.tokens[len(state.kept) :]
            for rollout, state in zip(rollouts, states, strict=True)
        ]
        length = max(map(len, news))
        input_ids = torch.full((len(episodes), length), self.processor.pad_id)
        fresh = torch.zeros_like(input_ids)
        places, images = [], []
        for row, (rollout, state, new) in enumerate(zip(rollouts, states, news, strict=True)):
            input_ids[row, length - len(new) :] = torch.tensor(new)
            fresh[row, length - len(new) :] = 1
            where = token_positions(self.model, self.processor, rollout)
            places.append(F.pad(where[:, len(state.kept) :], (length - len(new), 0)))
            state.position = where[:, -1] + 1
            images += later_images(self.processor, rollout, len(state.kept))
        device = self.model.device
        mask = torch.cat([mask, fresh], 1).to(device)
        inputs = {"input_ids": input_ids.to(device), **self._look(images)}
        hidden = self._forward(inputs, mask, torch.stack(places, 1).to(device), cache)
        for row, state in enumerate(states):
            state.kept = take(cache, mask, row)
        return hidden

    def _forward(
        self, inputs: dict[str, Any], mask: Tensor, positions: Tensor, cache: Any
    ) -> Tensor:
        """Hidden states of the last tokens, (rows, hidden); extends the cache."""
        out = base_model(self.model)(
            **inputs,
            attention_mask=mask,
            position_ids=positions if len(positions) == 3 else positions[0],
            past_key_values=cache,
            use_cache=True,
        )
        last: Tensor = out.last_hidden_state[:, -1]
        return last

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
