"""Responses as text: for rewards, tools, reward models and people, all of whom read the same.

Tokens that end a response, begin a sequence or fill it up are left out. Every other special token is kept: it may carry
meaning, like `<think>`, `<answer>` and `<tool_call>` where a tokenizer has them as special tokens.
"""

from collections.abc import Sequence

from worker.training.models.policy import Policy
from worker.training.models.tokens import continued_text, strips_blanks


def response_texts(policy: Policy, batch: Sequence[Sequence[int]]) -> list[str]:
    """The texts of some responses."""
    tokenizer = policy.tokenizer
    silent = {*policy.stops, tokenizer.pad_token_id, tokenizer.bos_token_id}
    kept = [[token for token in ids if token not in silent] for ids in batch]
    if strips_blanks(tokenizer):
        return [continued_text(tokenizer, ids) for ids in kept]
    texts: list[str] = tokenizer.batch_decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return texts
