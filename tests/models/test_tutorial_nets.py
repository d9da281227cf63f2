import torch

from classicnets import LectureCNN, LeNetCatDog, SequentialCNN


def test_sequential_cnn_layers_have_their_shapes_and_123222_parameters(layer_facts):
    facts = layer_facts(SequentialCNN)
    assert {name: fact.shape for name, fact in facts.items() if "relu" not in name} == {
        "conv1": (16, 24, 24),
        "conv2": (32, 20, 20),
        "pool2": (32, 10, 10),
        "conv3": (64, 6, 6),
        "pool3": (64, 3, 3),
        "fc4": (100,),
        "output": (10,),
    }
    assert " ".join(facts) == "conv1 relu1 conv2 relu2 pool2 conv3 relu3 pool3 fc4 relu4 output"
    assert sum(fact.parameters for fact in facts.values()) == 123_222


def test_lecture_cnn_layers_have_their_shapes_and_896522_parameters(layer_facts):
    facts = layer_facts(LectureCNN)
    assert {name: fact.shape for name, fact in facts.items() if "relu" not in name} == {
        "conv1": (64, 26, 26),
        "pool1": (64, 13, 13),
        "conv2": (128, 11, 11),
        "pool2": (128, 5, 5),
        "fc3": (256,),
        "output": (10,),
    }
    assert " ".join(facts) == "conv1 pool1 relu1 conv2 pool2 relu2 fc3 relu3 output"
    assert sum(fact.parameters for fact in facts.values()) == 896_522


def test_lenet_catdog_layers_have_their_shapes_and_46038242_parameters(layer_facts):
    facts = layer_facts(LeNetCatDog)
    assert {name: fact.shape for name, fact in facts.items() if "relu" not in name} == {
        "conv1": (16, 220, 220),
        "pool1": (16, 110, 110),
        "conv2": (32, 106, 106),
        "pool2": (32, 53, 53),
        "fc3": (512,),
        "output": (2,),
    }
    assert " ".join(facts) == "conv1 relu1 pool1 conv2 relu2 pool2 fc3 relu3 output"
    assert sum(fact.parameters for fact in facts.values()) == 46_038_242
    assert facts["conv1"].parameters + facts["conv2"].parameters == 14_048


def test_channels_and_classes_follow_the_options(layer_facts):
    for build in (SequentialCNN, LectureCNN):
        assert build(in_channels=3).input_shape == (3, 28, 28)
        assert layer_facts(build, 7, in_channels=3)["output"].shape == (7,)


def test_all_scores_are_logits_of_any_sign():
    for build in (SequentialCNN, LectureCNN):
        torch.manual_seed(0)
        scores = build()(torch.randn(8, *build.input_shape))
        assert scores.min() < 0 < scores.max()
        assert (scores.exp().sum(1) - 1).abs().min() > 0.1
