"""Training: it reaches its thresholds from far starts, is reproducible, recovers, and can be interrupted."""

import os
import subprocess
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mepmeta as mm
from mepmeta import _epochs, training

ENERGY = mm.single_spin(K1=1.0, K2=-2.0)
KEY = jax.random.key(0)


def mep(P):
    return mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), P)


def sample_8(key):
    return mm.perturbed_path(key, mep(8))


def sample_14(key):
    return mm.perturbed_path(key, mep(14))


SAMPLE = {8: sample_8, 14: sample_14}


def train(P=8, start=mm.NEBParams(0.01), key=KEY, **options):  # noqa: B008
    """With the batches of the paper, so that all tests share what is compiled."""
    return mm.train(key, ENERGY, SAMPLE[P], start, **{"reference": 0.0, "progress": False, **options})


@partial(jax.jit, static_argnums=0)
def fresh_losses(P, params):
    paths = jax.vmap(SAMPLE[P])(jax.random.split(jax.random.key(987), 2000))
    return jax.vmap(lambda path: mm.loss(ENERGY, path, params, reference=0.0))(paths)


def finite(params, history):
    return all(np.all(np.isfinite(x)) for x in jax.tree.leaves((params, history._replace(message=0))))


@pytest.mark.parametrize("P, threshold", [(8, -2.9), (14, -2.75)])
@pytest.mark.parametrize("gamma", [0.002, 0.1])
def test_training_reaches_the_threshold_from_both_sides(P, threshold, gamma):
    params, history = train(P, mm.NEBParams(gamma), epochs=30)
    assert fresh_losses(P, params).mean() <= threshold
    assert history.test_loss[10:].max() <= 0  # no epoch after the tenth ends where the band gets worse
    assert finite(params, history) and history.completed and history.message.startswith("completed 30 of 30 epochs")
    # gamma ends where theory puts the best step for curvatures across the path from 4 to 6: 2/(4 + 6)
    assert params.gamma == pytest.approx(0.2, abs=0.03)
    assert all(np.all(np.asarray(p) > 0) for p in jax.tree.leaves((params, history.params)))


@pytest.mark.parametrize("gamma", [2.0, 1e3])
def test_a_start_in_the_divergent_region_recovers_and_says_so(gamma):
    params, history = train(start=mm.NEBParams(gamma), epochs=8)
    assert history.test_loss[0] > 0 or history.rejected[0].any()
    assert history.rejected[0, 0] and not history.rejected[-1].any()
    assert "divergent steps were taken back, the last in epoch" in history.message
    assert fresh_losses(8, params).mean() < -2.5 and finite(params, history)


def test_history_is_what_happened():
    """Losses and parameters of the history are those of the batches that the key fixes."""
    params, history = train(epochs=3)
    assert history.loss.shape == history.rejected.shape == history.params.gamma.shape == (3, 20)
    assert history.test_loss.shape == (3,) and isinstance(params, mm.NEBParams)
    assert history.params.gamma[0, 0] == pytest.approx(0.01) and history.params.beta[0, 0] == pytest.approx(3.0)
    batch_key, test_key = jax.random.split(KEY)
    for epoch, iteration in [(0, 0), (2, 11)]:
        paths = jax.vmap(sample_8)(jax.random.split(jax.random.fold_in(batch_key, epoch), 100))
        there = jax.tree.map(lambda p: jnp.asarray(p[epoch, iteration]), history.params)  # noqa: B023
        L, _ = mm.loss_and_gradient(ENERGY, paths, there, reference=0.0)
        # logarithms of barriers down to rounding
        assert history.loss[epoch, iteration] == pytest.approx(float(L.mean()), abs=1e-8)
    # a step is at most 20 percent of a parameter in the first epoch, and less later
    steps = [np.abs(np.diff(np.log(p), axis=1)) for p in history.params]
    assert max(s[0].max() for s in steps) <= 0.2 + 1e-12 and max(s[2].max() for s in steps) <= 0.2 / 1.2 + 1e-12
    assert max(s[0].max() for s in steps) > 0.1
    # the result is the geometric mean over the last epoch
    assert params.gamma == pytest.approx(np.exp(np.mean(np.log(history.params.gamma[-1][~history.rejected[-1]]))))
    # the test paths are another batch
    tests = jax.vmap(sample_8)(jax.random.split(test_key, training.TEST_PATHS))
    assert not any(jnp.array_equal(tests[0], path) for path in paths)


