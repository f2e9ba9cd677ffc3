"""Weights from Hugging Face: real tensor names at tiny sizes, written from a network and read back into another."""

import json
import re
import sys

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import zoo
from zoo.huggingface import BESIDE
from zoo.weights import arrays_of

SIZES = {
    "bert_base": {
        "model_type": "bert",
        "vocab_size": 20,
        "max_position_embeddings": 16,
        "type_vocab_size": 2,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "hidden_act": "gelu",
    },
    "gpt2_small": {
        "model_type": "gpt2",
        "vocab_size": 20,
        "n_positions": 16,
        "n_ctx": 16,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 2,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
    },
    "vit_base16": {
        "model_type": "vit",
        "image_size": 16,
        "patch_size": 4,
        "num_channels": 3,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "qkv_bias": True,
    },
}


def build(name, **arguments):
    return zoo.build(name, **{**zoo.spec(name).tiny, "depth": 2, **arguments})


def livened(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


def example(model):
    rng = np.random.default_rng(3)
    (tensor,) = model.inputs
    shape = (2, *tensor.shape[1:])
    return rng.integers(1, 20, shape).astype(np.int32) if tensor.name == "tokens" else rng.random(shape, np.float32)


def bert_tensors(model):
    """The tensors of google-bert/bert-base-uncased, by their names there, with LayerNorm as its file calls it."""
    w = {weight.path: np.asarray(weight) for weight in model.weights}
    found = {
        "bert.embeddings.word_embeddings.weight": w["stem_tokens/embeddings"],
        "bert.embeddings.position_embeddings.weight": w["stem_positions/positions"],
        "bert.embeddings.token_type_embeddings.weight": w["stem_segments/embeddings"],
        "bert.embeddings.LayerNorm.gamma": w["stem_norm/gamma"],
        "bert.embeddings.LayerNorm.beta": w["stem_norm/beta"],
    }

    def linear(theirs, ours):
        found[f"{theirs}.weight"], found[f"{theirs}.bias"] = w[f"{ours}/kernel"].T, w[f"{ours}/bias"]

    def norm(theirs, ours):
        found[f"{theirs}.gamma"], found[f"{theirs}.beta"] = w[f"{ours}/gamma"], w[f"{ours}/beta"]

    for i in range(2):
        theirs, ours = f"bert.encoder.layer.{i}", f"stage{i + 1}"
        for part in ("query", "key", "value"):
            linear(f"{theirs}.attention.self.{part}", f"{ours}_attention/{part}")
        linear(f"{theirs}.attention.output.dense", f"{ours}_attention/output")
        norm(f"{theirs}.attention.output.LayerNorm", f"{ours}_attention_norm")
        linear(f"{theirs}.intermediate.dense", f"{ours}_mlp_hidden")
        linear(f"{theirs}.output.dense", f"{ours}_mlp_output")
        norm(f"{theirs}.output.LayerNorm", ours)
    if "head_pooler/kernel" in w:
        linear("bert.pooler.dense", "head_pooler")
    if "logits/kernel" in w:
        linear("classifier", "logits")
    if "head_bias/bias" in w:
        linear("cls.predictions.transform.dense", "head_hidden")
        norm("cls.predictions.transform.LayerNorm", "head_norm")
        found["cls.predictions.bias"] = w["head_bias/bias"]
        found["cls.predictions.decoder.weight"] = w["stem_tokens/embeddings"]
    found["cls.seq_relationship.weight"], found["cls.seq_relationship.bias"] = np.zeros((2, 32)), np.zeros(2)
    return found


def gpt2_tensors(model):
    """The tensors of openai-community/gpt2, by their names there."""
    w = {weight.path: np.asarray(weight) for weight in model.weights}
    found = {"wte.weight": w["stem_tokens/embeddings"], "wpe.weight": w["stem_positions/positions"]}
    found["ln_f.weight"], found["ln_f.bias"] = w["stage2/gamma"], w["stage2/beta"]
    for i in range(2):
        theirs, ours = f"h.{i}", f"stage{i + 1}"
        for part, axis in {"kernel": 1, "bias": 0}.items():
            together = [w[f"{ours}_attention/{one}/{part}"] for one in ("query", "key", "value")]
            name = {"kernel": "weight", "bias": "bias"}[part]
            found[f"{theirs}.attn.c_attn.{name}"] = np.concatenate(together, axis)
            found[f"{theirs}.attn.c_proj.{name}"] = w[f"{ours}_attention/output/{part}"]
            found[f"{theirs}.mlp.c_fc.{name}"] = w[f"{ours}_mlp_hidden/{part}"]
            found[f"{theirs}.mlp.c_proj.{name}"] = w[f"{ours}_mlp_output/{part}"]
        for norm, mine in {"ln_1": "attention_norm", "ln_2": "mlp_norm"}.items():
            found[f"{theirs}.{norm}.weight"] = w[f"{ours}_{mine}/gamma"]
            found[f"{theirs}.{norm}.bias"] = w[f"{ours}_{mine}/beta"]
        found[f"{theirs}.attn.bias"] = np.tril(np.ones((16, 16), np.float32))[None, None]
    return found


def vit_tensors(model):
    """The tensors of google/vit-base-patch16-224, by their names there."""
    w = {weight.path: np.asarray(weight) for weight in model.weights}
    found = {
        "vit.embeddings.cls_token": w["stem_class_token/token"],
        "vit.embeddings.position_embeddings": w["stem_positions/positions"],
        "vit.embeddings.patch_embeddings.projection.weight": w["stem_patches/kernel"].transpose(3, 2, 0, 1),
        "vit.embeddings.patch_embeddings.projection.bias": w["stem_patches/bias"],
        "vit.layernorm.weight": w["stage2/gamma"],
        "vit.layernorm.bias": w["stage2/beta"],
        "classifier.weight": w["logits/kernel"].T,
        "classifier.bias": w["logits/bias"],
    }
    for i in range(2):
        theirs, ours = f"vit.encoder.layer.{i}", f"stage{i + 1}_block1"
        for part in ("query", "key", "value"):
            kernel = w[f"{ours}_attention/{part}/kernel"].reshape(16, 16)
            found[f"{theirs}.attention.attention.{part}.weight"] = kernel.T
            found[f"{theirs}.attention.attention.{part}.bias"] = w[f"{ours}_attention/{part}/bias"].reshape(16)
        kernel = w[f"{ours}_attention/attention_output/kernel"].reshape(16, 16)
        found[f"{theirs}.attention.output.dense.weight"] = kernel.T
        found[f"{theirs}.attention.output.dense.bias"] = w[f"{ours}_attention/attention_output/bias"]
        for norm, mine in {"layernorm_before": "attention_norm", "layernorm_after": "mlp_norm"}.items():
            found[f"{theirs}.{norm}.weight"] = w[f"{ours}_{mine}/gamma"]
            found[f"{theirs}.{norm}.bias"] = w[f"{ours}_{mine}/beta"]
        for module, mine in {"intermediate.dense": "mlp_hidden", "output.dense": "mlp_output"}.items():
            found[f"{theirs}.{module}.weight"] = w[f"{ours}_{mine}/kernel"].T
            found[f"{theirs}.{module}.bias"] = w[f"{ours}_{mine}/bias"]
    return found


LAYOUTS = {"bert_base": bert_tensors, "gpt2_small": gpt2_tensors, "vit_base16": vit_tensors}
PREFIXES = {"bert_base": "bert.", "gpt2_small": "transformer.", "vit_base16": "vit."}
KERASHUB = {"bert_base": "BertBackbone", "gpt2_small": "GPT2Backbone", "vit_base16": "ViTBackbone"}
OTHER_HEADS = ("cls.", "classifier.", "lm_head.")


def write(folder, name, tensors, **config):
    """A folder as `save_pretrained` leaves it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**SIZES[name], **config}))
    save_file(
        {key: np.ascontiguousarray(value, value.dtype) for key, value in tensors.items()}, folder / "model.safetensors"
    )
    return f"hf:{folder}"


def renamed(name, tensors, prefixed):
    """The tensors as a whole network or as a backbone alone is saved."""
    prefix = PREFIXES[name]
    bare = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return {key if not prefixed or key.startswith(OTHER_HEADS) else prefix + key: bare[key] for key in bare}


def assert_equal_weights(model, expected, but=()):
    theirs = arrays_of(expected)
    for layer, arrays in arrays_of(model).items():
        if layer not in but:
            for array, other in zip(arrays, theirs[layer], strict=True):
                np.testing.assert_array_equal(array, other, err_msg=layer)


@pytest.fixture(params=LAYOUTS)
def name(request):
    return request.param


@pytest.fixture
def published(name):
    """A network with random weights."""
    return livened(build(name))


@pytest.mark.parametrize("prefixed", [True, False])
def test_a_network_read_back_gives_the_same_answers(name, published, prefixed, tmp_path, recwarn):
    weights = write(tmp_path, name, renamed(name, LAYOUTS[name](published), prefixed))
    model = build(name, weights=weights)
    assert_equal_weights(model, published)
    np.testing.assert_array_equal(model(example(model)), published(example(model)))
    assert not [warning for warning in recwarn if "fresh" in str(warning.message)]


def test_kerashub_reads_the_same_network_from_the_same_folder(name, published, tmp_path):
    """Its tables of names are not ours: what both find under a name is what the published files have there."""
    import keras_hub  # here, as it brings TensorFlow Text with it

    tensors = renamed(name, LAYOUTS[name](published), prefixed=name != "gpt2_small")
    config = {"resid_pdrop": 0, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    weights = write(tmp_path, name, tensors, **config)
    theirs = getattr(keras_hub.models, KERASHUB[name]).from_preset(str(tmp_path))
    model = build(name, weights=weights)
    x = example(model)
    if name == "vit_base16":
        expected = theirs(x)
    else:
        for layer in theirs.transformer_layers:  # of GELU, BERT wants the exact one
            approximate = name == "gpt2_small"
            layer._feedforward_intermediate_dense.activation = lambda x, a=approximate: keras.ops.gelu(x, a)
        inputs = {"token_ids": x, "segment_ids": np.zeros_like(x), "padding_mask": np.ones_like(x)}
        expected = theirs({tensor.name: inputs[tensor.name] for tensor in theirs.inputs})
        expected = expected["sequence_output"] if name == "bert_base" else expected
    np.testing.assert_allclose(zoo.features(model, "stage2")(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", zoo.spec("bert_base").tasks)
def test_every_head_of_bert_is_read_back(task, tmp_path):
    published = livened(build("bert_base", task=task))
    weights = write(tmp_path, "bert_base", bert_tensors(published))
    assert_equal_weights(build("bert_base", task=task, weights=weights), published)
    body = build("bert_base", include_top=False, weights=weights)
    assert_equal_weights(body, published)


def test_a_missing_head_stays_fresh_with_a_warning_that_names_it(tmp_path):
    published = livened(build("bert_base", task="masked-language-modeling"))
    weights = write(tmp_path, "bert_base", bert_tensors(published))
    with pytest.warns(UserWarning, match="keeps its fresh weights") as found:
        model = build("bert_base", weights=weights)
    said = [str(warning.message) for warning in found if "fresh" in str(warning.message)]
    assert [re.search(r"no tensor '(.*)': layer '(.*)' keeps", text).groups() for text in said] == [
        ("pooler.dense.weight", "head_pooler"),
        ("classifier.weight", "logits"),
    ]
    assert found[0].filename == __file__
    assert_equal_weights(model, published, but=["head_pooler", "logits"])


def test_a_head_for_other_classes_is_replaced(tmp_path):
    published = livened(build("bert_base"))
    weights = write(tmp_path, "bert_base", bert_tensors(published))
    model = build("bert_base", num_classes=7, weights=weights)
    assert model.output_shape == (None, 7)
    assert_equal_weights(model, published, but=["logits"])
    again = build("bert_base")
    fresh = again.get_layer("logits").get_weights()[0]
    zoo.load_weights(again, "bert_base", weights, keep_head=False)
    np.testing.assert_array_equal(again.get_layer("logits").get_weights()[0], fresh)


def test_pictures_of_another_size_and_colour_are_adapted_to(tmp_path):
    published = livened(build("vit_base16"))
    weights = write(tmp_path, "vit_base16", vit_tensors(published))
    with pytest.warns(UserWarning, match="interpolated|adapted") as found:
        model = build("vit_base16", input_shape=(24, 20, 1), weights=weights)
    assert len([w for w in found if "interpolated" in str(w.message) or "adapted" in str(w.message)]) == 2
    assert_equal_weights(model, published, but=["stem_patches", "stem_positions"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_another_precision(dtype, tmp_path):
    import ml_dtypes

    published = livened(build("gpt2_small"))
    stored = np.dtype(getattr(ml_dtypes, dtype, dtype))
    weights = write(tmp_path, "gpt2_small", {k: v.astype(stored) for k, v in gpt2_tensors(published).items()})
    kernel = np.asarray(published.get_layer("stage1_mlp_hidden").kernel)
    read = build("gpt2_small", weights=weights).get_layer("stage1_mlp_hidden").kernel
    np.testing.assert_array_equal(read, kernel.astype(stored).astype(np.float32))


WRONG_SIZES = {
    "bert_base": [
        ("hidden_size", 64),
        ("num_attention_heads", 4),
        ("vocab_size", 21),
    ],
    "gpt2_small": [("n_embd", 32), ("n_head", 4), ("n_layer", 12), ("activation_function", "relu")],
    "vit_base16": [("patch_size", 16), ("num_hidden_layers", 3), ("num_attention_heads", None), ("hidden_act", "relu")],
}


def refused(model, name, weights, match):
    """The weights are refused, and the model stays as it was."""
    before = arrays_of(model)
    with pytest.raises(ValueError, match=match):
        zoo.load_weights(model, name, weights)
    for layer, arrays in arrays_of(model).items():
        for array, old in zip(arrays, before[layer], strict=True):
            np.testing.assert_array_equal(array, old)


def test_another_architecture_or_size_is_refused_with_both_named(name, published, tmp_path):
    tensors = LAYOUTS[name](published)
    for key, value in [*WRONG_SIZES[name], ("model_type", "t5")]:
        weights = write(tmp_path, name, tensors, **{key: value})
        accepted = SIZES[name][key]
        message = (
            f"of another network than '{name}' was built as. Received: {key}={value!r}. Accepted: {key}={accepted!r}."
        )
        refused(published, name, weights, re.escape(message))


def test_left_over_missing_and_misshapen_tensors_are_refused(name, published, tmp_path):
    tensors = LAYOUTS[name](published)
    some = next(key for key in tensors if "1.mlp.c_fc.weight" in key or "1.intermediate.dense.weight" in key)
    more = some.replace("1.", "2.", 1)
    refused(published, name, write(tmp_path, name, {**tensors, more: tensors[some]}), f"nothing of ours takes '{more}'")
    less = {key: value for key, value in tensors.items() if key != some}
    bare = some.removeprefix(PREFIXES[name])
    refused(
        published, name, write(tmp_path, name, less), f"no tensor '{bare}', which layer 'stage2.*_mlp_hidden' needs"
    )
    turned = {**tensors, some: tensors[some].T}
    received, accepted = re.escape(str(tensors[some].T.shape)), re.escape(str(tensors[some].shape))
    message = f"Tensor '{some}' of .* does not fit. Received: F32 {received}. Accepted: {accepted}"
    refused(published, name, write(tmp_path, name, turned), message)
    whole = {**tensors, some: tensors[some].astype(np.int8)}
    refused(published, name, write(tmp_path, name, whole), "Received: I8 .* Accepted: .* of F64, F32, F16, BF16")
    both = {**renamed(name, tensors, True), **renamed(name, tensors, False)}
    refused(published, name, write(tmp_path, name, both), "holds tensors twice")


def test_an_embedding_that_is_not_tied_is_refused(tmp_path):
    published = livened(build("gpt2_small"))
    tensors = renamed("gpt2_small", gpt2_tensors(published), True)
    tied = {**tensors, "lm_head.weight": tensors["transformer.wte.weight"]}
    assert_equal_weights(build("gpt2_small", weights=write(tmp_path, "gpt2_small", tied)), published)
    loose = {**tied, "lm_head.weight": tied["lm_head.weight"] + 1}
    weights = write(tmp_path, "gpt2_small", loose)
    refused(published, "gpt2_small", weights, "should be one: 'lm_head.weight' differs from 'wte.weight'")


def test_a_file_missing_or_damaged_is_refused(tmp_path):
    model = livened(build("gpt2_small"))
    weights = write(tmp_path, "gpt2_small", gpt2_tensors(model))
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(model, "gpt2_small", weights, "model.safetensors is damaged or was cut short")
    file.unlink()
    refused(model, "gpt2_small", weights, "holds no model.safetensors. Accepted: a folder with config.json and")
    (tmp_path / "config.json").write_text("{")
    refused(model, "gpt2_small", weights, "config.json is damaged")
    (tmp_path / "config.json").unlink()
    refused(model, "gpt2_small", weights, "holds no config.json")
    refused(model, "gpt2_small", "hf:./no/such/folder", "No weights at hf:./no/such/folder. Accepted: hf: and a folder")


def test_a_repository_is_fetched_with_its_revision(tmp_path, monkeypatch):
    import huggingface_hub

    published, asked = livened(build("gpt2_small")), []
    write(tmp_path, "gpt2_small", gpt2_tensors(published))

    def snapshot_download(repository, *, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert_equal_weights(build("gpt2_small", weights="hf:openai-community/gpt2"), published)
    build("gpt2_small", weights="hf:openai-community/gpt2@607a30d")
    files = ["config.json", "model.safetensors", *BESIDE]
    assert asked == [("openai-community/gpt2", None, files), ("openai-community/gpt2", "607a30d", files)]


def test_a_repository_that_cannot_be_reached(monkeypatch):
    import huggingface_hub

    def snapshot_download(repository, **_):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(OSError, match="weights of hf:openai-community/gpt2 cannot be fetched: no network"):
        build("gpt2_small", weights="hf:openai-community/gpt2")


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    build("gpt2_small")
    with pytest.raises(ImportError, match=re.escape("pip install servable-zoo[huggingface]")):
        build("gpt2_small", weights=f"hf:{tmp_path}")


def test_models_that_are_not_there_say_so():
    with pytest.raises(ValueError, match="Unknown weights of 'lenet5' 'hf:google/lenet'"):
        zoo.build("lenet5", weights="hf:google/lenet")
    with pytest.raises(ValueError, match="hf: and a repository or a folder"):
        build("gpt2_small", weights="huggingface:gpt2")
