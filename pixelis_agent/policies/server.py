"""A model behind an OpenAI-compatible chat server: vLLM, SGLang, llama.cpp, `transformers serve`.

Tools are told to the model in one of two ways. As text: the system prompt holds their schemas and
the model writes `<tool_call>...</tool_call>` itself; any server can do that. Natively: they go in
the request's `tools` and calls come back parsed; the server must support it. Either way a turn is
brought into the form that the environment reads.

Images travel as PNG data URLs. In a native dialogue what a tool shows follows its result in a user
message, since the protocol has no images in tool messages.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Literal

from PIL import Image

from pixelis_agent.dialogue import SYSTEM
from pixelis_agent.policies.base import Episode, Turn
from pixelis_agent.policies.scripted import call_text

_TOOLS = (
    "You may call these tools, whose schemas are JSON, one a line:\n<tools>\n{}\n</tools>\n"
    'To call one, write <tool_call>{{"name": ..., "arguments": {{...}}}}</tool_call>.'
)

# What servers say when a dialogue has grown too long; some give the code, all say it in words.
_TOO_LONG = re.compile(
    r"context[_ ](length|size|window)|maximum (context|model|sequence|input)? ?length"
    r"|too (long|many tokens)|max_model_len|exceeds? the (available )?(context|max)",
    re.IGNORECASE,
)

MAX_FAILURES, MAX_IN_A_ROW = 8, 16
"""The run stops when so many requests have failed, each tried again and again, and fewer have
succeeded; or when so many have failed one after another."""


class ServerError(ConnectionError):
    """The server cannot be played with; the message says why and what to do."""


@dataclass
class Usage:
    """What was asked of the server.

    Attributes:
        requests: Turns that it wrote.
        prompt_tokens: That it read, by its own count.
        completion_tokens: That it wrote, by its own count.
        failures: Turns that it failed to write; the environment was given empty ones.
        overflows: Episodes that grew beyond its context; their later turns are empty.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failures: int = 0
    overflows: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass
class _Chat:
    """An episode as the server is told it.

    Attributes:
        messages: In the order of the dialogue.
        heard: How many of the episode's observations are among them.
        calls: Ids of the calls in the last turn, whose results must follow.
        over: Whether the dialogue is longer than the server's context.
    """

    messages: list[dict[str, Any]]
    heard: int = 0
    calls: list[str] = field(default_factory=list)
    over: bool = False