def test_a_key_fixes_the_result():
    first, second, other = train(epochs=3), train(epochs=3), train(epochs=3, key=jax.random.key(1))
    for a, b, c in zip(*(jax.tree.leaves(x[1]._replace(message=0)) for x in (first, second, other)), strict=True):
        assert np.array_equal(a, b)
        assert np.size(a) == 1 or a.dtype == bool or not np.array_equal(a, c)
    assert first[0] == second[0] and first[0] != other[0]


# Interruption and checkpoints


def interrupt_after(monkeypatch, epochs):
    original, calls = training._epoch_jit, []

    def epoch(*args):
        if len(calls) == epochs:
            raise KeyboardInterrupt
        calls.append(None)
        return original(*args)

    monkeypatch.setattr(training, "_epoch_jit", epoch)


def test_interruption_returns_what_there_is(monkeypatch):
    whole_params, whole = train(epochs=2)
    interrupt_after(monkeypatch, 2)
    params, history = train(epochs=5)
    assert not history.completed and history.message.startswith("interrupted after 2 of 5 epochs")
    assert history.loss.shape == (2, 20) and np.array_equal(history.loss, whole.loss) and params == whole_params


def test_interruption_before_the_first_epoch_is_not_swallowed(monkeypatch):
    interrupt_after(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        train(epochs=5)


def test_a_resumed_run_is_the_uninterrupted_one(monkeypatch, tmp_path):
    whole_params, whole = train(epochs=6)
    file = tmp_path / "run.npz"
    with monkeypatch.context() as context:
        interrupt_after(context, 2)
        assert not train(epochs=6, checkpoint=file)[1].completed
    assert file.exists() and not list(tmp_path.glob("*.partial"))
    assert train(epochs=4, checkpoint=file)[1].completed  # as far as this, and then on
    params, history = train(epochs=6, checkpoint=file)
    assert params == whole_params and history.message == whole.message
    for a, b in zip(
        jax.tree.leaves(history._replace(message=0)), jax.tree.leaves(whole._replace(message=0)), strict=True
    ):
        assert np.array_equal(a, b)
    # a finished run comes back without another epoch
    monkeypatch.setattr(training, "_epoch_jit", None)
    assert train(epochs=6, checkpoint=file)[0] == whole_params


def test_a_long_run_is_saved_on_the_way(monkeypatch, tmp_path):
    file, saved = tmp_path / "run.npz", []
    monkeypatch.setattr(_epochs, "_save", lambda f, run, records, state: saved.append(len(records)))
    train(epochs=12, checkpoint=file)
    assert saved == [1, 10, 12]
    saved.clear()
    monkeypatch.setattr(_epochs, "SOON", 0.0)
    train(epochs=5, checkpoint=file)
    assert saved == [1, 2, 3, 4, 5, 5]


KILLED = """
import sys, jax, jax.numpy as jnp, mepmeta as mm
jax.config.update("jax_enable_x64", True)
mep = mm.straight_path(jnp.array([0.0, 0.0]), jnp.array([0.0, jnp.pi]), 8)
params, history = mm.train(
    jax.random.key(0), mm.single_spin(), lambda key: mm.perturbed_path(key, mep), mm.NEBParams(0.01), reference=0.0,
    batch=10, iterations=5, epochs=int(sys.argv[2]), checkpoint=sys.argv[1], progress=False)
print(*map(repr, params), history.test_loss.tolist(), history.message)
"""


def killed(file, epochs, wait=None):
    """A run in a process of its own, killed so long after its file is there or has changed; what it printed, if not."""
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir or ""}
    cache |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1", "JAX_ENABLE_X64": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file), str(epochs)], stdout=subprocess.PIPE, env=os.environ | cache
    )
    before = file.stat().st_mtime_ns if file.exists() else 0
    while wait is not None and child.poll() is None:
        if file.exists() and file.stat().st_mtime_ns != before:
            time.sleep(wait)
            child.kill()  # SIGKILL: no handler, no finally
            break
        time.sleep(0.001)
    return child.communicate()[0].decode()


