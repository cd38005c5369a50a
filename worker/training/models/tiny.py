"""The built-in model: a Llama of 0.34 million parameters with a character-level tokenizer, made from a seed.

Its weights are random. Training begins to solve 2x2 determinants within half a minute on two cores.
"""

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "\ufffd"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
CONTEXT = 1024


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character; the tags are one token each, and text like any other (decoding keeps them)."""
    vocabulary = {token: index for index, token in enumerate([PAD, EOS, UNKNOWN, *TAGS, *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Small enough for reinforcement learning on two CPU cores; wider ones learn more a step and less a second."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        initializer_range=0.06,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )


def build(seed: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Random weights that are a function of the seed alone; the caller's random state is left as it was."""
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config(tokenizer)), tokenizer
