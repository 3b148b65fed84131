"""On a GPU: tokens/s of the sink's encoder over windows, against a bare forward pass over the same token batches that
are on the device already.

Needs neither Spark nor a store nor a network; also `python benchmarks/gpu.py`. `--device cpu --small` tries it out, and
writes nothing. While the encoder works on a window, another thread tokenises the next one where the encoder has these
two steps, as a task does it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # `benchmarks`, not what is in it

from benchmarks import base_model, encoding, texts
from benchmarks.common import Line, Section, Settings, Spread, at_least, at_most, interleaved, rates, ratios, say

ROWS, ROUNDS = 100_000, 5
OF_BARE, WAITING = 90.0, 3.0
"""Percent of the bare forward pass, at least; percent of the time in which the GPU waits, at most."""


def run(settings: Settings) -> Section | None:
    import torch

    device = settings.device if settings.device != "auto" else "cuda:0"
    if device.startswith("cuda") and not torch.cuda.is_available():
        say(
            "  torch finds no CUDA device here, so there is nothing to measure; `--device cpu --small` tries "
            "the part out"
        )
        return None
    known = texts.repeated(settings, settings.rows or ROWS)
    model = settings.model or base_model.build(settings.scratch / "model", known, settings.small)
    measure = Measure(encoding.load(model, on=device), known, device)
    measure.encode()  # the allocator finds its size, and the batches are recorded
    measure.forward.is_recording = False
    waited: list[float] = []

    def sink() -> float:
        taken = measure.encode()
        waited.append(100 * measure.forward.waiting() / taken)
        return taken

    measured = interleaved({"sink": sink, "bare": measure.bare}, settings.rounds or ROUNDS)
    of_bare = ratios([100 * each for each in measured["bare"]], measured["sink"])
    section = Section(
        "On a GPU",
        [
            at_least("tokens/s of the sink's encoder, over those of the bare forward pass", OF_BARE, of_bare, " %"),
            at_most(
                "share of the time in which the GPU waits between forward passes", WAITING, Spread.of(waited), " %"
            ),
            Line("tokens/s of the sink's encoder", "", rates(measure.tokens, measured["sink"]).shown(digits=0)),
            Line("tokens/s of the bare forward pass", "", rates(measure.tokens, measured["bare"]).shown(digits=0)),
        ],
        [_note(settings, measure, device)],
    )
    if not device.startswith("cuda"):
        say(section.to_markdown(settings.command, "tried out on a CPU; nothing is written"))
        return None
    return section


class Measure:
    """The encoder over all windows, and its forward pass alone over the same batches."""

    def __init__(self, encoder: Any, known: Sequence[str], device: str) -> None:
        self.encoder, self.device = encoder, device
        self.windows = [known[start : start + encoding.WINDOW] for start in range(0, len(known), encoding.WINDOW)]
        self.rows, self.tokens = len(known), 0
        self.forward = Forward(encoding.model_of(encoder), device)

    def encode(self) -> float:
        """Seconds of the encoder over all windows; counts the tokens that were read."""
        self.forward.clear()
        begun = time.perf_counter()
        self.tokens = sum(int(encoded.tokens.sum()) for encoded in self._encoded())
        return time.perf_counter() - begun

    def _encoded(self) -> Iterator[Any]:
        if not hasattr(self.encoder, "tokenise"):
            yield from map(self.encoder.encode, self.windows)
            return
        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(self.encoder.tokenise, self.windows[0])
            for following in [*self.windows[1:], None]:
                tokenised = waiting.result()
                if following is not None:
                    waiting = ahead.submit(self.encoder.tokenise, following)
                yield self.encoder.encode(tokenised)

    def bare(self) -> float:
        """Seconds of the forward pass over the recorded batches, results left on the device."""
        import torch

        begun = time.perf_counter()
        with torch.inference_mode():
            for features in self.forward.batches:
                self.forward.original(dict(features))  # a copy, because the modules put their results into it
        self.forward.synchronise()
        return time.perf_counter() - begun


class Forward:
    """The model's forward pass, recorded: its batches, and when the device began and ended each."""

    def __init__(self, model: Any, device: str) -> None:
        self.on_cuda, self.device = device.startswith("cuda"), device
        self.batches: list[dict[str, Any]] = []
        self.is_recording = True
        self._marks: list[Any] = []
        self.original: Callable[..., Any] = model.forward
        model.forward = self._marked  # an attribute of the instance, which nn.Module.__call__ finds first

    def clear(self) -> None:
        self._marks = []

    def _marked(self, features: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        if self.is_recording:
            self.batches.append(
                {name: value.clone() if hasattr(value, "clone") else value for name, value in features.items()}
            )
        self._marks.append(self._now())
        try:
            return self.original(features, *arguments, **named)
        finally:
            self._marks.append(self._now())

    def waiting(self) -> float:
        """Seconds that the device spent between the end of a forward pass and the begin of the next."""
        if not self._marks:
            raise AssertionError("the model's forward pass was never called: the encoder calls it by another way")
        self.synchronise()
        ends, begins = self._marks[1:-1:2], self._marks[2::2]
        gaps = [
            end.elapsed_time(begin) / 1000 if self.on_cuda else begin - end
            for end, begin in zip(ends, begins, strict=True)
        ]
        return float(sum(gaps))

    def synchronise(self) -> None:
        if self.on_cuda:
            import torch

            torch.cuda.synchronize(self.device)

    def _now(self) -> Any:
        """An event in the device's own queue; on a CPU the time."""
        if not self.on_cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _note(settings: Settings, measure: Measure, device: str) -> str:
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    of = (
        "the model that was given"
        if settings.model
        else f"BERT {'small' if settings.small else 'base'} with random weights"
    )
    return (
        f"{name}, {of}, {measure.encoder.dtype}, {measure.rows:,} {texts.source(settings)}, "
        f"{measure.tokens:,} tokens in "
        f"{len(measure.forward.batches):,} batches, windows of {encoding.WINDOW:,} rows."
    )


if __name__ == "__main__":
    from benchmarks.__main__ import main

    sys.argv.insert(1, "gpu")
    main()