def test_a_killed_run_goes_on_to_the_same_end(tmp_path):
    """Killed at moments that nobody chose, also while it writes: the file is whole, and the answer that of one run."""
    file, epochs, at = tmp_path / "run.npz", 2000, np.random.default_rng(0)
    done = [0]
    for _ in range(3):
        assert killed(file, epochs, at.uniform(0, 0.3)) == ""
        done.append(len(np.load(file)["test_loss"]))
    assert 0 < done[1] <= done[2] <= done[3] < epochs
    # what was lost is less than what lies between two writings
    assert killed(file, done[3] + 40) == killed(tmp_path / "whole.npz", done[3] + 40)
    assert len(np.load(file)["test_loss"]) == done[3] + 40


def test_a_damaged_checkpoint_is_refused(tmp_path):
    file = tmp_path / "run.npz"
    train(epochs=2, checkpoint=file)
    good, rng = file.read_bytes(), np.random.default_rng(0)
    arrays = dict(np.load(file))
    for n in [0, 1, 10, len(good) // 2, len(good) - 1]:
        file.write_bytes(good[:n])
        with pytest.raises(ValueError, match="is not a checkpoint of a training, or it is damaged"):
            train(epochs=3, checkpoint=file)
        assert file.read_bytes() == good[:n]
    # A byte that is wrong is found by the checksums, or stands where nothing is read.
    whole = train(epochs=2, checkpoint=tmp_path / "other.npz")[0]
    for at in rng.integers(0, len(good), 30):
        file.write_bytes(good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :])
        try:
            assert train(epochs=2, checkpoint=file)[0] == whole
        except ValueError as error:
            assert str(file) in str(error)
    for name, wrong in {
        "loss": arrays["loss"][:, :3],
        "test_loss": arrays["test_loss"][:1],
        "state0": arrays["state0"][:2],
    }.items():
        np.savez(file, **arrays | {name: wrong})
        with pytest.raises(ValueError, match="is damaged: its arrays do not have the shapes of this run"):
            train(epochs=3, checkpoint=file)
    np.savez(file, a=np.zeros(3))
    with pytest.raises(ValueError, match="is no checkpoint of this training: it has no loss, "):
        train(epochs=3, checkpoint=file)


def test_two_runs_on_one_file_do_not_mix(monkeypatch, tmp_path):
    """Both begin before there is a file: the second one to write finds the other's, and stops or leaves it."""
    file, kept, original = tmp_path / "run.npz", tmp_path / "kept.npz", training._epoch_jit
    train(epochs=1, start=mm.NEBParams(0.02), checkpoint=kept)

    def appears(after):
        calls = []

        def epoch(*args):
            calls.append(None)
            if len(calls) == after:
                file.write_bytes(kept.read_bytes())
            return original(*args)

        return epoch

    monkeypatch.setattr(training, "_epoch_jit", appears(1))
    with pytest.raises(ValueError, match="has become the file of another run, and is left as it is"):
        train(epochs=3, checkpoint=file)
    assert file.read_bytes() == kept.read_bytes()
    file.unlink()
    monkeypatch.setattr(training, "_epoch_jit", appears(3))  # the answer is not lost
    _, history = train(epochs=3, checkpoint=file)
    assert history.completed and history.message.endswith("has become the file of another run, and is left as it is")
    assert file.read_bytes() == kept.read_bytes()


def test_a_shorter_run_does_not_take_a_longer_one_back(tmp_path):
    file = tmp_path / "run.npz"
    train(epochs=4, checkpoint=file)
    assert len(train(epochs=2, checkpoint=file)[1].loss) == 2 and len(np.load(file)["loss"]) == 4


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    file = tmp_path / "run.npz"
    train(epochs=1, checkpoint=file)
    others = [{"key": jax.random.key(1)}, {"start": mm.NEBParams(0.02)}, {"batch": 99}, {"iterations": 19}]
    others += [{"steps": 4}, {"reference": 0.1}, {"safeguard": False}, {"spring": "unit"}, {"P": 14}]
    for other in others:
        with pytest.raises(ValueError, match="is the checkpoint of another run"):
            train(**{"epochs": 2, "checkpoint": file, **other})


