"""Trainable parameters at the published input and classes, as papers and reference implementations have them."""

import pytest

import zoo
from zoo import catalog
from zoo.complexity import parameters

# Paper, its reference implementation, or keras.applications. Statistics of batch normalisation are not counted.
PUBLISHED = {
    "mnist_cnn": 2_164_630,
    "cifar10_cnn": 160_202,
    "lenet5": 61_706,
    "alexnet": 62_378_344,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_998_552,
    "inception_v3": 23_817_352,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_583_592,
    "resnet101": 44_601_832,
    "resnet152": 60_268_520,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet_bc100": 769_162,  # 0.8M in the paper's Table 2; this is what its layers come to
    "se_resnet50": 28_088_024,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "convnext_tiny": 28_589_128,
    "convnext_small": 50_223_688,
    "convnext_base": 88_591_464,
    "vit_tiny16": 5_717_416,
    "vit_small16": 22_050_664,
    "vit_base16": 86_567_656,
    "fcn32s": 136_152_917,
    "fcn16s": 134_815_994,  # by hand, from the same layout: see the module
    "fcn8s": 134_489_759,
    "unet": 31_030_658,
    "style_transfer": 1_679_235,
    "yolo_v1": 271_703_550,
    "faster_rcnn_r50_fpn": 41_755_286,
    "transformer_base": 63_082_496,
    "transformer_big": 214_245_376,
    "transformer_xl": 53_593_540,  # 150,850,870 with the paper's vocabulary, of which ours is a ninth
    "gpt2_small": 124_439_808,
    "gpt2_medium": 354_823_168,
    # Published with the pooler, without classes; the two classes are added.
    "bert_tiny": 4_385_920 + 2 * (128 + 1),
    "bert_mini": 11_170_560 + 2 * (256 + 1),
    "bert_small": 28_763_648 + 2 * (512 + 1),
    "bert_base": 109_482_240 + 2 * (768 + 1),
    "bert_large": 335_141_888 + 2 * (1024 + 1),
}

# Multiply-adds in the papers' tables: Canziani et al. 2016 for AlexNet, the architecture's own paper for the others.
PUBLISHED_COST = {
    "vgg16": 15.5e9,
    "vgg19": 19.6e9,
    "googlenet": 1.5e9,
    "resnet18": 1.8e9,
    "resnet34": 3.6e9,
    "resnet50": 3.8e9,
    "resnet101": 7.6e9,
    "resnet152": 11.3e9,
    "se_resnet50": 3.87e9,
    "mobilenet_v1": 569e6,
    "mobilenet_v2": 300e6,
    "mobilenet_v3_large": 219e6,
    "mobilenet_v3_small": 56e6,
    "efficientnet_b0": 0.39e9,
    "efficientnet_b1": 0.70e9,
    "efficientnet_b4": 4.2e9,
    "efficientnet_b7": 37e9,
    "convnext_tiny": 4.5e9,
    "convnext_small": 8.7e9,
    "convnext_base": 15.4e9,
}


# Networks that generate pictures, and the ones they are trained with.
PUBLISHED_PAIRS = {
    "gan": ({}, 2_503_984, 1_231_441),  # mnist.yaml of the authors
    "dcgan": ({}, 3_576_704, 2_765_568),
    "wgan_gp": ({}, 3_576_704, 2_765_568),  # layer normalisation has as many weights as batch normalisation
    # 500 units of the paper's appendix C: (d + 1) 500 + 501 (784), and (784 + 1) 500 + 501 (2 d) for d = 20 latents
    "vae": ({"input_shape": (20,), "hidden_sizes": (500,)}, 403_284, 412_540),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    assert catalog.read()[name]["parameters"] == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED_PAIRS)
def test_parameters_of_both_networks_of_a_pair_are_the_published_ones(name):
    arguments, *published = PUBLISHED_PAIRS[name]
    pair = zoo.build(name, **arguments), zoo.build_partner(name, **arguments)
    assert [parameters(network) for network in pair] == published


@pytest.mark.parametrize("name", PUBLISHED_COST)
def test_multiply_adds_are_the_published_ones(name):
    assert catalog.read()[name]["multiply_adds"] == pytest.approx(PUBLISHED_COST[name], rel=0.06)


def test_every_classic_is_in_the_table():
    pictures = [*catalog.read(task="image-classification"), *catalog.read(task="semantic-segmentation")]
    classics = [*pictures, *catalog.read("bert*"), *catalog.read("gpt2*")]
    assert set(classics) - {"mlp"} <= set(PUBLISHED)
