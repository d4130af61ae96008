"""Architectures of other libraries, made small from their configurations: no weights are downloaded.

A case is a name and how to make its model and its batch; all of them are in train mode with every rate of dropout 0,
since the engine refuses noise.
"""

import torch
from torch import nn
from torch.nn import functional

VOCABULARY, LENGTH, BATCH = 31, 9, 4

_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24,
    "embedding_size": 16, "ffn_dim": 24, "num_layers": 2, "num_heads": 2,
}  # fmt: skip
_GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
_EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
_IMAGE = {"image_size": 16, "patch_size": 4, "num_channels": 3}

# Of Hugging Face, by the name of the configuration: what its sizes need beside the common ones.
DECODERS = {
    "gpt2": _GPT, "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 4}, "gpt_neox": {},
    "gptj": _GPT | {"rotary_dim": 4}, "gpt_bigcode": _GPT,
    "opt": {"word_embed_proj_dim": 16}, "bloom": {}, "falcon": {}, "llama": {}, "mistral": {}, "qwen2": {}, "qwen3": {},
    "gemma": {}, "gemma2": {}, "phi": {}, "phi3": {}, "stablelm": {}, "starcoder2": {}, "cohere": {}, "olmo": {},
    "olmo2": {}, "granite": {}, "glm": {}, "nemotron": {}, "persimmon": {}, "mamba": {"state_size": 4}, "biogpt": {},
    "xglm": {"attention_heads": 2, "d_model": 16}, "helium": {}, "ernie4_5": {}, "smollm3": {},
    "mixtral": _EXPERTS, "qwen2_moe": _EXPERTS | {"shared_expert_intermediate_size": 8}, "qwen3_moe": _EXPERTS,
    "olmoe": _EXPERTS, "granitemoe": _EXPERTS,
}  # fmt: skip
ENCODERS = {
    "bert": {}, "roberta": {}, "electra": {}, "albert": {}, "mpnet": {}, "modernbert": {}, "convbert": {},
    "squeezebert": {}, "ernie": {}, "roformer": {}, "fnet": {}, "xlm-roberta": {}, "camembert": {},
    "distilbert": {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
    "nystromformer": {"num_landmarks": 3, "segment_means_seq_len": 9},
}  # fmt: skip
PAIRS = {
    "t5": {"d_kv": 8, "d_ff": 24},
    "mt5": {"d_kv": 8, "d_ff": 24},
    "bart": {},
    "marian": {},
    "pegasus": {},
    "m2m_100": {},
}
IMAGES = {
    "vit": _IMAGE, "beit": _IMAGE | {"use_relative_position_bias": True}, "dinov2": _IMAGE,
    "convnext": {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "swin": _IMAGE | {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 2},
    "swinv2": _IMAGE | {"embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": 2},
}  # fmt: skip
# Of timm, by model name, with arguments that make it small.
TIMM = {
    "vit_tiny_patch16_224": {"img_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2},
    "mixer_s16_224": {"img_size": 32, "embed_dim": 16, "num_blocks": 2},
    "convnext_atto": {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)},
    "resmlp_12_224": {"img_size": 32, "embed_dim": 16, "num_blocks": 2},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2), "window_size": 4,
    },
}  # fmt: skip

NAMES = [
    *(f"hf/{name}" for name in (*DECODERS, *ENCODERS, *PAIRS, *IMAGES)),
    *(f"timm/{name}" for name in TIMM),
]


def make(name: str) -> tuple[nn.Module, object, torch.Tensor]:
    """The model, its losses and a batch."""
    torch.manual_seed(0)
    library, _, kind = name.partition("/")
    if library == "timm":
        import timm

        model = timm.create_model(kind, pretrained=False, num_classes=5, **TIMM[kind])
        return model, class_losses, torch.randn(BATCH, 3, 32, 32)
    model = _hugging_face(kind)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if kind in IMAGES:
        return model, class_losses, torch.randn(BATCH, 3, 16, 16)
    losses = pair_losses if kind in PAIRS else next_token_losses if kind in DECODERS else masked_losses
    return model, losses, torch.randint(3, VOCABULARY, (BATCH, LENGTH))


def _hugging_face(kind: str) -> nn.Module:
    import transformers
    from transformers import CONFIG_MAPPING

    auto, extra = next(
        (auto, table[kind])
        for table, auto in (
            (DECODERS, transformers.AutoModelForCausalLM),
            (ENCODERS, transformers.AutoModelForMaskedLM),
            (PAIRS, transformers.AutoModelForSeq2SeqLM),
            (IMAGES, transformers.AutoModelForImageClassification),
        )
        if kind in table
    )
    own = CONFIG_MAPPING[kind]()
    names = own.to_dict() if kind in IMAGES else {**own.to_dict(), **getattr(own, "attribute_map", {})}
    sizes = {key: value for key, value in _SIZES.items() if key in names} if kind not in IMAGES else _image_sizes(names)
    still = {key: 0.0 for key in names if "drop" in key and isinstance(getattr(own, key, None), float)}
    labels = {"id2label": {i: str(i) for i in range(5)}} if kind in IMAGES else {}
    config = CONFIG_MAPPING[kind](**(sizes | still | extra | labels))
    if "num_local_experts" in extra:
        config._experts_implementation = "eager"
    return auto.from_config(config).train()


def _image_sizes(names: dict[str, object]) -> dict[str, int]:
    wanted = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {key: _SIZES[key] for key in wanted if key in names}


def class_losses(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of the class 1."""
    answer = model(images)
    logits = getattr(answer, "logits", answer)
    return functional.cross_entropy(logits, torch.ones(len(images), dtype=torch.long), reduction="none")


def next_token_losses(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each next token, averaged over an example's."""
    logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
    return functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)


def masked_losses(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each token, averaged over an example's."""
    logits = model(input_ids=tokens).logits
    return functional.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").mean(1)


def pair_losses(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of a copy of the source."""
    logits = model(input_ids=tokens, decoder_input_ids=tokens[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)