def test_the_checkpoint_of_another_energy_or_sample_is_refused(tmp_path):
    file, settings = (
        tmp_path / "run.npz",
        {"batch": 10, "reference": 0.0, "progress": False, "checkpoint": tmp_path / "run.npz"},
    )
    mm.train(KEY, ENERGY, sample_8, mm.NEBParams(), epochs=1, **settings)
    assert file.exists()
    with pytest.raises(ValueError, match="energy, sample or settings differ"):
        mm.train(KEY, mm.single_spin(2.0, -2.0), sample_8, mm.NEBParams(), epochs=2, **settings)
    with pytest.raises(ValueError, match="energy, sample or settings differ"):
        mm.train(KEY, ENERGY, lambda key: sample_8(jax.random.fold_in(key, 1)), mm.NEBParams(), epochs=2, **settings)


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        train(epochs=1, checkpoint=tmp_path / "missing" / "run.npz")


# The published update


def test_the_plain_update_is_the_published_one():
    """p -> p - nu g with the Barzilai-Borwein nu, step by step from losses and gradients computed here."""
    start = mm.NEBParams(0.01, 1.0, 3.0)
    params, history = train(start=start, epochs=1, iterations=3, safeguard=False)
    batch_key, _ = jax.random.split(KEY)
    paths = jax.vmap(sample_8)(jax.random.split(jax.random.fold_in(batch_key, 0), 100))

    def gradient(p):
        return np.array([s.mean() for s in mm.loss_and_gradient(ENERGY, paths, mm.NEBParams(*p), reference=0.0)[1]])

    p = [np.array(start)]
    g = [gradient(p[0])]
    p.append(p[0] - 1e-6 * g[0])
    g.append(gradient(p[1]))
    dp, dg = p[1] - p[0], g[1] - g[0]
    p.append(p[1] - (dp @ dp) / (dp @ dg) * g[1])
    np.testing.assert_allclose(np.array(history.params)[:, 0].T, p, rtol=1e-6)
    assert np.isfinite(np.array(params)).all()


# Bad input


@pytest.mark.parametrize(
    "options, words",
    [
        ({"steps": 0}, "steps must be at least 1, a whole number, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, a whole number, got 0"),
        ({"iterations": 0}, "iterations must be at least 1, a whole number, got 0"),
        ({"batch": 0}, "batch must be at least 1, a whole number, got 0"),
        ({"start": mm.NEBParams(gamma=0.0)}, "every metaparameter must be positive"),
        ({"start": mm.NEBParams(gamma=-0.1)}, "gamma must be a finite number >= 0"),
        ({"start": mm.NEBParams(mu=float("nan"))}, "mu must be a finite number >= 0"),
        ({"spring": "soft"}, "spring must be one of 'raw', 'unit', 'scaled', got 'soft'"),
        ({"reference": float("inf")}, "reference must be one energy, got inf"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_settings(options, words):
    with pytest.raises(ValueError, match=words):
        train(**options)


def test_bad_energy_and_sample():
    with pytest.raises(ValueError, match="must be callable"):
        mm.train(KEY, 3.0, sample_8, mm.NEBParams(), reference=0.0)
    with pytest.raises(ValueError, match="to a float scalar"):
        mm.train(KEY, lambda x: x, sample_8, mm.NEBParams(), reference=0.0)
    with pytest.raises(ValueError, match="energies must be finite"):
        mm.train(KEY, lambda x: jnp.nan * ENERGY(x), sample_8, mm.NEBParams(), reference=0.0)
    with pytest.raises(ValueError, match="P >= 3"):
        mm.train(KEY, ENERGY, lambda key: mep(8)[:2], mm.NEBParams(), reference=0.0)
    with pytest.raises(ValueError, match="coincide"):
        mm.train(KEY, ENERGY, lambda key: mep(8).at[3].set(mep(8)[2]), mm.NEBParams(), reference=0.0)
    with pytest.raises(ValueError, match="not finite"):
        mm.train(KEY, ENERGY, lambda key: mep(8) * jnp.nan, mm.NEBParams(), reference=0.0)
    with pytest.raises(ValueError, match=r"shape \(2,\), got shape \(3,\)"):
        mm.train(KEY, ENERGY, lambda key: jnp.zeros((8, 3)) + jnp.arange(8.0)[:, None], mm.NEBParams(), reference=0.0)


def test_progress_is_shown_and_can_be_silenced(capsys):
    train(epochs=1)
    assert capsys.readouterr().err == ""
    train(epochs=1, progress=True)
    assert "epoch" in (shown := capsys.readouterr().err) and "test_loss=" in shown
