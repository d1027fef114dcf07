from __future__ import annotations

import json

import numpy as np
import pytest

from dlkit.data import Augment, Batches, DataError


def images(rng, count=10, shape=(1, 12, 12)):
    return rng.random((count, *shape), dtype=np.float32)


def test_nothing_asked_for_changes_nothing(rng):
    x = images(rng)
    assert not Augment((1, 12, 12)).active
    assert Augment((1, 12, 12))(x, np.arange(10), epoch=0, samples=10) is x


@pytest.mark.parametrize("shape", [(10, 1, 12, 12), (10, 144)])
def test_shapes_are_kept(rng, shape):
    x = images(rng).reshape(shape)
    out = Augment((1, 12, 12), shift=2, elastic=10)(x, np.arange(10), epoch=0, samples=10)
    assert out.shape == x.shape
    assert out.dtype == np.float32
    assert not np.array_equal(out, x)


def test_an_image_is_made_into_the_same_whatever_batch_it_is_in(rng):
    x = images(rng)
    augment = Augment((1, 12, 12), shift=2, rotation=20, scale=0.2, shear=0.2, elastic=10, seed=3)
    whole = augment(x, np.arange(10), epoch=4, samples=10)
    rows = np.array([7, 2, 9])
    again = Augment((1, 12, 12), shift=2, rotation=20, scale=0.2, shear=0.2, elastic=10, seed=3)
    np.testing.assert_array_equal(again(x[rows], rows, epoch=4, samples=10), whole[rows])
    assert not np.array_equal(augment(x, np.arange(10), epoch=5, samples=10), whole)
    assert not np.array_equal(
        Augment((1, 12, 12), shift=2, seed=4)(x, rows=np.arange(10), epoch=4, samples=10), whole
    )


@pytest.mark.parametrize(
    ("settings", "furthest"),
    [({"shift": 3}, 3.0), ({"rotation": 10}, 0.0), ({"scale": 0.2}, 0.0), ({"shear": 0.1}, 0.0)],
)
def test_centres_move_no_further_than_asked(settings, furthest):
    shape = (1, 41, 41)
    x = np.zeros((200, *shape), np.float32)
    x[:, 0, 18:23, 18:23] = 1
    out = Augment(shape, **settings)(x, np.arange(200), epoch=0, samples=200)[:, 0]
    mass = out.sum(axis=(1, 2))
    places = np.arange(41) - 20
    down, across = (out.sum(axis=2) @ places) / mass, (out.sum(axis=1) @ places) / mass
    assert np.abs(down).max() <= furthest + 1e-3
    assert np.abs(across).max() <= furthest + 1e-3
    if furthest:
        assert np.abs(down).max() > 0.8 * furthest
        assert abs(down.mean()) < 0.5


def test_rotation_turns_by_the_angle():
    # A bar through the centre, turned: the angle of its principal axis is the one drawn.
    shape = (1, 61, 61)
    x = np.zeros((50, *shape), np.float32)
    x[:, 0, 30, 10:51] = 1
    out = Augment(shape, rotation=30)(x, np.arange(50), epoch=0, samples=50)[:, 0].astype(np.float64)
    down, across = np.mgrid[-30:31, -30:31]
    angles = np.rad2deg(
        0.5
        * np.arctan2(
            2 * (out * down * across).sum((1, 2)), (out * across**2).sum((1, 2)) - (out * down**2).sum((1, 2))
        )
    )
    assert 20 < np.abs(angles).max() <= 30.5
    assert angles.min() < 0 < angles.max()


def test_batches_hand_out_what_it_makes_and_resume_to_the_same_bits(rng):
    x, y = images(rng, 50).reshape(50, -1), np.arange(50)

    def batches(seed=1):
        return Batches(
            x, y, batch_size=8, seed=2, transform=Augment((1, 12, 12), shift=2, elastic=8, seed=seed)
        )

    whole = [(a.copy(), b.copy()) for a, b in batches()]
    half = batches()
    for i, _ in enumerate(half):
        if i == 2:
            break
    state = json.loads(json.dumps(half.state_dict()))
    rest = batches()
    rest.load_state_dict(state)
    resumed = [(a.copy(), b.copy()) for a, b in rest]
    for (a, b), (c, d) in zip(resumed, whole[3:7], strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    with pytest.raises(DataError, match="transform is"):
        batches(seed=9).load_state_dict(state)
    with pytest.raises(DataError, match="has a transform, and there is none here"):
        Batches(x, y, batch_size=8, seed=2).load_state_dict(state)
    with pytest.raises(DataError, match="lacks transform"):
        batches().load_state_dict(Batches(x, y, batch_size=8, seed=2).state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": -1}, "shift is -1, expected a number from 0 to 12"),
        ({"shift": float("nan")}, "shift is nan"),
        ({"rotation": 181}, "rotation is 181"),
        ({"scale": 1}, "scale is 1, expected a number from 0 to 0.9"),
        ({"smoothness": 0}, "smoothness is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(DataError, match=message):
        Augment((1, 12, 12), **settings)


def test_wrong_images(rng):
    augment = Augment((1, 12, 12), shift=1)
    with pytest.raises(DataError, match=r"x is \(10, 1, 12, 13\) float32"):
        augment(images(rng, shape=(1, 12, 13)), np.arange(10), epoch=0, samples=10)
    with pytest.raises(DataError, match="uint8"):
        augment(np.zeros((10, 144), np.uint8), np.arange(10), epoch=0, samples=10)
    with pytest.raises(DataError, match="shape is"):
        Augment((12, 12), shift=1)