class ServerPolicy:
    """Plays with a model that a server holds.

    It pickles: a copy has connections and counts of its own.

    Args:
        base_url: Of the API, usually ending in `/v1`.
        model: The model's name on the server; default: the only one that it lists.
        api_key: What the server asks for, if anything.
        tools: "text" or "native"; see the module.
        concurrency: Requests at one time, >= 1.
        temperature: Of sampling, >= 0; 0 takes the likeliest token. Above 0 each request carries a
            seed that is made from the episode's.
        max_tokens: The longest turn, tokens; a turn that is cut off is played as it is.
        timeout: Of a request, seconds.
        retries: How often a request that failed is sent again, with growing pauses.

    Attributes:
        usage: What was asked of the server so far.

    Raises:
        ValueError: A number out of range.
        ServerError: The server is not there, or has not one model but none or several.
    """

    needs_oracle = False

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        tools: Literal["text", "native"] = "text",
        concurrency: int = 16,
        temperature: float = 0.0,
        max_tokens: int = 512,
        timeout: float = 120.0,
        retries: int = 3,
    ) -> None:
        import openai

        if tools not in ("text", "native"):
            raise ValueError(f"tools must be 'text' or 'native', not {tools!r}")
        for what, value, least in (
            ("concurrency", concurrency, 1),
            ("temperature", temperature, 0),
            ("max_tokens", max_tokens, 1),
            ("retries", retries, 0),
        ):
            if value < least:
                raise ValueError(f"{what} must be at least {least}, not {value}")
        if not timeout > 0:
            raise ValueError(f"timeout must be above 0 s, not {timeout}")
        self._base_url = base_url
        self._timeout = timeout
        self._settings: dict[str, Any] = {
            "api_key": api_key,
            "tools": tools,
            "concurrency": concurrency,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "timeout": timeout,
            "retries": retries,
        }
        self._client = openai.OpenAI(
            base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=retries
        )
        self._model = model or self._only_model()
        self._native = tools == "native"
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="pixelis-server")
        self._lock = Lock()
        self._failing = 0
        self.usage = Usage()
        self.name = self._model

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self._base_url, self._model, **self._settings), ()

    def settings(self) -> dict[str, Any]:
        """How it asks; what the server computes with, it alone knows."""
        asked = ("tools", "temperature", "max_tokens")
        return {"model": self._model} | {name: self._settings[name] for name in asked}

    def submit(self, episode: Episode) -> Future[Turn]:
        """Begins to write the next turn of an episode."""
        return self._pool.submit(self._write, episode)

    def act(self, episodes: Sequence[Episode]) -> list[Turn]:
        """The next turn of each episode, all asked for at once.

        Raises:
            ServerError: The server is gone or refuses.
        """
        return [future.result() for future in [self.submit(episode) for episode in episodes]]

    def finish(self, episode: Episode) -> None:
        """Drops the dialogue."""
        episode.state = None

    def count(self, used: Usage) -> None:
        """Adds what a copy has used."""
        with self._lock:
            self.usage += used

    def close(self) -> None:
        """Closes the connections; requests under way fail."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _write(self, episode: Episode) -> Turn:
        chat = episode.state
        if chat is None:
            chat = episode.state = self._open(episode)
        if chat.over:
            return Turn("")
        self._listen(chat, episode)
        response = self._ask(chat, episode)
        if response is None:
            # The server's silence is not the model's turn: it is told neither of the empty turn
            # nor of what the environment says to it.
            chat.heard += 1
            return Turn("")
        return self._book(chat, response)

    def _open(self, episode: Episode) -> _Chat:
        """A dialogue with its system prompt, and with the question before the images."""
        system = SYSTEM
        if not self._native:
            system += "\n\n" + _TOOLS.format("\n".join(map(json.dumps, episode.tools)))
        return _Chat([{"role": "system", "content": system}])

    def _listen(self, chat: _Chat, episode: Episode) -> None:
        """Adds what the environment said since the last turn."""
        for said in episode.observations[chat.heard :]:
            if chat.heard == 0:
                content = [_text(said["text"])]
                for image, time in zip(said["images"], said["times"], strict=True):
                    if len(said["images"]) > 1:
                        content.append(_text(f"<{round(time, 3):g} seconds>"))
                    content.append(_image(image))
                chat.messages.append({"role": "user", "content": content})
            else:
                if chat.messages[-1]["role"] != "assistant":  # another wrote it
                    words, chat.calls = episode.turns[chat.heard - 1].text, []
                    chat.messages.append({"role": "assistant", "content": words})
                chat.messages += self._result(chat, said)
            chat.heard += 1

    @staticmethod
    def _result(chat: _Chat, said: dict[str, Any]) -> list[dict[str, Any]]:
        """A tool's result as messages."""
        images = [_image(image) for image in said["images"]]
        if not chat.calls:
            words = _text(f"<tool_response>{said['text']}</tool_response>")
            return [{"role": "user", "content": [words, *images]}]
        results = [
            {"role": "tool", "tool_call_id": call, "content": said["text"]} for call in chat.calls
        ]
        if images:
            results.append({"role": "user", "content": [_text("It shows:"), *images]})
        return results

    def _ask(self, chat: _Chat, episode: Episode) -> Any:
        """The server's reply; None where it failed or the dialogue is too long for it."""
        import openai

        options: dict[str, Any] = {}
        if self._native:
            options["tools"] = episode.tools
        if self._temperature > 0:
            # Servers take 32 bits.
            options["seed"] = (episode.seed + len(episode.turns)) % 2**31
        try:
            response = self._client.chat.completions.create(
                model=self._model,
                messages=chat.messages,  # type: ignore[arg-type]
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                **options,
            )
        except openai.APIStatusError as error:
            if error.status_code in (400, 413, 422) and _TOO_LONG.search(_said(error)):
                chat.over = True
                with self._lock:
                    self.usage.overflows += 1
                if not episode.turns:
                    self._failed(f"cannot even take a question: {_said(error)}")
                return None
            if error.status_code not in (408, 409, 429) and error.status_code < 500:
                raise self._refusal(error) from None
            self._failed(f"answers with status {error.status_code}: {_said(error)}")
            return None
        except openai.APITimeoutError:
            self._failed(f"gave no answer in {self._timeout:g} s")
            return None
        except openai.APIConnectionError as error:
            raise self._gone(error) from None
        with self._lock:
            self._failing = 0
        return response

    def _failed(self, how: str) -> None:
        """Counts a request that failed for good."""
        with self._lock:
            self.usage.failures += 1
            self._failing += 1
            failed, written = self.usage.failures, self.usage.requests
            if self._failing >= MAX_IN_A_ROW or failed >= max(MAX_FAILURES, written + 1):
                raise ServerError(
                    f"{self._base_url} {how} ({failed} requests failed, {written} succeeded). The "
                    "server's own log says more. It may help to ask less at once (concurrency), "
                    "to wait longer (timeout) or to want shorter turns (max_tokens); some servers "
                    "fail when the model writes a call that they cannot parse"
                )

    def _book(self, chat: _Chat, response: Any) -> Turn:
        """Adds the model's turn to the dialogue, and brings it into the environment's form."""
        used = response.usage
        tokens = used.completion_tokens if used else 0
        with self._lock:
            self.usage.requests += 1
            self.usage.completion_tokens += tokens
            self.usage.prompt_tokens += used.prompt_tokens if used else 0
        message = response.choices[0].message
        words = message.content or ""
        calls = [(call.id, call.function) for call in message.tool_calls or []]
        read = [(name, *_arguments(function)) for name, function in calls]
        text = words + "".join(written for _, written, _ in read)
        said: dict[str, Any] = {"role": "assistant", "content": text}
        chat.calls = []
        # Servers choke on calls in the dialogue whose arguments are no JSON object.
        if self._native and calls and all(fits for *_, fits in read):
            chat.calls = [name for name, _ in calls]
            said = {"role": "assistant", "content": words, "tool_calls": []}
            for name, function in calls:
                call = {"name": function.name, "arguments": function.arguments}
                said["tool_calls"].append({"id": name, "type": "function", "function": call})
        chat.messages.append(said)
        # Servers with a parser for thoughts give them apart; the dialogue goes on without them.
        thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
        return Turn(f"<think>{thought}</think>{text}" if thought else text, tokens)

    def _only_model(self) -> str:
        models = self._models()
        if len(models) != 1:
            raise ServerError(
                f"{self._base_url} lists {', '.join(models) or 'no model'}: name one (model=)"
            )
        return models[0]

    def _models(self) -> list[str]:
        """The models that the server lists."""
        import openai

        try:
            return [model.id for model in self._client.models.list()]
        except openai.APIConnectionError as error:
            raise self._gone(error) from None
        except openai.APIStatusError as error:
            raise self._refusal(error, listing=True) from None

    def _gone(self, error: Exception) -> ServerError:
        return ServerError(
            f"{self._base_url} cannot be reached ({error.__cause__ or error}): "
            "is the server running, and is that its address?"
        )

    def _refusal(self, error: Any, *, listing: bool = False) -> ServerError:
        """What to say when the server will not do it."""
        said = f"{self._base_url} refuses with status {error.status_code}: {_said(error)}"
        if error.status_code in (401, 403):
            return ServerError(f"{said}; give the key that it asks for (api_key=)")
        if listing:
            return ServerError(
                f"{said}; name the model (model=), and see that the address is right"
            )
        if error.status_code in (400, 404):
            said += f"; it was asked for model {self._model!r}"
            with suppress(ServerError):
                said += f" and lists {', '.join(self._models()) or 'none'}"
        return ServerError(said)


def _arguments(function: Any) -> tuple[str, bool]:
    """A native call as a turn says it, and whether its arguments are a JSON object."""
    try:
        arguments = json.loads(function.arguments)
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return call_text(function.name, arguments), True
    # Written as it came, for the environment to refuse.
    name = json.dumps(function.name)
    return f'<tool_call>{{"name": {name}, "arguments": {function.arguments}}}</tool_call>', False


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def _image(image: Image.Image) -> dict[str, Any]:
    """An image as a part of a message."""
    file = io.BytesIO()
    image.save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": url}}


def _said(error: Any) -> str:
    """A server's own words about an error, in one line."""
    body = error.body
    words = body.get("message") or body.get("detail") if isinstance(body, dict) else body
    return " ".join(str(words or error.message).split())[:500]
