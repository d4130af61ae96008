"""The decoder language model against hand computation and an independent implementation."""

import math
from functools import partial

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from regrad.problems.models.attention import causal_attention, rotate
from regrad.problems.models.decoder import CONFIGS, Decoder, DecoderConfig, rotary_tables

SMALL = DecoderConfig(hidden=32, intermediate=48, heads=4, layers=2, vocabulary=50, context=16)
OURS_TO_LLAMA = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
    "attention_norm": "input_layernorm",
    "feedforward_norm": "post_attention_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "feedforward.gate": "mlp.gate_proj",
    "feedforward.up": "mlp.up_proj",
    "feedforward.down": "mlp.down_proj",
}


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def small(**changes) -> Decoder:
    return Decoder(DecoderConfig(**(vars(SMALL) | changes)), generator=seeded())


def spread_out(model: Decoder) -> Decoder:
    """Larger weights and uneven norms, so that no part of the model is nearly linear or nearly constant."""
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
            parameter.copy_(0.3 * noise if parameter.dim() > 1 else 1 + 0.3 * noise)
    return model


def rms_norm_by_hand(weight, x):
    return weight * x / (x.pow(2).sum(-1, keepdim=True) / x.shape[-1] + 1e-6).sqrt()


def llama_with_the_weights_of(model: Decoder):
    transformers = pytest.importorskip("transformers")
    config = model.config
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            hidden_size=config.hidden,
            intermediate_size=config.intermediate,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            num_hidden_layers=config.layers,
            vocab_size=config.vocabulary,
            max_position_embeddings=config.context,
            rms_norm_eps=config.eps,
            tie_word_embeddings=config.tied,
            attn_implementation="sdpa",
        )
    )
    weights = {}
    for name, weight in model.state_dict().items():
        module = name.removesuffix(".weight")
        prefix, inner = "", module
        if module.startswith("blocks."):
            _, layer, inner = module.split(".", 2)
            prefix = f"model.layers.{layer}."
        weights[prefix + OURS_TO_LLAMA[inner] + ".weight"] = weight
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not missing
    assert not unexpected
    return theirs.eval()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_logits_equal_those_of_transformers_with_copied_weights(tied, fused):
    model = spread_out(small(tied=tied, fused=fused))
    tokens = torch.randint(50, (3, 16), generator=seeded(2))
    with torch.no_grad():
        ours, theirs = model(tokens), llama_with_the_weights_of(model)(tokens).logits
    assert theirs.std() > 1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_logits_equal_those_of_transformers_to_1e_12_in_double_precision():
    model = spread_out(small()).double()
    theirs = llama_with_the_weights_of(model).double()
    # transformers computes rotary tables and norms in single precision for any type of model: replace those.
    theirs.model.rotary_emb.forward = lambda x, position_ids: (model.cos[None], model.sin[None])
    for module in theirs.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = partial(rms_norm_by_hand, module.weight)
    tokens = torch.randint(50, (3, 16), generator=seeded(2))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("60M", 58_073_600), ("130M", 134_105_856), ("350M", 367_969_280), ("1B", 1_339_082_752)],
)
def test_published_configurations_have_their_published_size(name, parameters):
    assert CONFIGS[name].parameters == parameters


@pytest.mark.parametrize("name", ["0.1M", "0.3M", "1M", "3M", "10M", "25M"])
def test_small_configurations_are_near_their_name(name):
    assert CONFIGS[name].parameters == pytest.approx(float(name[:-1]) * 1e6, rel=0.16)


@pytest.mark.parametrize("tied", [False, True])
def test_parameter_formula_counts_the_parameters_of_the_model(tied):
    model = small(tied=tied)
    assert sum(p.numel() for p in model.parameters()) == model.config.parameters


def test_rotation_of_position_one_is_by_one_radian_and_one_hundredth():
    # hidden 4, one head: frequencies 10000^0 = 1 and 10000^(-2/4) = 0.01. Pairs: (0, 2) and (1, 3).
    cos, sin = rotary_tables(DecoderConfig(4, 4, 1, 1, 4, context=2))
    turned = rotate(torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 2, dtype=torch.float64), cos, sin)
    assert turned[0].tolist() == [1, 1, 0, 0]
    expected = [math.cos(1), math.cos(0.01), math.sin(1), math.sin(0.01)]
    torch.testing.assert_close(turned[1], torch.tensor(expected, dtype=torch.float64), atol=1e-15, rtol=0)


def test_attention_by_hand():
    # Scores are products. Position 0 sees itself: 10. Position 1 has scores (0, ln 3), weights 1/4, 3/4: 4.
    query = torch.tensor([[5.0], [1.0]])
    key = torch.tensor([[0.0], [math.log(3)]])
    value = torch.tensor([[10.0], [2.0]])
    torch.testing.assert_close(causal_attention(query, key, value), torch.tensor([[10.0], [4.0]]))


def test_a_later_token_never_changes_an_earlier_logit():
    model = spread_out(small())
    tokens = torch.randint(50, (1, 16), generator=seeded(2))
    changed = tokens.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 50
    before, after = model(tokens)[0], model(changed)[0]
    assert torch.equal(before[:9], after[:9])
    assert (before[9:] != after[9:]).any(dim=1).all()


def test_initial_weights_have_standard_deviation_0_02_and_follow_from_the_generator_alone():
    state = torch.get_rng_state()
    first, second = (Decoder(CONFIGS["1M"], generator=seeded(5)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
        if weight.dim() > 1:
            assert weight.std() == pytest.approx(0.02, rel=0.03)
        else:
            assert (weight == 1).all()


def test_per_example_gradients_by_vmap_equal_a_loop_over_examples():
    model = spread_out(small()).double()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    tokens = torch.randint(50, (4, 17), generator=seeded(2))

    def loss(weights, row):
        return cross_entropy(functional_call(model, weights, (row[None, :-1],))[0], row[1:])

    together = vmap(grad(loss), in_dims=(None, 0))(weights, tokens)
    for number, row in enumerate(tokens):
        model.zero_grad()
        cross_entropy(model(row[None, :-1])[0], row[1:]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(together[name][number], parameter.grad, atol=1e-13, rtol=1e-11)


def test_a_bad_shape_is_refused_by_name():
    with pytest.raises(ValueError, match=r"hidden=30 must be a multiple of 2 \* heads = 8"):
        DecoderConfig(30, 48, 4, 2, 50)
    with pytest.raises(ValueError, match="layers=0 must be >= 1"):
        DecoderConfig(32, 48, 4, 0, 50)
    with pytest.raises(ValueError, match="sequence of 17 tokens exceeds context=16"):
        small()(torch.zeros(1, 17, dtype=torch.long))
