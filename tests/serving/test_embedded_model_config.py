"""Lists of models as TensorFlow Serving's text format allows them."""

import pytest

from serving.embedded import model_config
from serving.embedded.status import ServingError


def listed(tmp_path, text):
    path = tmp_path / "models.config"
    path.write_text(text)
    return model_config.check(model_config.read(path))


def test_a_list_may_use_the_deprecated_type_by_name_or_number(tmp_path):
    for kind in ("TENSORFLOW", "1"):
        (model,) = listed(
            tmp_path, f'model_config_list {{ config {{ name: "a" base_path: "/a" model_type: {kind} }} }}'
        )
        assert model.name == "a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('model_config_list { config { name: "a" base_path: "/a" model_type: OTHER } }', "model_type choice 2 not"),
        ('model_config_list { config { name: "a" base_path: "/a" } }', "Illegal setting neither"),
        ('custom_model_config { type_url: "x" }', "Missing custom_model_config_loader in ServerCore Options"),
    ],
    ids=["other type", "no type", "custom"],
)
def test_what_no_server_can_serve_is_refused_in_its_words(tmp_path, text, reason):
    with pytest.raises(ServingError, match=reason):
        listed(tmp_path, text)
