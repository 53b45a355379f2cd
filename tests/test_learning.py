"""Training of any method: derivatives by differences, three rules, interruption, checkpoints, and its losses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import mepmeta as mm
from mepmeta import learning, training
from mepmeta.learning import Evolution, Leaves, Task
from mepmeta.methods.learned import Learned, Weights, untrained

KEY = jax.random.key(0)
LINE = jnp.stack([jnp.linspace(-1.2, 1.2, 7), 0.3 * jnp.cos(jnp.linspace(-1.2, 1.2, 7))], axis=1)


def double_well(c, x):
    return c * (x[0] ** 2 - 1) ** 2 + 2 * x[1] ** 2 + 0.1 * x[0]


def sample(key):
    """A well of its own for every path, and the path."""
    c = 1 + jax.random.uniform(key)
    return Partial(double_well, c), LINE + 0.05 * jax.random.normal(jax.random.fold_in(key, 1), LINE.shape)


def lbfgs(p):
    return mm.methods.LBFGS(step=jnp.exp(p))


def network(weights):
    return Learned(weights=weights)


START = jnp.log(0.02)


def train(params=START, method=lbfgs, sample=sample, key=KEY, **options):
    """With one size, so that the tests share what is compiled."""
    options = {"steps": 5, "epochs": 2, "iterations": 3, "batch": 4, "progress": False, **options}
    return mm.train(key, None, sample, params, method=method, **options)


def test_a_short_first_step_is_made_longer_by_every_rule():
    """The best first step of curvatures of at most 1 is far above 0.02; with a rule of steps or without derivatives."""

    class Descent:
        """The least of what optax has: steps along minus the gradient."""

        def init(self, x):
            return ()

        def update(self, gradient, state, x):
            return -0.5 * gradient, state

    for rule in (training.RULE, Descent(), Evolution(spread=0.5, population=6)):
        p, history = train(rule=rule)
        assert float(p) > float(START) + 0.1 and history.completed, rule
        assert history.test_loss[-1] < history.loss[0, 0] < 0, rule
        assert history.params.shape == history.loss.shape == history.rejected.shape == (2, 3)


def task(loss="residual", method=lbfgs, steps=5, tol=1e-3):
    return Task(method, loss, mm.Flat(), steps, tol)


def slope_by_differences(x, along, problem, leaves, how, h=1e-5):
    one, other = (learning.losses(x + s * h * along, problem, leaves, how) for s in (1, -1))
    return (one - other) / (2 * h)


class Still:
    """A rule that moves nothing and remembers the gradient."""

    def init(self, x):
        return jnp.zeros_like(x)

    def update(self, gradient, state, x):
        return jnp.zeros_like(x), gradient


STILL = Still()


@pytest.mark.parametrize("kind", ["few", "many"])
def test_derivatives_are_those_of_differences(kind):
    """Forward for a number, backwards through every iteration for a network."""
    weights = untrained(1)
    weights = Weights(weights.inner, 0.1 * np.random.default_rng(0).normal(size=weights.outer.shape))
    params, how = (START, task()) if kind == "few" else (weights, task(method=network))
    leaves, x = Leaves.of(params)
    problem = learning.drawn(sample, jax.random.split(KEY, 1), how)
    (_, slope), _ = learning.descended((jnp.asarray(x), STILL.init(x)), problem, STILL, 1, leaves, how)
    along = np.random.default_rng(2).normal(size=x.size)
    along /= np.linalg.norm(along)
    assert np.linalg.norm(slope) > 1e-3
    # h^2 of the third derivative, and rounding over h: both far below a millionth
    assert slope @ along == pytest.approx(slope_by_differences(x, along, problem, leaves, how)[0], rel=1e-4, abs=1e-7)


def test_losses_are_what_they_say():
    """Of residuals that are known: a decade an iteration."""
    problem = learning.drawn(sample, jax.random.split(KEY, 1), task())
    one = jax.tree.map(lambda a: a[0], problem)
    r = learning.Run(10.0 ** -jnp.arange(7.0), one.path, jnp.asarray(False))
    lost = partial(learning.lost, posed=one)
    assert lost(r, "residual", 1e-3) == pytest.approx(-np.log(10) * 3.5)
    # three are above, one is at the tolerance and counts half, two are below; a sigmoid forgets the others
    assert lost(r, "gradients", 1e-3) == pytest.approx(3.5 / 6 - 1, abs=1e-3)
    stuck = learning.Run(jnp.full(7, 1e-2), one.path, jnp.asarray(False))
    assert lost(stuck, "gradients", 1e-3) == pytest.approx(np.log(10) / 6, abs=1e-3)
    for kind in learning.LOSSES:
        assert lost(r._replace(diverged=jnp.asarray(True)), kind, 1e-3) == pytest.approx(np.log(1000))


def test_the_loss_of_the_barrier_is_that_of_the_paper():
    """From the path before and after, in the units of the caller."""

    def known(key):
        return *sample(key), 0.5  # any energy below the saddle

    how = task("barrier")
    problem = learning.drawn(known, [KEY], how)
    E, path, reference = known(KEY)
    leaves, x = Leaves.of(START)
    posed = jax.tree.map(lambda a: a[0], problem)
    after = jax.jit(lambda p: learning.run(p, lbfgs(START), 5))(posed).path * posed.problem.length_unit
    over = [float(mm.overestimate(E, p, reference)) for p in (path, after)]
    expected = np.log(over[1] / over[0]) / 5
    assert learning.losses(x, problem, leaves, how)[0] == pytest.approx(expected, rel=1e-6)


def test_a_unit_of_energy_changes_nothing():
    def scaled(key):
        E, path = sample(key)
        return Partial(lambda E, x: 1e-20 * E(x), E), path

    one, other = train(epochs=1), train(epochs=1, sample=scaled)
    np.testing.assert_allclose(one[1].loss, other[1].loss, rtol=1e-9)  # a sum of logarithms, amplified by 5 steps


def interrupted(epochs):
    calls = []

    def often(key):
        calls.append(None)
        if len(calls) > 4 * (1 + epochs):  # the test problems, and so many batches
            raise KeyboardInterrupt
        return sample(key)

    return often


@pytest.mark.parametrize("rule", [training.RULE, Evolution(0.3, 4)], ids=["steps", "evolution"])
def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not(rule, tmp_path):
    file = tmp_path / "run.npz"
    whole, history = train(rule=rule, epochs=3)
    part, short = train(rule=rule, epochs=3, checkpoint=file, sample=interrupted(1))
    assert not short.completed and short.message.startswith("interrupted after 1 of 3 epochs")
    resumed, again = train(rule=rule, epochs=3, checkpoint=file)
    assert float(resumed) == float(whole) != float(part)
    assert np.array_equal(again.loss, history.loss) and np.array_equal(again.test_loss, history.test_loss)
    with pytest.raises(ValueError, match="is the checkpoint of another run"):
        train(rule=Evolution(0.2, 4), epochs=3, checkpoint=file)
    with pytest.raises(KeyboardInterrupt):
        train(rule=rule, sample=interrupted(0))


def test_a_loss_of_ones_own_sees_what_was_drawn():
    seen = []

    def loss(method, number):
        seen.append(number)
        return (float(np.asarray(method.step)) - number) ** 2

    p, history = train(
        sample=lambda key: (0.7,), loss=loss, rule=Evolution(spread=0.5, population=6), epochs=20, iterations=2
    )
    assert float(np.exp(p)) == pytest.approx(0.7, abs=0.02) and set(seen) == {0.7}
    # a candidate without a number is the worst, and no error
    assert train(sample=lambda key: (0.7,), loss=lambda *_: np.nan, rule=Evolution(), epochs=1)[1].rejected.all()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"sample": lambda key: LINE}, r"must be a tuple \(energy, path, ...\)"),
        ({"loss": "speed"}, "loss must be one of 'residual', 'gradients', 'barrier'"),
        ({"loss": "barrier"}, "needs its reference"),
        ({"loss": lambda method: 0.0}, "has no derivative here"),
        ({"tol": -1.0}, "tol must be a positive number"),
        ({"params": jnp.array(jnp.nan)}, "metaparameters must be finite"),
        ({"sample": None}, "sample"),
        ({"method": 3}, "method"),
    ],
    ids=["path alone", "loss", "no reference", "loss without derivative", "tol", "params", "sample", "method"],
)
def test_bad_input_is_said_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        train(**options)
    with pytest.raises(ValueError, match="the energy comes with every path"):
        mm.train(KEY, mm.single_spin(), sample, START, method=lbfgs)


def test_problems_of_two_kinds_are_refused():
    kinds = iter([LINE, LINE[:-1], LINE, LINE])
    with pytest.raises(ValueError, match="must be of one kind"):
        train(sample=lambda key: (Partial(double_well, 1.0), next(kinds)))
