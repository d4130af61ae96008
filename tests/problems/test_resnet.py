"""The residual network: published sizes, the shortcut by hand, and its two normalisations."""

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from regrad.problems.models.resnet import ResNet, ResNetConfig, shortcut


def seeded(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def parameters(**shape) -> int:
    return sum(p.numel() for p in ResNet(ResNetConfig(**shape), generator=seeded()).parameters())


def test_parameter_counts_are_the_published_ones():
    # Table 6 of He et al.: 0.27, 0.46, 0.66, 0.85 and 1.7 million for 20, 32, 44, 56 and 110 layers.
    assert parameters(depth=20) == 269_722
    published = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}
    for depth, millions in published.items():
        assert parameters(depth=depth) / 1e6 == pytest.approx(millions, abs=0.05 if depth == 110 else 0.01)


def test_parameter_count_by_hand_for_eight_layers_of_width_four():
    # Stem 1·4; stages 2·4·4, 4·8 + 8·8, 8·16 + 16·16: 4 + 32 + 96 + 384 = 516 kernels of 9: 4,644.
    # Norms, 2 per channel: 4·(1 + 2) + 8·2 + 16·2 = 60 channels: 120. Head: 16·10 + 10 = 170.
    for norm in ("batch", "group"):
        assert parameters(depth=8, width=4, channels=1, norm=norm, groups=2) == 4_644 + 120 + 170


def test_a_growing_shortcut_by_hand_keeps_every_second_pixel_and_appends_zero_channels():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    y = shortcut(x, 3)
    assert y.shape == (1, 3, 2, 2)
    assert y[0, 0].tolist() == [[0, 2], [8, 10]]
    assert not y[0, 1:].any()
    assert shortcut(x, 1) is x


def test_with_zero_convolutions_the_image_reaches_the_head_through_the_shortcuts_alone():
    model = ResNet(ResNetConfig(depth=8, width=2, channels=2, classes=3, norm="group", groups=1)).eval()
    with torch.no_grad():
        for block in model.blocks:
            block.convolution2.weight.zero_()
        model.stem.weight.zero_()
        for channel in range(2):
            model.stem.weight[channel, channel, 1, 1] = 1  # the identity
        model.norm = torch.nn.Identity()
        model.head.weight.copy_(torch.eye(3, 8))
    images = torch.rand(1, 2, 8, 8, generator=seeded())
    # Stages 2 and 3 each keep every second row and column, so rows and columns 0 and 4 of the image are left.
    expected = images[0, :, ::4, ::4].mean(dim=(1, 2))
    torch.testing.assert_close(model(images)[0], torch.cat([expected, torch.zeros(1)]))


def test_the_sum_of_a_block_and_its_shortcut_is_rectified():
    block = ResNet(ResNetConfig(depth=8, width=2, norm="group", groups=1)).blocks[0]
    torch.nn.init.zeros_(block.convolution2.weight)
    x = torch.tensor([-1.0, 2.0])[None, :, None, None].expand(1, 2, 4, 4)
    assert torch.equal(block(x), x.clamp(min=0))


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_stage_halves_the_image_and_doubles_the_channels(size, channels):
    model = ResNet(ResNetConfig(depth=14, width=4, channels=channels, classes=7))
    x = torch.relu(model.norm(model.stem(torch.zeros(2, channels, size, size))))
    shapes = []
    for block in model.blocks:
        x = block(x)
        shapes.append((x.shape[1], x.shape[2], x.shape[3]))
    half, quarter = size // 2, size // 4
    assert shapes == [(4, size, size)] * 2 + [(8, half, half)] * 2 + [(16, quarter, quarter)] * 2
    assert model(torch.zeros(2, channels, size, size)).shape == (2, 7)


def test_group_norm_keeps_examples_apart_and_batch_norm_does_not():
    images = torch.randn(4, 1, 8, 8, generator=seeded())
    for norm, apart in (("group", True), ("batch", False)):
        model = ResNet(ResNetConfig(depth=8, width=8, channels=1, norm=norm), generator=seeded())
        alone = torch.cat([model(image[None]) for image in images])
        assert torch.allclose(model(images), alone, atol=1e-5) == apart


def test_per_example_gradients_by_vmap_equal_a_loop_over_examples():
    shape = ResNetConfig(depth=8, width=8, channels=1, norm="group", groups=4)
    model = ResNet(shape, generator=seeded()).double()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    images = torch.randn(3, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    labels = torch.tensor([1, 5, 9])

    def loss(weights, image, label):
        return cross_entropy(functional_call(model, weights, (image[None],))[0], label)

    together = vmap(grad(loss), in_dims=(None, 0, 0))(weights, images, labels)
    for number in range(3):
        model.zero_grad()
        cross_entropy(model(images[number : number + 1])[0], labels[number]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(together[name][number], parameter.grad, atol=1e-12, rtol=1e-10)


def test_initial_weights_follow_from_the_generator_alone_and_have_hes_scale():
    state = torch.get_rng_state()
    first, second = (ResNet(ResNetConfig(), generator=seeded(3)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    # From 32 to 64 channels of 3×3, fan-out 576: standard deviation (2 / 576)^½ = 0.0589.
    assert first.blocks[6].convolution1.weight.shape == (64, 32, 3, 3)
    assert first.blocks[6].convolution1.weight.detach().std() == pytest.approx(0.0589, rel=0.02)


@pytest.mark.parametrize(
    "shape", [{"width": 4}, {"width": 6}, {"width": 16}, {"width": 4, "norm": "group", "groups": 2}]
)
def test_channels_last_gives_the_same_losses_gradients_and_running_statistics(shape):
    images = torch.randn(3, 1, 14, 14, generator=seeded(), dtype=torch.float64)
    labels = torch.tensor([1, 5, 9])
    models = [
        ResNet(ResNetConfig(depth=8, channels=1, memory_format=format, **shape), generator=seeded()).double()
        for format in ("contiguous", "channels_last")
    ]
    first, second = (model.state_dict() for model in models)
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    results = []
    for model in models:
        for parameter in model.parameters():
            if parameter.dim() == 1:
                torch.nn.init.uniform_(parameter, 0.5, 1.5, generator=seeded())
        losses = [cross_entropy(model(images), labels) for _ in range(2)]
        torch.stack(losses).sum().backward()
        trained = [*losses, *(p.grad for p in model.parameters()), *model.buffers()]
        assert all(p.grad.is_contiguous() for p in model.parameters())
        results.append([*trained, model.eval()(images)])
    torch.testing.assert_close(*results, atol=1e-10, rtol=1e-10)


def test_convolutions_of_channels_last_see_that_format():
    model = ResNet(ResNetConfig(depth=8, width=4, channels=1, memory_format="channels_last"))
    strides = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, y: strides.append((inputs[0].stride(1), y.stride(1))))
    model(torch.randn(2, 1, 28, 28))
    assert set(strides) == {(1, 1)}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"depth": 21}, "depth=21 must be 6n"),
        ({"depth": 2}, "depth=2 must be 6n"),
        ({"width": 0}, "width=0 must be >= 1"),
        ({"norm": "layer"}, "norm='layer' must be 'batch' or 'group'"),
        ({"norm": "group", "groups": 3}, "groups=3 must divide width=16"),
        ({"memory_format": "nhwc"}, "memory_format='nhwc' must be 'contiguous' or 'channels_last'"),
    ],
)
def test_a_bad_shape_is_refused_by_name(shape, message):
    with pytest.raises(ValueError, match=message):
        ResNetConfig(**shape)
