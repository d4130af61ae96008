"""Any configuration of transformers made small: what its sizes are called, whatever the architecture."""

from typing import Any

VOCABULARY = 31

# By the name that a configuration gives to it; one that has no such name is left alone.
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    # Widths.
    "hidden_size": 16, "d_model": 16, "n_embd": 16, "dim": 16, "dim_model": 16, "emb_dim": 16, "embed_dim": 8,
    "embedding_size": 16, "word_embed_proj_dim": 16, "attn_hidden_size": 16, "lru_width": 16, "projection_dim": 8,
    "decoder_hidden_size": 16,
    "intermediate_size": 24, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "ffn_dim": 24, "hidden_dim": 24,
    "d_ff": 24, "dim_ff": 24,
    # Depths.
    "num_hidden_layers": 2, "num_layers": 2, "n_layer": 2, "n_layers": 2, "encoder_layers": 2, "decoder_layers": 2,
    "num_encoder_layers": 2, "num_decoder_layers": 2, "num_feat_extract_layers": 2,
    # Heads.
    "num_attention_heads": 2, "num_heads": 2, "n_head": 2, "n_heads": 2, "attention_heads": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "dim_head": 8,
    "d_kv": 8, "rotary_dim": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
    "qk_head_dim": 8, "v_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
    "linear_key_head_dim": 4, "linear_value_head_dim": 4,
    # Experts.
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8, "n_shared_experts": 1, "n_group": 1,
    "topk_group": 1,
    # States.
    "state_size": 4, "mamba_d_state": 4, "mamba_d_conv": 4, "mamba_n_heads": 2, "mamba_d_head": 16, "mamba_expand": 2,
    "mamba_n_groups": 1, "mamba_chunk_size": 4,
    # Lengths.
    "max_position_embeddings": 32, "n_positions": 32, "max_source_positions": 32, "max_target_positions": 32,
    "max_2d_position_embeddings": 32, "type_vocab_size": 2, "sliding_window": 4, "attention_chunk_size": 4,
    "attention_window_size": 4, "prompt_length": 2,
    # Images and sounds.
    "image_size": 32, "patch_size": 4, "num_channels": 3, "num_mel_bins": 8,
    "conv_dim": [8, 8], "conv_kernel": [3, 3], "conv_stride": [2, 2], "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8, "codevector_dim": 8, "proj_codevector_dim": 8,
}  # fmt: skip


def shrink(own: Any, extra: dict[str, Any]) -> Any:
    """A configuration like `own`, small and without dropout; `extra` is what it needs besides."""
    from transformers import PretrainedConfig

    values: dict[str, Any] = {}
    for key, value in own.to_dict().items():
        inner = getattr(own, key, None)
        if isinstance(inner, PretrainedConfig):
            values[key] = shrink(inner, extra.get(key, {}))
        elif ("drop" in key or "jitter" in key) and isinstance(value, float):
            values[key] = 0.0
        elif key in _SIZES and (not isinstance(_SIZES[key], list) or isinstance(value, list | tuple)):
            values[key] = _SIZES[key]
    renamed = getattr(own, "attribute_map", {}) or {}
    values |= {key: _SIZES[key] for key in renamed if key in _SIZES and renamed[key] not in values}
    # SpecAugment draws its masks anew each time.
    values |= {"apply_spec_augment": False} if hasattr(own, "apply_spec_augment") else {}
    values |= {key: _SIZES[key] for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
    plain = {key: value for key, value in extra.items() if not isinstance(getattr(own, key, None), PretrainedConfig)}
    return type(own)(**(values | plain))
