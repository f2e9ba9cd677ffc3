"""Image generation: both networks' updates, what is seen after every epoch, and what stops a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import recipes
import zoo
from recipes.adversarial import AdversarialTraining
from recipes.generated_samples import grid
from recipes.variational import VariationalTraining
from tests import raw_data
from zoo import adversarial, variational

DATA = raw_data.pictures((16, 16, 1))
TINY = {k: v for k, v in zoo.spec("dcgan").tiny.items() if k not in ("input_shape", "image_shape")}


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judge") / "run"
    recipes.image_classification("lenet5", DATA, run_dir=str(folder), epochs=5, verbose=False)
    return str(folder)


@pytest.fixture
def train(tmp_path, judge):
    def train(model="dcgan", data=DATA, **options):
        arguments = {"epochs": 2, "batch_size": 8, "verbose": False, "run_dir": str(tmp_path / "run"), "samples": 0}
        arguments |= {"latent_dim": 8, "judge": judge, "measured": 0, "model_args": TINY}
        return recipes.image_generation(model, data, **{**arguments, **options})

    return train


def pair(critic=False):
    """A generator and a discriminator of one number each, so that a step can be followed by hand."""
    latent, image = keras.Input((1,)), keras.Input((1,))
    generator = keras.Model(latent, keras.layers.Dense(1, kernel_initializer="ones", name="g")(latent))
    layer = keras.layers.Dense(1, kernel_initializer="ones", name="d", activation="tanh" if critic else None)
    return generator, keras.Model(image, layer(image))


def one_step(loss, penalty=0.0, critic_steps=1, steps=1):
    generator, discriminator = pair(critic=bool(penalty))
    trained = AdversarialTraining(generator, discriminator, adversarial.LOSSES[loss], penalty, critic_steps, seed=0)
    trained.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    real = tf.constant([[0.5], [1.5]])
    logs = [{k: float(v) for k, v in trained.train_step((real, None)).items()} for _ in range(steps)]
    return trained, logs


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_step_is_one_update_of_the_discriminator_and_then_one_of_the_generator():
    trained, (logs,) = one_step("non_saturating")
    from recipes.draws import Draws

    z = Draws(0, tf.constant(0, tf.int64)).normal([2, 1]).numpy()
    real = np.array([[0.5], [1.5]])
    d_slope = np.mean(-(1 - sigmoid(real)) * real) + np.mean(sigmoid(z) * z)
    d_shift = np.mean(-(1 - sigmoid(real))) + np.mean(sigmoid(z))
    slope, shift = 1 - 0.1 * d_slope, -0.1 * d_shift
    np.testing.assert_allclose(np.ravel(trained.discriminator.get_weights()[0]), [slope], rtol=1e-5)
    np.testing.assert_allclose(trained.discriminator.get_weights()[1], [shift], rtol=1e-5)
    logits = slope * z + shift
    g_slope = np.mean(-(1 - sigmoid(logits)) * slope * z)
    np.testing.assert_allclose(trained.generator.get_weights()[0], [[1 - 0.1 * g_slope]], rtol=1e-5)
    assert logs["loss"] == pytest.approx(np.mean(np.log1p(np.exp(-logits))), rel=1e-5)


def test_the_generator_waits_for_the_critic():
    trained, _ = one_step("wasserstein", penalty=10.0, critic_steps=3, steps=2)
    assert trained.generator.get_weights()[0] == 1
    trained, _ = one_step("wasserstein", penalty=10.0, critic_steps=3, steps=3)
    assert trained.generator.get_weights()[0] != 1
    assert int(trained.optimizer.iterations) == 1
    assert int(trained.discriminator_optimizer.iterations) == 3


def test_the_gradient_penalty_pulls_the_slope_towards_1():
    """Of a critic tanh(w x), whose slope at the points between is below w: the penalty alone makes w larger."""
    generator, critic = pair(critic=True)
    nothing = adversarial.AdversarialLoss(
        lambda real, fake: 0.0 * tf.reduce_sum(real), lambda fake: tf.reduce_sum(fake)
    )
    trained = AdversarialTraining(generator, critic, nothing, 10.0, 1, seed=0)
    trained.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.001))
    trained.train_step((tf.constant([[0.5], [1.5]]), None))
    assert critic.get_weights()[0] > 1


def test_the_lower_bound_is_that_of_the_paper():
    name = "vae"
    decoder = zoo.features(zoo.build(name, **zoo.spec(name).tiny), "logits")
    encoder = zoo.build_partner(name, **zoo.spec(name).tiny)
    images = np.random.default_rng(0).uniform(-1, 1, (3, *encoder.input_shape[1:])).astype(np.float32)
    parts = VariationalTraining(encoder, decoder, seed=0)(images).numpy()
    means, logs = (np.array(each) for each in variational.split(encoder(images)))
    np.testing.assert_allclose(
        parts[:, 1], 0.5 * np.sum(means**2 + np.exp(logs) - logs - 1, axis=1), rtol=1e-4, atol=1e-5
    )
    # Pixels that are told by logits near 0 cost about log 2 each.
    np.testing.assert_allclose(parts[:, 0], np.log(2) * images[0].size, rtol=0.1)


@pytest.mark.parametrize(("model", "figures"), [("dcgan", set()), ("vae", {"elbo"})])
def test_a_run_has_grids_a_film_its_partner_and_its_judge(train, model, figures, drawing, judge):
    with drawing():
        run = train(model, samples=9, measured=16, epochs=3)
    assert {"frechet", "frechet_real", "mode_coverage", "class_divergence", *figures} == set(run.metrics)
    assert {"frechet", "loss"} <= set(run.history)
    names = [f"epoch_{i:04d}.png" for i in (1, 2, 3)]
    assert sorted(path.name for path in (run.dir / "samples").iterdir()) == names
    first, last = (Image.open(run.dir / "samples" / name) for name in (names[0], names[-1]))
    assert first.size == (3 * (3 * 16 + 4),) * 2
    assert np.any(np.asarray(first) != np.asarray(last))
    assert Image.open(run.dir / "samples.gif").n_frames == 3
    partner = keras.models.load_model(run.dir / "partner.keras")
    assert partner.input_shape[1:] == (16, 16, 1)
    assert recipes.load_run(run.dir / "judge").bundle.labels == ("0", "1", "2")
    assert recipes.evaluate(recipes.load_run(run.dir), DATA) == pytest.approx(run.metrics)
    assert Image.open(run.dir / "predictions.png").size[0] > 500


@pytest.mark.slow
def test_without_classes_the_judge_knows_digits(train, monkeypatch):
    from recipes import judge as judges

    monkeypatch.setattr(judges, "EPOCHS", 1)
    run = train(data=DATA[0], judge=None)
    assert set(run.metrics) == {"frechet", "frechet_real"}
    assert recipes.load_run(run.dir / "judge").facts["data"]["name"] == "digits"


def test_a_loss_that_becomes_nan_stops_with_the_last_good_weights(train, tmp_path, monkeypatch):
    steps = AdversarialTraining._better_discriminator

    def worse(self, real, fake, draws):
        steps(self, real, fake, draws)
        broken = tf.where(self.steps_taken >= 7, np.nan, 0.0)  # in the third epoch of three steps each
        for weight in self.discriminator.trainable_weights:
            weight.assign_add(tf.fill(weight.shape, broken))

    monkeypatch.setattr(AdversarialTraining, "_better_discriminator", worse)
    with pytest.raises(recipes.TrainingDiverged, match=r"at step [89] \(epoch 3\).*weights of the best epoch, [12]"):
        train(epochs=5, validation=0, test=0)
    model = zoo.build("dcgan", input_shape=(8,), image_shape=(16, 16, 1), **TINY)
    model.load_weights(tmp_path / "run" / "best.weights.h5")
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 3


def test_a_generator_of_ones_own_is_trained_against_that_of_gan(train):
    latent = keras.Input((5,), name="latent")
    x = keras.layers.Dense(256, "tanh")(latent)
    mine = keras.Model(latent, keras.layers.Reshape((16, 16, 1))(x), name="mine")
    small = {"hidden_sizes": (8,), "discriminator_sizes": (8,), "pieces": 2}
    with pytest.raises(ValueError, match=r"takes \(5,\) per picture. Accepted: latents \(8,\)"):
        train(mine, model_args={})
    run = train(mine, model_args={}, latent_dim=None)
    assert keras.models.load_model(run.dir / "partner.keras").name == "gan_discriminator"
    with pytest.raises(ValueError, match="build a model by name"):
        train(mine, model_args=small, latent_dim=None, overwrite=True)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("vae", {"loss": "hinge"}, "loss is for adversarial pairs"),
        ("gan", {"beta_1": 0.9, "optimizer": "sgd"}, "beta_1 is of adam and adamw"),
        ("vae", {"partner": "gan"}, "An encoder is the partner of vae alone. Received: partner='gan' for vae"),
        ("dcgan", {"partner": "dcgann"}, "Did you mean 'dcgan'"),
        ("dcgan", {"loss": "wassersteins"}, "Did you mean 'wasserstein'"),
        ("dcgan", {"image_size": 17}, "Received: \\(17, 17, 1\\)"),
        ("dcgan", {"judge": "nowhere"}, "nowhere holds no run"),
        ("dcgan", {"critic_steps": 0}, "critic_steps must be a whole number of at least 1"),
    ],
)
def test_bad_options_are_named(train, model, options, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        train(model, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_defaults_are_those_of_the_papers(train):
    run = train("wgan_gp", epochs=1)
    options = run.facts["options"]
    assert [options[k] for k in ("loss", "gradient_penalty", "critic_steps", "beta_1")] == ["wasserstein", 10.0, 5, 0.0]
    assert options["learning_rate"] == 0.0002
    assert "--loss wasserstein" in run.facts["command"] or "loss='wasserstein'" in run.facts["command"]


def test_a_grid_has_every_picture_in_its_place():
    pictures = np.arange(5)[:, None, None, None] * np.ones((5, 60, 60, 1)) / 10
    sheet = np.asarray(grid(pictures))
    assert sheet.shape == (2 * 62 - 2, 3 * 62 - 2)
    assert [sheet[0, 0], sheet[0, 62], sheet[0, 124], sheet[62, 0], sheet[62, 62], sheet[62, 124]] == [
        0,
        26,
        51,
        76,
        102,
        255,
    ]


def test_a_training_that_gains_nothing_stops_by_frechets_distance(train):
    run = train(epochs=40, measured=16, patience=2, learning_rate=1e-9)
    assert len(run.history) < 40
    assert run.history["frechet"].idxmin() == len(run.history) - 3
