"""Sampling against transformers' own `generate`: seconds for 16 and 64 responses of 64 tokens, in fp32 and bf16.

    python benchmarks/decode.py [--model DIR] [--device cuda] [--rounds N] [--threads N]

Without a folder a Llama of 135 million random weights. Prompts of 24 to 36 tokens, eight responses each; no response
ends before the limit. Both sides sample at temperature 1 from all words; ours also gives log-probabilities and
entropies. In bf16 `generate` runs under autocast and, apart, with weights that are bf16 themselves; the ratio is to the
faster one. The sides take turns.
"""

import argparse
import copy
import statistics
from collections.abc import Callable
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
from peers.material import random_weights
from transformers import AutoModelForCausalLM, GenerationConfig

from worker.training.decoding.generate import Sampling, generate
from worker.training.models.policy import Policy

GENERATIONS, TOKENS = 8, 64
Prompts = list[list[int]]
Side = Callable[[Prompts], object]


def load(path: str | None, device: torch.device) -> Any:
    """The model in a folder, or a random one of SmolLM2-135M's shape."""
    if path:
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval().to(device)  # type: ignore[no-untyped-call]
    return random_weights().eval().to(device)  # type: ignore[no-untyped-call]


def ours(model: Any, dtype: torch.dtype) -> Side:
    """Hone's decoder, without a token that ends a response."""
    endless: Any = SimpleNamespace(eos_token_id=None)
    policy = Policy(model, endless, model.device, dtype)
    return lambda prompts: generate(policy, prompts, Sampling(TOKENS, generations=GENERATIONS))


def theirs(model: Any, *, autocast: bool) -> Side:
    """`generate` of transformers, without such a token as well."""
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=TOKENS,
        num_return_sequences=GENERATIONS,
        pad_token_id=0,
    )

    def sample(prompts: Prompts) -> Any:
        width, device = max(map(len, prompts)), model.device
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            tokens = model.generate(ids, attention_mask=mask, generation_config=config)
        assert tokens.shape == (len(prompts) * GENERATIONS, width + TOKENS)
        return tokens

    return sample


def seconds(sides: dict[str, Side], prompts: Prompts, rounds: int) -> dict[str, list[float]]:
    """The seconds of each side, in turns; a first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            start = perf_counter()
            side(prompts)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                times[name].append(perf_counter() - start)
    return times


def show(precision: str, responses: int, times: dict[str, list[float]]) -> None:
    """Print one row."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    others = "  ".join(f"{name} {median:6.2f} s" for name, median in medians.items() if name != "ours")
    ratio = min(median for name, median in medians.items() if name != "ours") / medians["ours"]
    rate = responses * TOKENS / medians["ours"]
    print(
        f"{precision} {responses:3} responses   ours {medians['ours']:6.2f} s ({rate:5.0f} tokens/s)  {others}  ",
        end="",
    )
    print(f"{ratio:.2f} x", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder that transformers loads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options.model, torch.device(options.device))
    # a checkpoint's own would end responses
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    vocabulary = model.config.get_text_config().vocab_size
    length = torch.Generator().manual_seed(0)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        sides = {"ours": ours(model, dtype)}
        if precision == "fp32":
            sides["generate"] = theirs(model, autocast=False)
        else:
            sides["generate, autocast"] = theirs(model, autocast=True)
            sides["generate, bf16 weights"] = theirs(copy.deepcopy(model).bfloat16(), autocast=False)
        for responses in (16, 64):
            sizes = torch.randint(24, 37, (responses // GENERATIONS,), generator=length).tolist()
            prompts = [torch.randint(vocabulary, (size,), generator=length).tolist() for size in sizes]
            show(precision, responses, seconds(sides, prompts, options.rounds))


if __name__ == "__main__":
    main()
