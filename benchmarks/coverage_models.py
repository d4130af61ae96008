"""Architectures of other libraries, made small from their configurations: no weights are downloaded.

A case is a name and how to make its model and its batch; all of them are in train mode with every rate of dropout 0,
since the engine refuses noise, and with fixed statistics in batch normalisation, under which examples see each other.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from coverage_sizes import VOCABULARY, shrink
from coverage_stand_in import stand_in_for_torchvision

LENGTH, BATCH, SIDE = 9, 4, 32
Losses = Callable[[nn.Module, torch.Tensor], torch.Tensor]

# Of Hugging Face, by the name of the configuration.
DECODERS = """
afmoe apertus arcee aria_text axk1 bailing_hybrid bamba beam biogpt bitnet bloom codegen cohere cohere2 cohere2_moe
cpmant ctrl cwm deepseek_v2 deepseek_v3 deepseek_v4 diffllama doge dots1 emu3 ernie4_5 ernie4_5_moe exaone4
exaone_moe falcon falcon_mamba flex_olmo flint gemma gemma2 gemma3_text git glm glm4 glm4_moe glm4_moe_lite
gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss gptj granite granite_swa granitemoe granitemoe_swa
granitemoehybrid granitemoeshared helium hrm_text hunyuan_v1_dense hunyuan_v1_moe hy_v3 hy_v4 hyperclovax inkling_text
internlm3 iquestcoder jais2 jamba jetmoe kolibri1 laguna lfm2 lfm3 llama llama4_text longcat_flash mamba mamba2
mellum mimo_v2_flash minicpm3 minimax minimax_m2 minimax_m3_vl_text ministral ministral3 mistral mixtral mllama
modernbert-decoder mpt nanochat nemotron olmo olmo2 olmo3 olmo_hybrid olmoe openai-gpt opt persimmon phi phi3 phimoe
qwen2 qwen2_moe qwen3 qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next qwen4_exp_text recurrent_gemma rwkv seed_oss
smollm3 solar_open stablelm starcoder2 vaultgemma xglm xlnet xlstm youtu
""".split()  # noqa: SIM905
ENCODERS = """
albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm eurobert flaubert
fnet funnel gte ibert jina_embeddings_v3 layoutlm longformer luke megatron-bert mobilebert modernbert modernvbert mpnet
mra nomic_bert nystromformer rembert roberta roberta-prelayernorm roc_bert roformer squeezebert tapas ultrabert
ultravbert xlm xlm-roberta xlm-roberta-xl xmod yoso
""".split()  # noqa: SIM905
PAIRS = """
bart bigbird_pegasus blenderbot blenderbot-small encoder-decoder fsmt led longt5 m2m_100 marian mbart mt5 mvp nllb-moe
pegasus pegasus_x plbart prophetnet seamless_m4t seamless_m4t_v2 switch_transformers t5 t5gemma t5gemma2 umt5
""".split()  # noqa: SIM905
IMAGES = """
beit bit clip convnext convnextv2 data2vec-vision dinov2 dinov2_with_registers donut-swin focalnet ijepa metaclip_2
mobilevit poolformer pvt pvt_v2 regnet resnet segformer siglip swiftformer swin swinv2 vit vit_msn
""".split()  # noqa: SIM905
SOUNDS = "data2vec-audio hubert sew sew-d unispeech unispeech-sat wav2vec2 wav2vec2-conformer wavlm".split()  # noqa: SIM905

_WINDOWS = {"depths": [2, 2], "num_heads": [2, 2], "window_size": 2}
_PYRAMID = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "num_attention_heads": [1, 2, 2, 2]}
_STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
_LATENT = {"head_dim": 4}
# What the sizes of a few need beside the common ones.
EXTRA: dict[str, dict[str, Any]] = {
    "axk1": _LATENT, "deepseek_v3": _LATENT,
    "longcat_flash": _LATENT, "youtu": _LATENT,
    "big_bird": {"attention_type": "original_full"}, "bigbird_pegasus": {"attention_type": "original_full"},
    "codegen": {"n_head": 4}, "diffllama": {"num_key_value_heads": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 4},
    "mamba2": {"num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 4},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
    "luke": {"entity_vocab_size": VOCABULARY, "entity_emb_size": 8},
    "nystromformer": {"num_landmarks": 3, "segment_means_seq_len": 9},
    "roc_bert": {
        "pronunciation_embed_dim": 8, "pronunciation_vocab_size": VOCABULARY,
        "shape_embed_dim": 8, "shape_vocab_size": VOCABULARY,
    },
    "xmod": {"default_language": "en_XX"},
    "beit": {"use_relative_position_bias": True}, "data2vec-vision": {"use_relative_position_bias": True},
    "bit": _STAGES | {"embedding_size": 8, "num_groups": 4, "embed_dim": 8},
    "convnext": _STAGES | {"num_stages": 2}, "convnextv2": _STAGES | {"num_stages": 2},
    "donut-swin": _WINDOWS, "swin": _WINDOWS, "swinv2": _WINDOWS,
    "mobilevit": {"hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [8] * 7},
    "poolformer": {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4},
    "pvt": _PYRAMID, "pvt_v2": _PYRAMID, "segformer": _PYRAMID,
    "regnet": _STAGES | {"embedding_size": 8, "groups_width": 4}, "resnet": _STAGES | {"embedding_size": 8},
    "swiftformer": {"embed_dims": [8, 8, 16, 16], "depths": [1] * 4},
}  # fmt: skip
_TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 16}
# Of timm, by model name, or by class where the name fixes the sizes, with arguments that make it small.
TIMM: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": _TINY | {"depth": 2, "num_heads": 2},
    "convnext_atto": {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32, "embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2), "window_size": 4, "drop_path_rate": 0.0,
    },
    "mlp_mixer.MlpMixer": _TINY | {"num_blocks": 2},
    "beit.Beit": _TINY | {"depth": 2, "num_heads": 2},
    "cait.Cait": _TINY | {"depth": 2, "num_heads": 2},
    "xcit.Xcit": _TINY | {"depth": 2, "num_heads": 2},
    "deit.VisionTransformerDistilled": _TINY | {"depth": 2, "num_heads": 2},
    "eva.Eva": _TINY | {"depth": 2, "num_heads": 2},
    "convmixer.ConvMixer": {"dim": 16, "depth": 2, "patch_size": 4},
    "metaformer.MetaFormer": {"depths": (1, 1), "dims": (8, 16)},
    "resnet.ResNet": {"block": "resnet.BasicBlock", "layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]},
    "mobilenetv3_small_050": {},
    "convnextv2_atto": {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)},
    "regnetx_002": {},
}  # fmt: skip

NAMES = [
    *(f"hf/{name}" for name in (*DECODERS, *ENCODERS, *PAIRS, *IMAGES, *SOUNDS)),
    *(f"timm/{name}" for name in TIMM),
]


def make(name: str) -> tuple[nn.Module, Losses, torch.Tensor]:
    """The model, its losses and a batch."""
    torch.manual_seed(0)
    library, _, kind = name.partition("/")
    if library == "timm":
        model, losses = _of_timm(kind), class_losses
    else:
        model, losses = _hugging_face(kind)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, _BatchNorm):
            module.eval()
    if library == "timm" or kind in IMAGES:
        return model, losses, torch.randn(BATCH, 3, SIDE, SIDE)
    if kind in SOUNDS:
        return model, losses, torch.randn(BATCH, 64)
    return model, losses, torch.randint(3, VOCABULARY, (BATCH, LENGTH))


def _of_timm(kind: str) -> nn.Module:
    stand_in_for_torchvision()
    import timm

    def named(path: str) -> Any:
        module, _, attribute = path.partition(".")
        return getattr(import_module(f"timm.models.{module}"), attribute)

    if "." not in kind:
        return timm.create_model(kind, pretrained=False, num_classes=5, **TIMM[kind])
    sizes = {key: named(value) if key == "block" else value for key, value in TIMM[kind].items()}
    return named(kind)(num_classes=5, **sizes)


def _hugging_face(kind: str) -> tuple[nn.Module, Losses]:
    import transformers

    auto, losses = next(
        (auto, losses)
        for kinds, auto, losses in (
            (DECODERS, transformers.AutoModelForCausalLM, next_token_losses),
            (ENCODERS, transformers.AutoModelForMaskedLM, masked_losses),
            (PAIRS, transformers.AutoModelForSeq2SeqLM, pair_losses),
            (IMAGES, transformers.AutoModelForImageClassification, class_losses),
            (SOUNDS, transformers.AutoModelForAudioClassification, class_losses),
        )
        if kind in kinds
    )
    config = shrink(transformers.CONFIG_MAPPING[kind](), EXTRA.get(kind, {}))
    if losses is class_losses:
        config.num_labels = 5
    # The experts one after the other; what multiplies the stacked weights of all at once has no rule.
    config._experts_implementation = "eager"
    return auto.from_config(config).train(), losses


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
